from __future__ import annotations

import json
from pathlib import Path

import librosa
import numpy as np
import pytest
from PIL import Image

from conftest import ROOT, SAMPLES, speechlike
from ser_edge.audio import decode
from ser_edge.audio.windows import cut_windows
from ser_edge.mel.image import log_mel, mel_image, pad_window, quantize
from ser_edge.mel.spec import MelImageSpec

RATE = 16_000
DEFAULT = MelImageSpec()
SPECS = {
    "default": DEFAULT,
    "slaney": MelImageSpec(mel_scale="slaney", f_min=20.0),
    "no norm": MelImageSpec(mel_norm="none", floor_db=-60.0),
    "magnitude": MelImageSpec(power=1.0, range_db=40.0),
    "fixed": MelImageSpec(level="fixed", floor_db=-70.0, range_db=90.0),
    "short frames": MelImageSpec(n_fft=512, win_length=400, hop_length=160, n_mels=64),
    "odd": MelImageSpec(n_fft=1000, win_length=801, hop_length=250, n_mels=40, f_max=7000.0),
    "centred": MelImageSpec(align="center"),
}


def reference(waveform: np.ndarray, spec: MelImageSpec) -> np.ndarray:
    """The picture by librosa, from its definition; shares no code with ours but NumPy."""
    missing = spec.window_samples - len(waveform)
    before = missing // 2 if spec.align == "center" else 0
    mel = librosa.feature.melspectrogram(
        y=np.pad(waveform, (before, missing - before)),
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        win_length=spec.win_length,
        hop_length=spec.hop_length,
        center=False,
        power=spec.power,
        n_mels=spec.n_mels,
        fmin=spec.f_min,
        fmax=spec.f_max,
        htk=spec.mel_scale == "htk",
        norm="slaney" if spec.mel_norm == "slaney" else None,
    )
    decibels = librosa.power_to_db(mel, ref=1.0, amin=1e-10, top_db=None)
    black = spec.floor_db
    if spec.level == "peak":
        black = max(black, decibels.max() - spec.range_db)
    return np.clip(np.round((decibels - black) * 255 / spec.range_db), 0, 255)


def sounds() -> dict[str, np.ndarray]:
    t = np.arange(80_000) / RATE
    random = np.random.default_rng(3)
    clicks = np.zeros(80_000)
    clicks[::8000] = 0.9
    return {
        "tone": 0.3 * np.sin(2 * np.pi * 440 * t),
        "high tone": 0.01 * np.sin(2 * np.pi * 7900 * t),
        "sweep": 0.2 * np.sin(2 * np.pi * (50 * t + 790 * t**2)),
        "white noise": 0.05 * random.standard_normal(80_000),
        "faint noise": 1e-5 * random.standard_normal(80_000),
        "clicks": clicks,
        "silence": np.zeros(80_000),
        "speech, short": speechlike(1.7, RATE),
        "loud": 50 * speechlike(5.0, RATE),
        "one sample": np.array([0.5]),
        "constant": np.full(80_000, 0.2),
    }


@pytest.mark.component
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("name", sounds())
def test_within_one_grey_level_of_librosa(spec, name):
    sound = sounds()[name].astype(np.float32)
    image = mel_image(sound, spec)
    assert image.dtype == np.uint8
    assert image.shape == spec.shape
    assert np.abs(image - reference(sound, spec)).max() <= 1


@pytest.mark.component
def test_real_recordings_are_within_one_grey_level_of_librosa(data):
    clips = sorted((data / "ravdess48k").rglob("*.wav"))
    assert len(clips) == 16
    for clip in clips:
        waveform = decode.load(clip, RATE)
        for window in cut_windows([waveform], DEFAULT.window_samples, 40_000):
            image = mel_image(window.waveform, DEFAULT)
            assert np.abs(image - reference(window.waveform, DEFAULT)).max() <= 1, clip.name


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_golden_pictures_of_the_samples(sample):
    """Kept pictures hold the front end in place over versions of NumPy, soxr and this code."""
    window = next(iter(cut_windows([decode.load(sample, RATE)], 80_000, 40_000)))
    with Image.open(ROOT / "tests" / "golden" / f"{sample.stem}.png") as picture:
        golden = np.asarray(picture).astype(int)
    assert np.abs(mel_image(window.waveform, DEFAULT) - golden).max() <= 1


