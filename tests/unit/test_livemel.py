"""The images of a stream are those of a file's windows."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from conftest import SAMPLES, SMALL, speechlike
from edge_app.live.windows import LiveMel
from ser_edge.audio import decode
from ser_edge.audio.base import AudioError
from ser_edge.audio.resample import as_mono
from ser_edge.mel.image import mel_image
from ser_edge.mel.spec import MelImageSpec

RATE = 16_000


def hops_of(live, sound, blocks):
    """Feed a sound in blocks of these lengths, over and over; every hop, with the rest."""
    found, at, turn = [], 0, 0
    while at < len(sound):
        size = blocks[turn % len(blocks)]
        found += list(live.feed(sound[at : at + size]))
        at, turn = at + size, turn + 1
    return found + list(live.finish())


def same_image(one, other):
    """Equal but for rounding: BLAS sums a row a little otherwise where a block has other rows."""
    gap = np.abs(one.astype(int) - other)
    return gap.max() <= 1 and np.count_nonzero(gap) <= 3


def chirps(seconds, rate, seed):
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    loud = 10.0 ** (-3.0 * random.random(t.size // 4000 + 1)).repeat(4000)[: t.size]
    sound = np.sin(2 * np.pi * 200.0 * t * (1 + 0.5 * t)) * loud
    return (sound + 1e-4 * random.standard_normal(t.size)).astype(np.float32)


@pytest.mark.parametrize(
    "spec",
    [MelImageSpec(), SMALL, MelImageSpec(align="center"), MelImageSpec(level="fixed", power=1.0)],
    ids=["default", "small", "centred", "fixed"],
)
@pytest.mark.parametrize("hop", [0.5, 0.05, 2.5])
def test_every_window_is_the_image_of_the_same_five_seconds(spec, hop):
    sound = np.concatenate(
        [speechlike(6.0, RATE, 3), np.zeros(9_000, np.float32), chirps(3, RATE, 1)]
    )
    windows = [w for w in hops_of(LiveMel(spec, RATE, hop), sound, [1_234]) if w.image is not None]
    assert len(windows) > 2
    for window in windows:
        offline = mel_image(sound[window.start : window.end], spec)
        assert same_image(window.image, offline), window.end


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_real_sounds_at_many_offsets(path):
    spec = MelImageSpec()
    sound = decode.load(path, spec.sample_rate)
    sound = np.concatenate([sound, sound, sound])[: 9 * RATE]
    for offset in (0, 1, 77, 12_345):
        for window in hops_of(LiveMel(spec, RATE), sound[offset:], [4_096]):
            if window.image is not None:
                part = sound[offset + window.start : offset + window.end]
                assert same_image(window.image, mel_image(part, spec))


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_gives_the_images_of_the_converted_sound(rate):
    spec = MelImageSpec()
    sound = speechlike(7.3, rate, 5)
    converted = as_mono(sound, rate, spec.sample_rate)
    hops = hops_of(LiveMel(spec, rate), sound, [997, 3, 48_000])
    for window in hops:
        if window.image is not None:
            offline = mel_image(converted[window.start : window.end], spec)
            assert same_image(window.image, offline)
    assert abs(hops[-1].end - 7.3 * RATE) <= 1


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_how_the_sound_is_cut_changes_nothing(rate):
    sound = speechlike(8.21, rate, 2)
    whole = hops_of(LiveMel(MelImageSpec(), rate), sound, [sound.size])
    parts = hops_of(LiveMel(MelImageSpec(), rate), sound, [1, 0, 5_000, 17, 160, 90_000])
    assert [(h.start, h.end) for h in whole] == [(h.start, h.end) for h in parts]
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one.frames, other.frames)
        assert (one.image is None) == (other.image is None)
        assert one.image is None or np.array_equal(one.image, other.image)


def test_a_hop_is_forty_new_frames_and_no_frame_is_transformed_twice(monkeypatch):
    from edge_app.live import windows as livemel

    transformed = []

    def counting(samples, spec):
        frames = log_mel(samples, spec)
        transformed.append(frames.shape[1])
        return frames

    log_mel = livemel.log_mel
    monkeypatch.setattr(livemel, "log_mel", counting)
    hops = hops_of(LiveMel(MelImageSpec(), RATE), speechlike(10.0, RATE), [800])
    assert transformed == [35] + [40] * 19
    assert [hop.frames.shape[1] for hop in hops] == transformed
    assert [hop.end for hop in hops] == [8_000 * n for n in range(1, 21)]


def test_a_stream_is_a_short_clip_first():
    hops = hops_of(LiveMel(MelImageSpec(), RATE), speechlike(6.0, RATE), [512])
    assert [hop.image is None for hop in hops[:3]] == [True, False, False]
    assert [hop.start for hop in hops] == [0] * 10 + [8_000, 16_000]


def test_the_rest_of_a_stream_is_given_without_an_image():
    hops = hops_of(LiveMel(MelImageSpec(), RATE), speechlike(1.3, RATE), [512])
    assert hops[-1].end == round(1.3 * RATE)
    assert hops[-1].image is None
    assert sum(hop.frames.shape[1] for hop in hops) == 1 + (round(1.3 * RATE) - 1024) // 200


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000, 22_050])
def test_samples_are_neither_lost_nor_made(rate):
    live, seconds = LiveMel(MelImageSpec(), rate, hop=2.5), 600
    silence = np.zeros(rate // 10, dtype=np.int16)
    for _ in range(10 * seconds):
        for _hop in live.feed(silence):
            pass
    assert 0 <= seconds * RATE - live.arrived < RATE / 4  # what the conversion holds
    for _hop in live.finish():
        pass
    assert abs(live.arrived - seconds * RATE) <= 1


def test_whole_numbers_are_scaled_by_their_range():
    sound = speechlike(2.0, RATE)
    whole = np.round(sound * 32_768).astype(np.int16)
    one = hops_of(LiveMel(MelImageSpec(), RATE), whole, [999])
    other = hops_of(LiveMel(MelImageSpec(), RATE), whole / np.float32(32_768), [999])
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(one, other, strict=True))


def test_after_a_reset_it_is_a_new_stream():
    live, sound = LiveMel(MelImageSpec(), 44_100), speechlike(3.0, 44_100)
    first = hops_of(live, sound, [4_000])
    live.reset()
    again = hops_of(live, sound, [4_000])
    assert all(np.array_equal(a.frames, b.frames) for a, b in zip(first, again, strict=True))
    assert [hop.end for hop in again] == [hop.end for hop in first]


@pytest.mark.parametrize(
    ("samples", "cause"),
    [
        ([0.0, float("nan")], "NaN or infinite"),
        (np.array([1e300]), "NaN or infinite"),
        (np.zeros((3, 2)), "shape"),
        (np.array(["a"]), "shape"),
        (np.zeros(3, dtype=np.uint8), "shape"),
    ],
)
def test_what_is_no_sound_is_refused_by_name(samples, cause):
    with pytest.raises(AudioError, match=f"^kitchen: .*{cause}"):
        list(LiveMel(MelImageSpec(), RATE, name="kitchen").feed(samples))


@pytest.mark.parametrize("rate", [0, 7_999, 192_001])
def test_a_rate_that_is_not_allowed(rate):
    with pytest.raises(ValueError, match=f"rate is {rate}, allowed"):
        LiveMel(MelImageSpec(), rate)


@pytest.mark.parametrize("hop", [0.0, -0.5, 0.51, 5.5, 0.013])
def test_a_hop_that_is_not_allowed(hop):
    with pytest.raises(ValueError, match=r"hop is .* allowed: multiples of 0.0125 s up to 5 s"):
        LiveMel(MelImageSpec(), RATE, hop)


def test_real_recordings(ravdess):
    spec = MelImageSpec()
    for path in sorted(ravdess.rglob("*.wav"))[:300:60]:
        sound, rate = soundfile.read(path, dtype="float32")
        two = np.concatenate([sound, sound])
        converted = as_mono(two, rate, spec.sample_rate)
        for window in hops_of(LiveMel(spec, rate), two, [rate // 10]):
            if window.image is not None:
                part = mel_image(converted[window.start : window.end], spec)
                assert same_image(window.image, part)
