"""Speech is detected; silence and steady noise are not, at any level."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import SAMPLES, SMALL, speechlike
from edge_app.segmentation.vad import (
    SpeechSpan,
    VADSettings,
    VoiceActivityDetector,
    joined,
    speech_of,
)
from ser_edge.audio import decode
from ser_edge.audio.windows import levels
from ser_edge.evaluation.robustness import nonspeech
from ser_edge.evaluation.robustness.degradation import coloured_noise
from ser_edge.mel.image import log_mel
from ser_edge.mel.spec import MelImageSpec

RATE = 16_000
SPEC = MelImageSpec()
STEADY = ("silence", "white noise", "pink noise", "brown noise", "hum", "tone")


def speech_in(sound, spec=SPEC):
    return speech_of(log_mel(np.asarray(sound, dtype=np.float32), spec), spec)


def seconds_of(spans):
    return sum(span.end - span.start for span in spans)


def hiss(seconds, decibels, colour=0.0, seed=0):
    random = np.random.default_rng(seed)
    noise = coloured_noise(round(seconds * RATE), RATE, colour, random)
    return 10.0 ** (decibels / 20) * noise / np.sqrt(np.mean(np.square(noise)))


@pytest.mark.parametrize("kind", STEADY)
def test_steady_sounds_are_no_speech(kind):
    for number in range(0, nonspeech.PER_KIND, 2):
        assert speech_in(nonspeech.make(kind, number, 0, RATE).waveform) == ()


@pytest.mark.parametrize("decibels", [-80, -50, -20, -6])
@pytest.mark.parametrize("colour", [0.0, -1.0, -2.0])
def test_a_noise_switched_on_and_off_is_no_speech(decibels, colour):
    on = (np.arange(20 * RATE) // (4 * RATE)) % 2
    assert speech_in(on * hiss(20, decibels, colour)) == ()


@pytest.mark.parametrize("decibels", [-60, -40, -20])
def test_a_fan_is_no_speech(decibels):
    t = np.arange(15 * RATE) / RATE
    blades = 0.5 * np.sin(2 * np.pi * 118 * t) + 0.2 * np.sin(2 * np.pi * 236 * t)
    fan = hiss(15, 0, -1.0) * (1 + 0.2 * np.sin(2 * np.pi * 1.3 * t)) + blades
    assert speech_in(10.0 ** (decibels / 20) * fan) == ()


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.name)
@pytest.mark.parametrize("gain", [0.0, -30.0])
def test_speech_is_found_where_it_is(path, gain):
    voice = decode.load(path, RATE) * np.float32(10.0 ** (gain / 20))
    before, after = 3.0, 3.0
    sound = np.concatenate([np.zeros(round(before * RATE)), voice, np.zeros(round(after * RATE))])
    spans = speech_in(sound + hiss(sound.size / RATE, -85.0))
    assert before - 0.2 < spans[0].start < before + 0.5
    assert spans[-1].end < sound.size / RATE - after + 0.3
    assert seconds_of(spans) > 0.7 * voice.size / RATE


@pytest.mark.parametrize("snr", [20, 10])
def test_speech_is_found_in_noise(snr):
    for path in SAMPLES:
        voice = decode.load(path, RATE)
        level = 10 * np.log10(np.mean(np.square(voice)))
        noise = hiss(voice.size / RATE + 4, level - snr, -1.0)
        noise[2 * RATE : 2 * RATE + voice.size] += voice
        spans = speech_in(noise)
        assert seconds_of(spans) > 0.7 * voice.size / RATE
        assert all(span.start > 1.7 and span.end < 2.4 + voice.size / RATE for span in spans)


def test_most_of_real_speech_is_found(ravdess):
    paths = sorted(ravdess.rglob("*.flac"))[::120]
    assert paths
    heard = total = 0.0
    for path in paths:
        sound = decode.load(path, RATE)
        decibels = levels(sound, RATE)
        loud = decibels >= decibels.max() - 30
        inside = np.zeros(loud.size, dtype=bool)
        for span in speech_in(sound):
            inside[round(span.start / 0.05) : round(span.end / 0.05)] = True
        heard, total = heard + (inside & loud).sum(), total + loud.sum()
    assert heard / total > 0.9


@pytest.mark.parametrize("spec", [SPEC, SMALL, MelImageSpec(power=1.0)])
def test_how_the_frames_are_cut_changes_nothing(spec):
    sound = np.concatenate([np.zeros(20_000), speechlike(6, RATE), np.zeros(30_000)] * 2)
    frames = log_mel(sound.astype(np.float32), spec)
    whole = speech_of(frames, spec)
    assert len(whole) == 2
    for size in (3, 40, 41):
        vad, pieces, until = VoiceActivityDetector(spec), [], 0.0
        for first in range(0, frames.shape[1], size):
            new = vad.feed(frames[:, first : first + size])
            # What was decided stays so: nothing new lies before it.
            assert all(until <= span.start < span.end <= vad.until for span in new)
            assert vad.until >= until
            pieces, until = [*pieces, *new], vad.until
        assert joined([*pieces, *vad.finish()]) == whole


def test_it_decides_soon():
    vad = VoiceActivityDetector(SPEC)
    for number in range(1, 21):  # hops of half a second
        vad.feed(log_mel(hiss(0.5 + 0.064, -40, seed=number).astype(np.float32), SPEC)[:, :40])
        assert number * 0.5 - vad.until < 0.25


def test_a_short_pause_belongs_to_the_speech_around_it():
    settings = VADSettings(min_silence=2.0)
    sound = np.concatenate([speechlike(3, RATE), np.zeros(RATE), speechlike(3, RATE, 1)])
    frames = log_mel(np.concatenate([np.zeros(RATE), sound, np.zeros(3 * RATE)]), SPEC)
    assert len(speech_of(frames, SPEC, settings)) == 1
    assert len(speech_of(frames, SPEC, VADSettings(min_silence=0.3))) > 1


def test_one_knock_is_no_speech():
    sound = np.zeros(10 * RATE, dtype=np.float32)
    sound[5 * RATE : 5 * RATE + 200] = 0.5
    assert speech_in(sound) == ()


def test_after_a_reset_it_is_new():
    frames = log_mel(np.concatenate([np.zeros(RATE), speechlike(4, RATE)]), SPEC)
    vad = VoiceActivityDetector(SPEC)
    first = [*vad.feed(frames), *vad.finish()]
    vad.reset()
    assert vad.until == 0.0
    assert [*vad.feed(frames), *vad.finish()] == first


def test_speech_that_is_cut_off_goes_to_the_end():
    frames = log_mel(np.concatenate([np.zeros(RATE), speechlike(4, RATE)]), SPEC)
    vad = VoiceActivityDetector(SPEC)
    spans = joined([*vad.feed(frames), *vad.finish(5.0)])
    assert spans[-1].end == 5.0
    frames = log_mel(np.concatenate([np.zeros(RATE), speechlike(4, RATE), np.zeros(7_000)]), SPEC)
    vad = VoiceActivityDetector(SPEC)
    spans = joined([*vad.feed(frames), *vad.finish(5.4375)])
    assert spans[-1].end < 5.3  # a pause so long was not cut off


def test_spans_that_touch_are_merged():
    assert joined([SpeechSpan(0, 1), SpeechSpan(1, 2), SpeechSpan(3, 4)]) == (
        SpeechSpan(0, 2),
        SpeechSpan(3, 4),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("movement", 0.1), ("hold", 2.0), ("breadth", 1.1), ("min_silence", 0.0), ("pad", 0.5)],
)
def test_settings_out_of_range(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value:g}, allowed"):
        VADSettings(**{name: value})