def test_shape_of_the_default():
    assert DEFAULT.shape == (80, 395)
    assert DEFAULT.window_samples == 80_000


def test_silence_is_black_and_gain_changes_nothing():
    sound = speechlike(3.0, RATE)
    assert not mel_image(np.zeros(10), DEFAULT).any()
    image = mel_image(sound, DEFAULT).astype(int)
    for gain in (0.1, 4.0):
        assert np.abs(mel_image(sound * np.float32(gain), DEFAULT) - image).max() <= 1


def test_row_0_is_the_lowest_band():
    t = np.arange(80_000) / RATE
    low, high = (mel_image(np.sin(2 * np.pi * f * t), DEFAULT) for f in (100, 7000))
    assert low[:20].mean() > low[60:].mean()
    assert high[60:].mean() > high[:20].mean()


def test_frames_of_a_stream_do_not_depend_on_where_it_is_cut():
    sound = speechlike(8.0, RATE)
    whole = log_mel(sound, DEFAULT)
    for start in (0, 8000, 40_000):
        part = log_mel(sound[start : start + 80_000], DEFAULT)
        first = start // DEFAULT.hop_length
        np.testing.assert_allclose(part, whole[:, first : first + part.shape[1]], atol=1e-3)
        live = quantize(whole[:, first : first + DEFAULT.frames], DEFAULT)
        offline = mel_image(sound[start : start + 80_000], DEFAULT)
        assert np.abs(live.astype(int) - offline).max() <= 1


def test_the_input_is_left_alone_and_may_be_strided():
    sound = np.repeat(speechlike(5.0, RATE), 2)
    kept = sound.copy()
    np.testing.assert_array_equal(
        mel_image(sound[::2], DEFAULT), mel_image(sound[::2].copy(), DEFAULT)
    )
    np.testing.assert_array_equal(sound, kept)


@pytest.mark.parametrize("shape", [(0,), (80_001,), (2, 100), ()])
def test_what_is_not_one_window_is_refused(shape):
    with pytest.raises(ValueError, match="is not one window"):
        pad_window(np.zeros(shape), DEFAULT)


def test_too_short_for_a_frame():
    with pytest.raises(ValueError, match="has no frame"):
        log_mel(np.zeros(1000), DEFAULT)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_json_and_back(spec):
    assert MelImageSpec.from_json(spec.to_json()) == spec


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 99}, "version 99"),
        ({"hop_length": None}, "hop_length is None"),
        ({"n_mels": 80.5}, "n_mels is 80.5"),
        ({"n_mels": True}, "n_mels is True"),
        ({"colour": "red"}, "unknown colour"),
        ({"level": "rms"}, "level is 'rms', allowed: peak, fixed"),
    ],
)
def test_json_that_does_not_fit(change, message):
    values = {**json.loads(DEFAULT.to_json()), **change}
    with pytest.raises(ValueError, match=message):
        MelImageSpec.from_json(json.dumps(values))


def test_json_that_lacks_a_field():
    values = json.loads(DEFAULT.to_json())
    del values["f_max"]
    with pytest.raises(ValueError, match="lacks f_max"):
        MelImageSpec.from_json(json.dumps(values))
    with pytest.raises(ValueError, match="not JSON"):
        MelImageSpec.from_json("{")
    with pytest.raises(ValueError, match="not a JSON object"):
        MelImageSpec.from_json("[1]")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hop_length", 300),
        ("hop_length", 0),
        ("n_fft", 10**6),
        ("win_length", 2000),
        ("f_max", 9000.0),
        ("f_min", -1.0),
        ("power", 3.0),
        ("range_db", 0.0),
        ("floor_db", 100.0),
        ("n_mels", 0),
        ("sample_rate", 100),
        ("seconds", 0.0),
    ],
)
def test_impossible_values_name_the_field(field, value):
    with pytest.raises(ValueError, match=f"^{field} is"):
        MelImageSpec(**{field: value})


def test_golden_pictures_have_no_strays():
    golden = {path.stem for path in Path(ROOT / "tests" / "golden").glob("*.png")}
    assert golden == {path.stem for path in SAMPLES}
