"""Streams of samples -> mel images of their windows: those of a file, bit for bit."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import soundfile

from conftest import SAMPLES, SMALL, speechlike
from ser_edge.audio import decode
from ser_edge.audio.resample import Resampler, as_mono
from ser_edge.audio.windows import cut_windows, levels
from ser_edge.mel import streaming
from ser_edge.mel.image import log_mel, mel_image
from ser_edge.mel.spec import MelImageSpec
from ser_edge.mel.streaming import MelWindower, mel_windows

RATE = 16_000
SPEC = MelImageSpec()
SPECS = {
    "default": SPEC,
    "small": SMALL,
    "11 frames in half a second": replace(SMALL, sample_rate=8800, hop_length=400, f_max=4000.0),
    "short window": replace(SMALL, seconds=1.7),
    "window of no whole frames": replace(SMALL, seconds=1.2341),
    "odd levels": replace(SMALL, sample_rate=22_050, hop_length=525),
    "odd rate": replace(SMALL, sample_rate=11_025, hop_length=424, f_max=5000.0),
    "centred": replace(SPEC, align="center"),
    "fixed level": replace(SPEC, level="fixed", power=1.0),
}
every_spec = pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)


def cut(sound, seed, longest=40_000):
    """A sound in blocks of random lengths, some of them empty."""
    ends = np.cumsum(np.random.default_rng(seed).integers(0, longest, size=sound.size // 100 + 9))
    return np.split(sound, ends[ends < sound.size])


def live_windows(spec, hop, blocks):
    windower = MelWindower(spec, hop)
    found = [window for block in blocks for window in windower.feed(block)]
    return found, list(windower.finish())


def sound_with_pauses(spec, seconds, seed):
    """Speech, silence, and noise that grows, of random lengths."""
    random = np.random.default_rng(seed)
    sound = speechlike(seconds, spec.sample_rate, seed)
    first, end = sorted(random.integers(0, sound.size, size=2))
    sound[first:end] = 0
    sound[end:] *= np.linspace(1e-4, 3, sound.size - end, dtype=np.float32)
    return sound


def same_as_file(windows, sound, spec):
    for window in windows:
        part = sound[window.start : window.end]
        np.testing.assert_array_equal(window.image, mel_image(part, spec), str(window.end))
        np.testing.assert_array_equal(window.levels, levels(part, spec.sample_rate))


def frames_are_those_of(sound, windows, spec):
    frames = np.concatenate([window.frames for window in windows], axis=1)
    whole = log_mel(sound, spec) if sound.size >= spec.n_fft else np.empty((spec.n_mels, 0))
    np.testing.assert_allclose(frames, whole, atol=0.01, rtol=0)


@every_spec
@pytest.mark.parametrize("seconds", [0.01, 0.9, 5.0, 5.03, 13.21, 20.0])
def test_a_file_in_any_blocks_has_the_windows_of_the_whole(spec, seconds):
    sound = sound_with_pauses(spec, seconds, round(100 * seconds))
    expected = list(cut_windows([sound], spec.window_samples, spec.hop_samples))
    for blocks in ([sound], cut(sound, 1), cut(sound, 2, 500)):
        found = list(mel_windows(blocks, spec))
        assert [w.start for w in found] == [w.start for w in expected]
        assert [w.end for w in found] == [w.start + w.waveform.size for w in expected]
        same_as_file(found, sound, spec)
        frames_are_those_of(sound, found, spec)


@every_spec
@pytest.mark.parametrize("hop", ["a frame", 0.15, 0.5, 0.65, "window"])
def test_a_live_stream_in_any_blocks_has_the_images_of_a_file(spec, hop):
    frame = spec.hop_length / spec.sample_rate
    whole = spec.window_samples // spec.hop_length
    frames = {"a frame": 1, "window": whole}.get(hop) or min(whole, max(1, round(hop / frame)))
    seconds = 5.9 if hop == "a frame" else 9.3
    sound = sound_with_pauses(spec, seconds, frames)
    found, rest = live_windows(spec, frames * frame, cut(sound, 3))
    assert len(found) == sound.size // (frames * spec.hop_length)
    assert all(b.end - a.end == frames * spec.hop_length for a, b in pairwise(found))
    assert all(w.start == max(0, w.end - spec.window_samples) for w in found)
    same_as_file(found, sound, spec)
    frames_are_those_of(sound, found + rest, spec)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
def test_real_sounds_from_any_sample_on(path):
    sound = decode.load(path, RATE)
    sound = np.concatenate([sound, sound, sound])[: 9 * RATE]
    for offset in (0, 1, 77, 12_345):
        found, _ = live_windows(SPEC, 0.5, cut(sound[offset:], offset))
        same_as_file(found, sound[offset:], SPEC)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000])
def test_any_rate_gives_the_images_of_the_converted_sound(rate):
    sound = speechlike(7.3, rate, 5)
    converter = Resampler(rate, RATE)
    blocks = [*map(converter.feed, cut(sound, 4)), converter.finish()]
    found, rest = live_windows(SPEC, 0.5, blocks)
    same_as_file(found, as_mono(sound, rate, RATE), SPEC)
    assert abs(rest[-1].end - 7.3 * RATE) <= 1


def test_real_recordings(ravdess):
    for path in sorted(ravdess.rglob("*.wav"))[:300:60]:
        sound, rate = soundfile.read(path, dtype="float32")
        converted = as_mono(np.concatenate([sound, sound]), rate, RATE)
        same_as_file(live_windows(SPEC, 0.5, cut(converted, 5))[0], converted, SPEC)


@pytest.mark.parametrize("first", [1, 35, 39, 40, 41, 200, 394])
def test_frames_of_a_part_of_a_window_are_those_of_the_window(first):
    sound = speechlike(5.0, RATE)
    part = log_mel(sound[first * SPEC.hop_length :], SPEC, first=first)
    np.testing.assert_array_equal(part, log_mel(sound, SPEC)[:, first:])


@pytest.fixture
def transformed(monkeypatch):
    """How many frames each call transformed."""
    counts = []

    def counting(*arguments, **options):
        frames = log_mel(*arguments, **options)
        counts.append(frames.shape[1])
        return frames

    monkeypatch.setattr(streaming, "log_mel", counting)
    return counts


def test_no_frame_of_a_file_is_transformed_twice(transformed):
    sound = speechlike(60.0, RATE)
    assert len(list(mel_windows([sound], SPEC))) == 23
    assert sum(transformed) == log_mel(sound, SPEC).shape[1]


@pytest.mark.parametrize("hop", [0.5, 0.1])
def test_a_live_hop_transforms_the_frames_of_half_a_second(transformed, hop):
    found, _ = live_windows(SPEC, hop, cut(speechlike(10.0, RATE), 6))
    assert {frames for frames in transformed[-40:] if frames != SPEC.frames} == {40}
    assert {window.frames.shape[1] for window in found[1:]} == {round(hop / 0.0125)}


def test_the_first_windows_of_a_stream_are_short_clips():
    found, rest = live_windows(SPEC, 0.5, [speechlike(6.2, RATE)])
    assert [w.start for w in found] == [0] * 10 + [8_000, 16_000]
    assert [w.end for w in found] == [8_000 * n for n in range(1, 13)]
    assert [(w.start, w.end) for w in rest] == [(19_200, 99_200)]


def test_windows_that_nobody_asked_for_come_with_the_next_block():
    windower, sound = MelWindower(SPEC, 0.5), speechlike(3.0, RATE)
    for window in windower.feed(sound[:24_000]):
        assert window.end == 8_000
        break
    assert [w.end for w in windower.feed(sound[24_000:])] == [8_000 * n for n in range(2, 7)]


def test_after_a_reset_it_is_a_new_stream():
    windower, sound = MelWindower(SPEC, 0.5), speechlike(6.0, RATE)
    first = list(windower.feed(sound))
    windower.reset()
    for one, other in zip(first, windower.feed(sound), strict=True):
        assert (one.start, one.end) == (other.start, other.end)
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.image, other.image)


@pytest.mark.parametrize("hop", [None, 0.5, 0.2])
def test_memory_does_not_grow_with_the_stream(hop):
    """What is held is bounded by the window, not by the length of the stream."""
    windower, block = MelWindower(SMALL, hop), np.zeros(1_777, dtype=np.float32)

    def held_after(seconds):
        for _ in range(seconds * RATE // block.size):
            for _window in windower.feed(block):
                pass
        return tracemalloc.get_traced_memory()[0]

    tracemalloc.start()
    try:
        early = held_after(30)
        assert held_after(600) < early + 100_000
    finally:
        tracemalloc.stop()
    kept = sum(frames.values.size for frames in windower._shared.values())
    assert kept <= SMALL.window_samples
    assert windower._waveform._samples.size <= 2 * SMALL.window_samples


def test_one_long_block_is_not_copied_whole():
    sound = np.zeros(3600 * RATE // 4, dtype=np.float32)
    tracemalloc.start()
    try:
        for _window in mel_windows([sound], SMALL):
            pass
        assert tracemalloc.get_traced_memory()[1] < sound.nbytes / 4
    finally:
        tracemalloc.stop()


def test_no_samples_give_no_window():
    assert list(mel_windows([], SMALL)) == []
    assert list(mel_windows([np.empty(0, np.float32)], SMALL)) == []
    assert live_windows(SMALL, 0.5, []) == ([], [])


@pytest.mark.parametrize("hop", [0.0, -0.5, 0.51, 5.5, 0.013])
def test_a_hop_that_is_not_allowed(hop):
    with pytest.raises(ValueError, match=r"hop is .* allowed: multiples of 0.0125 s up to 5 s"):
        MelWindower(SPEC, hop)
