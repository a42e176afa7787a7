"""``edge-app explain``: what spoke for an answer, and a picture of it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageFont

from conftest import SMALL, speechlike
from edge_app import AudioError, Classifier
from edge_app.cli import main
from edge_app.inference import occlusion
from edge_app.inference.occlusion import Explanation, find_spot, log_odds, occlude, patches
from edge_app.output import explanation_image
from ser_edge.decision import softmax
from ser_edge.emotions import EMOTIONS
from ser_edge.mel.image import MelImageSpec

HAPPY = EMOTIONS.index("happy")


def likes(bands: slice, frames: slice, weight: float = 4.0) -> Callable[[np.ndarray], np.ndarray]:
    """A network that says happy by the mean brightness of one place."""

    def logits(image: np.ndarray) -> np.ndarray:
        return weight * image[bands, frames].mean() / 255 * (np.arange(8) == HAPPY)

    return logits


@pytest.fixture(scope="module")
def small(small_model: Path) -> Classifier:
    return Classifier(small_model)


@pytest.fixture(scope="module")
def found(small: Classifier) -> Explanation:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(occlusion, "PATCH_BANDS", 4)
        patch.setattr(occlusion, "PATCH_SECONDS", 0.5)
        return small.explain(speechlike(3.0, 16_000), 16_000)


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """A dozen patches, where it does not matter what they find."""
    monkeypatch.setattr(occlusion, "PATCH_BANDS", 2)
    monkeypatch.setattr(occlusion, "PATCH_SECONDS", 2.0)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "clip.wav", speechlike(2.0, 16_000), 16_000)
    return tmp_path / "clip.wav"


# ------------------------------------------------------------------------------------------- heat


@pytest.mark.unit
@pytest.mark.parametrize("label", range(8))
def test_log_odds_are_those_of_the_score(label):
    logits = np.random.default_rng(1).standard_normal(8) * 3
    score = softmax(logits, 0.7)[label]
    assert log_odds(logits, label, 0.7) == pytest.approx(np.log(score / (1 - score)))


@pytest.mark.unit
def test_log_odds_of_a_very_sure_answer_are_finite():
    assert log_odds([1000.0, *[0.0] * 7], 0) == pytest.approx(1000 - np.log(7))


@pytest.mark.unit
@pytest.mark.parametrize(
    "spec", [SMALL, MelImageSpec(), MelImageSpec(seconds=0.5, n_mels=3, n_fft=512, win_length=400)]
)
def test_patches_cover_every_point_and_stay_inside(spec):
    times = np.zeros(spec.shape, dtype=int)
    for bands, frames in patches(spec):
        times[bands, frames] += 1
        assert bands.start >= 0 <= frames.start
        assert bands.stop <= spec.n_mels
    assert times.min() >= 1


@pytest.mark.unit
@pytest.mark.parametrize("sign", [1, -1])
def test_heat_lies_where_the_network_looks(sign):
    place = (slice(4, 6), slice(100, 110))
    image = np.full(SMALL.shape, 200, dtype=np.uint8)
    heat = sign * occlude(likes(*place, weight=4.0 * sign), image, HAPPY, SMALL)
    band, frame = np.unravel_index(heat.argmax(), heat.shape)
    assert 3 <= band <= 6
    assert 95 <= frame <= 115
    assert heat.min() >= 0
    far = heat[:, :80]
    assert far.max() == 0
    # Nothing falls by more than it falls where the whole place is black.
    assert 0 < heat.max() <= 4 * 200 / 255 + 1e-9


@pytest.mark.unit
def test_what_is_black_already_is_not_asked_again():
    asked = 0

    def logits(image: np.ndarray) -> np.ndarray:
        nonlocal asked
        asked += 1
        return np.zeros(8)

    image = np.zeros(SMALL.shape, dtype=np.uint8)
    image[3, 50] = 255
    heat = occlude(logits, image, 0, SMALL)
    assert 2 <= asked <= 5  # the whole, and the patches on one point
    assert not heat.any()


@pytest.mark.unit
def test_a_spot_is_measured_not_added_up():
    place = (slice(4, 8), slice(100, 120))
    image = np.full(SMALL.shape, 255, dtype=np.uint8)
    heat = np.zeros(SMALL.shape)
    heat[place] = 1.0
    spot = find_spot(likes(*place), image, HAPPY, heat)
    assert spot is not None
    assert (spot.bands, spot.frames) == place
    assert spot.score == pytest.approx(1 / 8)
    assert image.all()  # it was a copy that was made black
    assert find_spot(likes(*place), image, HAPPY, 0.05 * heat) is None


@pytest.mark.unit
@pytest.mark.parametrize("against", [False, True])
def test_of_several_peaks_the_one_that_changes_most_is_chosen(against):
    place = (slice(4, 8), slice(100, 120))
    image = np.full(SMALL.shape, 255, dtype=np.uint8)
    heat = np.zeros(SMALL.shape)
    heat[place] = 1.0
    heat[1:3, 20:30] = 2.0  # the highest peak, where the network looks at nothing
    likes_it = likes(*place)
    logits = (lambda picture: -np.asarray(likes_it(picture))) if against else likes_it
    spot = find_spot(logits, image, HAPPY, -heat if against else heat, against=against)
    assert spot is not None
    assert (spot.bands, spot.frames) == place
    assert spot.score == pytest.approx(1 / 8)


# -------------------------------------------------------------------------------------- classifier


def test_it_explains_the_highest_score_of_what_predict_says(small, found):
    answer = small.predict(speechlike(3.0, 16_000), 16_000)
    assert found.prediction == answer
    assert found.window == answer.windows[0]
    assert found.window.scores[found.emotion] == max(answer.scores.values())
    assert found.image.shape == found.heat.shape == SMALL.shape
    assert np.isfinite(found.heat).all()
    assert found.heat.any()
    assert not found.heat[:, 160:].any()  # the padding says nothing


def test_another_emotion_has_another_heat(coarse, small, found):
    other = next(label for label in EMOTIONS if label != found.emotion)
    asked = small.explain(speechlike(3.0, 16_000), 16_000, emotion=other)
    assert asked.emotion == other
    assert asked.window == found.window
    assert not np.allclose(asked.heat, found.heat)


@pytest.mark.parametrize(
    ("at", "start"), [(None, 2.5), (0, 0.0), (4.9, 2.5), (5.2, 2.5), (7, 5.0), (10, 5.0)]
)
def test_of_a_long_sound_one_window_is_explained(coarse, small, at, start):
    """Without a wish that with the most speech: here the one in the middle."""
    sound = np.zeros(160_000, dtype=np.float32)
    sound[2 * 16_000 : 8 * 16_000] = speechlike(6.0, 16_000)
    found = small.explain(sound, 16_000, at=at)
    assert found.window.start == start
    assert found.window in found.prediction.windows
    assert len(found.prediction.windows) == 3


@pytest.mark.parametrize(
    ("how", "error", "message"),
    [
        ({"emotion": "bored"}, ValueError, "emotion is 'bored', allowed: neutral, calm"),
        ({"at": 3.5}, ValueError, r"at is 3.5 s, allowed: 0 to 3\.000 s"),
        ({"at": float("nan")}, ValueError, "at is nan s"),
        ({"rate": None}, ValueError, "needs its rate"),
    ],
)
def test_what_cannot_be_explained(small, how, error, message):
    with pytest.raises(error, match=message):
        small.explain(**{"sound": speechlike(3.0, 16_000), "rate": 16_000, **how})


def test_silence_has_no_answer_to_explain(small):
    with pytest.raises(AudioError, match="it is silent there: no answer to explain"):
        small.explain(np.zeros(16_000), 16_000)
    half = np.concatenate([speechlike(5.0, 16_000), np.zeros(160_000)])
    with pytest.raises(AudioError, match=r"it is silent from 10\.0 to 15\.0 s"):
        small.explain(half, 16_000, at=14)


def test_coarser_labels_are_not_explained(small_model):
    with pytest.raises(ValueError, match="leave out labels"):
        Classifier(small_model, labels="4").explain(speechlike(1.0, 16_000), 16_000)


# ----------------------------------------------------------------------------------------- drawing


def opened(png: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(png)) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB")).astype(int)


def plot(points: np.ndarray, number: int) -> np.ndarray:
    """One of the two plots: the mel image, and the one with the heat."""
    left, top = (
        explanation_image._LEFT,
        explanation_image._TOP
        + 22
        + number * (explanation_image._PLOT[1] + explanation_image._GAP),
    )
    return points[top : top + explanation_image._PLOT[1], left : left + explanation_image._PLOT[0]]


def test_low_sounds_lie_at_the_bottom_and_heat_where_it_belongs(found):
    image = np.zeros(SMALL.shape, dtype=np.uint8)
    image[:4, :60] = 255  # low and early
    heat = np.zeros(SMALL.shape)
    heat[:4, :60], heat[12:, 60:] = 1.0, -1.0
    made = replace(found, image=image, heat=heat, most_for=None, most_against=None)
    points = opened(explanation_image.draw(made))
    bright = plot(points, 0).sum(axis=-1)
    high, wide = bright.shape
    assert bright[-20:, :200].mean() > 3 * bright[:20].mean()
    over = plot(points, 1)
    orange, blue = over[-20:, 20:200].mean(axis=(0, 1)), over[:20, -200:].mean(axis=(0, 1))
    assert orange[0] > orange[2] + 80
    assert blue[2] > blue[0] + 80
    middle = over[high // 2, wide // 2]
    assert np.ptp(middle) < 12  # where there is no heat there is no colour


def test_a_weak_heat_is_not_drawn_as_a_strong_one(found):
    weak = replace(found, heat=found.heat * 1e-3, most_for=None, most_against=None)
    over = plot(opened(explanation_image.draw(weak)), 1)
    assert np.ptp(over, axis=-1).max() < 16
    assert explanation_image.sentences(weak) == (
        f"No single part of it weighs much for or against {found.emotion}.",
    )


@pytest.mark.parametrize("hz", [100, 500, 1000, 4000])
def test_marks_of_pitch_lie_on_the_band_of_that_pitch(found, hz):
    """A tone lights up one band; the mark of its pitch is at that height."""
    from ser_edge.mel.image import mel_image

    tone = np.sin(2 * np.pi * hz * np.arange(80_000) / 16_000)
    spec = MelImageSpec()
    band = mel_image(tone, spec)[:, 100].argmax()
    view = explanation_image._View(replace(found, spec=spec, image=mel_image(tone, spec)))
    assert view.y(hz) == pytest.approx(230 * (1 - (band + 0.5) / 80), abs=230 / 80)


@pytest.mark.parametrize("seconds", [0.5, 1.7, 4.6])
def test_marks_of_time_lie_on_the_frames_of_that_time(found, seconds):
    from ser_edge.mel.image import mel_image

    spec = MelImageSpec()
    click = np.zeros(80_000, dtype=np.float32)
    click[round(seconds * 16_000)] = 1.0
    image = mel_image(click, spec)
    frame = image.sum(axis=0).argmax()
    window = replace(found.window, start=0.0, end=5.0)
    view = explanation_image._View(replace(found, spec=spec, image=image, window=window))
    assert view.seconds_at(frame + 0.5 - view.first) == pytest.approx(seconds, abs=0.0251)
    assert view.x(seconds) == pytest.approx((frame + 0.5 - view.first) * 780 / 395, abs=5)


def test_only_the_part_with_sound_is_shown(found):
    view = explanation_image._View(found)
    assert view.first == 0
    assert 115 <= view.last <= 122  # of 199 frames, 40 a second
    centred = replace(found, offset=1.0)
    assert explanation_image._View(centred).first == pytest.approx(39, abs=1)


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        ({}, "<waveform>: sounds"),
        ({"file": "a/b.wav"}, "b.wav: sounds"),
        ({"file": "a\n\udcff.wav"}, "a??.wav: sounds"),
        ({"file": "x" * 300 + ".wav"}, "x" * 30 + "..." + "x" * 11 + ".wav: sounds"),
    ],
)
def test_titles(found, changes, start):
    made = replace(found, prediction=replace(found.prediction, **changes))
    assert explanation_image.title(made).startswith(start)
    explanation_image.draw(made)


def test_titles_of_the_unsure_and_of_long_sounds(coarse, small, found):
    unsure = replace(found, window=replace(found.window, emotion="unknown"))
    assert f"not sure, most like {found.emotion}" in explanation_image.title(unsure)
    long = small.explain(speechlike(8.0, 16_000), 16_000, at=0)
    assert ", 0.0 to 5.0 s: " in explanation_image.title(long)
    assert explanation_image.title(long).endswith(f" (all 8.0 s: {long.prediction.emotion})")
    other = next(label for label in EMOTIONS if label != found.emotion)
    assert explanation_image.title(replace(found, emotion=other)).endswith(f"; why not {other}?")


def test_an_old_pillow_has_one_font_for_all(found, monkeypatch):
    """Before 10.1 the font has one size and no letters beyond Latin-1."""
    load = ImageFont.load_default_imagefont

    def old(*words):
        assert not words
        return load()

    monkeypatch.setattr("PIL.__version__", "9.1.0")
    monkeypatch.setattr(ImageFont, "load_default", old)
    made = replace(found, prediction=replace(found.prediction, file="žluť.wav"))
    assert opened(explanation_image.draw(made)).shape[2] == 3


# -------------------------------------------------------------------------------- the command line


def run(*words: object, stdin: bytes = b"", cwd: Path | None = None) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from edge_app.cli import main; sys.exit(main())",
         *map(str, words)],
        input=stdin, capture_output=True, check=False, cwd=cwd, timeout=120,
    )  # fmt: skip


def test_from_a_pipe_to_a_picture(small_model, clip, tmp_path):
    done = run("explain", "-m", small_model, "-", stdin=clip.read_bytes(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.decode().splitlines()
    assert lines[0].startswith("<stdin>: ")
    assert lines[-1] == "drawn: why.png"
    opened((tmp_path / "why.png").read_bytes())


@pytest.mark.skipif(os.name == "nt", reason="no /dev/full")
def test_a_disk_that_is_full(coarse, small_model, clip, tmp_path, monkeypatch, capsys):
    (tmp_path / "full.png").symlink_to("/dev/full")
    monkeypatch.chdir(tmp_path)
    assert main(["explain", "-m", str(small_model), str(clip), "--out", "full.png"]) == 1
    assert "full.png: No space left" in capsys.readouterr().err
