"""Degradations, checked by measuring what they did: levels, SNR, band edges, delays, decay."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import soundfile

from conftest import speechlike
from ser_edge.evaluation.robustness import degradation
from ser_edge.evaluation.robustness.degradation import (
    Babble,
    FileCut,
    Gain,
    LeadingSilence,
    Mp3,
    Noise,
    Room,
    SpeechCut,
    Telephone,
    Unchanged,
    coloured_noise,
    degrade,
    room_response,
    speech_power,
)

RATE = 16_000
VOICES = tuple(speechlike(1.0, RATE, seed) for seed in range(20, 28))
ALL = (
    Unchanged(), Gain(-20), Gain(12), Noise("white", 20), Noise("pink", 10), Noise("brown", 10),
    Babble(10, VOICES), Telephone(), Mp3(), Room(), FileCut(0.3), SpeechCut(0.3),
    LeadingSilence(1.5),
)  # fmt: skip
each = pytest.mark.parametrize("change", ALL, ids=repr)


def clip(seed: int = 1) -> np.ndarray:
    """A second of speech between pauses of 0.7 s: to average over these would be a mistake."""
    pause = np.zeros(round(0.7 * RATE), dtype=np.float32)
    return np.concatenate([pause, speechlike(1.0, RATE, seed), pause])


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def decibels(ratio: float) -> float:
    return float(10 * np.log10(ratio))


def power(waveform: np.ndarray) -> float:
    return float(np.mean(np.square(waveform, dtype=np.float64)))


def delay(before: np.ndarray, after: np.ndarray) -> int:
    """Samples by which ``after`` comes later, by cross-correlation."""
    size = 2 ** int(np.ceil(np.log2(before.size + after.size)))
    correlation = np.fft.irfft(np.conj(np.fft.rfft(before, size)) * np.fft.rfft(after, size))
    lag = int(np.argmax(correlation))
    return lag if lag < size // 2 else lag - size


# --------------------------------------------------------------------------------- all of them


@each
def test_a_clip_gets_the_same_whenever_it_is_heard(change):
    first = degrade(clip(), RATE, change, "x", "clip-1")
    degrade(clip(2), RATE, change, "x", "clip-2")
    np.testing.assert_array_equal(degrade(clip(), RATE, change, "x", "clip-1"), first)
    assert first.dtype == np.int16


@pytest.mark.parametrize("change", [Noise("white", 20), Babble(10, VOICES), Room()], ids=repr)
@pytest.mark.parametrize("other", [("y", "clip-1", 0), ("x", "clip-2", 0), ("x", "clip-1", 1)])
def test_another_clip_degradation_or_seed_gets_another(change, other):
    first = degrade(clip(), RATE, change, "x", "clip-1", 0)
    second = degrade(clip(), RATE, change, *other)
    assert first.shape == second.shape
    assert (first != second).any()


@each
@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
def test_every_rate_and_a_full_scale_clip(change, rate):
    loud = speechlike(1.0, rate)
    loud /= np.abs(loud).max()
    found = change(loud, rate, generator())
    assert found.dtype == np.float32
    assert np.isfinite(found).all()
    # A clipped sound lies at full scale again and again, one that was turned down touches it once.
    # (The telephone's and MP3's decoders may go a little beyond what went in.)
    degraded = degrade(loud, rate, change, "x", "clip").astype(int)
    assert np.count_nonzero(np.abs(degraded) >= 32767) <= 2


@each
def test_silence_stays_silence(change):
    found = degrade(np.zeros(RATE, dtype=np.float32), RATE, change, "x", "clip")
    assert np.abs(found.astype(int)).max() <= 8  # mu-law has no zero


# --------------------------------------------------------------------------------- gain, noise


@pytest.mark.parametrize("gain", [-20, -10, 6])
def test_gain(gain):
    found = Gain(gain)(clip(), RATE, generator())
    np.testing.assert_allclose(found, clip() * 10 ** (gain / 20), rtol=1e-5)


def test_gain_is_limited_and_not_clipped():
    found = Gain(12)(clip() * np.float32(0.6 / np.abs(clip()).max()), RATE, generator())
    assert np.abs(found).max() == pytest.approx(degradation.FULL_SCALE)
    np.testing.assert_allclose(found, clip() * found.max() / clip().max(), atol=1e-6)


@pytest.mark.parametrize("snr", [20, 10, -10])
@pytest.mark.parametrize(
    "change",
    [Noise("white", 0), Noise("pink", 0), Noise("brown", 0), Babble(0, VOICES)],
    ids=["white", "pink", "brown", "babble"],
)
def test_the_snr_is_that_of_the_speech(change, snr):
    clean = clip()
    found = replace(change, snr_db=snr)(clean, RATE, generator())
    noise = found - clean
    assert np.abs(found).max() < degradation.FULL_SCALE  # else it was turned down
    assert decibels(speech_power(clean, RATE) / power(noise)) == pytest.approx(snr, abs=0.05)
    # With the pauses, the clip is so much softer than its speech.
    assert decibels(speech_power(clean, RATE) / power(clean)) > 3
    assert power(noise[: RATE // 2]) > 0.2 * power(noise)  # it is in the pauses as well


@pytest.mark.parametrize(("colour", "slope"), [("white", 0), ("pink", -3), ("brown", -6)])
def test_the_colour_of_noise(colour, slope):
    """White is level for each Hz, pink falls by 3 dB an octave, brown by 6."""
    noise = coloured_noise(20 * RATE, RATE, degradation.COLOURS[colour], generator())
    spectrum = np.square(np.abs(np.fft.rfft(noise)))
    hertz = np.fft.rfftfreq(noise.size, 1 / RATE)
    edges = 62.5 * 2.0 ** np.arange(8)
    octaves = [decibels(spectrum[(hertz >= low) & (hertz < 2 * low)].mean()) for low in edges[:-1]]
    np.testing.assert_allclose(np.diff(octaves), slope, atol=0.7)
    assert power(noise) == pytest.approx(1.0)


def test_noise_has_three_colours():
    with pytest.raises(ValueError, match=r"colour is 'blue', allowed: white, pink, brown"):
        Noise("blue", 10)  # type: ignore[arg-type]


def test_babble_is_of_several_equally_loud_voices():
    t = np.arange(RATE) / RATE
    loudness = {500: 0.5, 1000: 0.1, 2000: 0.02}
    voices = tuple(
        (loud * np.sin(2 * np.pi * hertz * t)).astype(np.float32)
        for hertz, loud in loudness.items()
    )
    found = Babble(0, voices)(clip(), RATE, generator()) - clip()
    spectrum = np.square(np.abs(np.fft.rfft(found[:RATE])))
    strengths = spectrum[[500, 1000, 2000]]
    assert decibels(strengths.max() / strengths.min()) < 1.0
    assert Babble(0, voices, talkers=1) != Babble(0, voices)
    alone = Babble(0, voices, talkers=1)(clip(), RATE, generator()) - clip()
    strengths = np.sort(np.square(np.abs(np.fft.rfft(alone[:RATE])))[[500, 1000, 2000]])
    assert decibels(strengths[2] / strengths[1]) > 30


def test_babble_needs_others_and_passes_over_the_silent():
    with pytest.raises(ValueError, match="babble needs clips of other speakers"):
        Babble(10)(clip(), RATE, generator())
    mute = np.zeros(RATE, dtype=np.float32)
    np.testing.assert_array_equal(Babble(10, (mute,))(clip(), RATE, generator()), clip())


# ----------------------------------------------------------------------------------- telephone


@pytest.mark.parametrize(
    ("hertz", "low", "high"),
    [
        (150, -90, -35), (300, -8, -4), (450, -0.5, 0.5), (1000, -0.5, 0.5), (3200, -0.6, 0.5),
        (3400, -8, -4), (3700, -90, -35), (6000, -90, -35),
    ],
)  # fmt: skip
def test_the_band_of_a_telephone(hertz, low, high):
    tone = (0.5 * np.sin(2 * np.pi * hertz * np.arange(2 * RATE) / RATE)).astype(np.float32)
    found = Telephone()(tone, RATE, generator())
    assert found.size == tone.size
    middle = slice(RATE // 2, 3 * RATE // 2)
    spectrum = np.square(np.abs(np.fft.rfft(found[middle] * np.hanning(RATE))))
    wanted = np.square(np.abs(np.fft.rfft(tone[middle] * np.hanning(RATE))))
    assert low <= decibels(spectrum[hertz] / wanted[hertz] + 1e-9) <= high


def test_a_telephone_has_no_delay_and_the_noise_of_mu_law():
    voice = speechlike(1.0, RATE)
    found = Telephone()(voice, RATE, generator())
    assert delay(voice, found) == 0
    band = degradation.band_pass(voice, RATE, 300, 3400)
    noise = found - band
    assert 25 < decibels(power(band) / power(noise)) < 45  # G.711: about 37 dB


# ----------------------------------------------------------------------------------------- MP3


@pytest.mark.parametrize("kbits", [24, 32, 64])
def test_the_bit_rate_of_mp3(kbits, monkeypatch):
    coded: list[bytes] = []

    def spy(source: io.BytesIO, rate: int) -> Any:
        coded.append(source.getvalue())
        return load(source, rate)

    load = degradation.load
    monkeypatch.setattr(degradation, "load", spy)
    voice = speechlike(10.0, RATE)
    Mp3(kbits)(voice, RATE, generator())
    assert soundfile.info(io.BytesIO(coded[0])).format == "MP3"
    assert len(coded[0]) * 8 / 10 / 1000 == pytest.approx(kbits, rel=0.04)


def test_mp3_leaves_its_delay_and_changes_the_sound():
    voice = speechlike(2.0, RATE)
    found = Mp3()(voice, RATE, generator())
    assert delay(voice, found) == 1105
    assert voice.size + 1105 <= found.size <= voice.size + 3 * 1152
    same = found[1105 : 1105 + voice.size]
    assert 10 < decibels(power(voice) / power(same - voice)) < 40
    assert Mp3()(speechlike(1.0, 48_000), 48_000, generator()).size > 48_000


@pytest.mark.parametrize("kbits", [8, 161])
def test_bit_rates_that_there_are_not(kbits):
    with pytest.raises(ValueError, match=f"kbits is {kbits}, allowed: above 8 to 160"):
        Mp3(kbits)


def test_a_soundfile_that_is_too_old_is_named(monkeypatch):
    def old(*_: object, **__: object) -> None:
        raise TypeError("write() got an unexpected keyword argument 'compression_level'")

    monkeypatch.setattr(soundfile, "write", old)
    with pytest.raises(ValueError, match=r"MP3 needs 0\.13 or later"):
        Mp3()(clip(), RATE, generator())


# ---------------------------------------------------------------------------------------- room


@pytest.mark.parametrize("rt60", [0.2, 0.4, 0.6])
def test_how_a_room_decays(rt60):
    """Schroeder's backward integral, -5 to -25 dB; rooms of images die a little more slowly."""
    found = []
    for seed in range(5):
        response = room_response(rt60, RATE, generator(seed))
        assert response[0] == 1.0
        assert np.abs(response[1:]).max() < 1.0  # the direct sound is the first and the strongest
        assert np.abs(response[1:4]).max() < 1e-3  # nothing before the first reflection
        energy = np.cumsum(np.square(response[::-1]))[::-1]
        level = 10 * np.log10(energy / energy[0])
        found.append(3 * (np.argmax(level < -25) - np.argmax(level < -5)) / RATE)
    assert np.mean(found) == pytest.approx(1.12 * rt60, rel=0.12)


def test_a_room_keeps_the_direct_sound_and_rings_on():
    voice = speechlike(1.0, RATE)
    found = Room(0.4)(voice, RATE, generator())
    assert found.size == voice.size + round(0.4 * RATE) - 1
    assert np.any(found[voice.size :])
    click = np.zeros(RATE, dtype=np.float32)
    click[100] = 0.1
    heard = Room(0.4)(click, RATE, generator())
    assert not np.abs(heard[:100]).max() > 1e-6
    assert heard[100] == pytest.approx(0.1, rel=1e-4)


@pytest.mark.parametrize("rt60", [0.05, 3.0])
def test_rooms_that_are_not_small(rt60):
    with pytest.raises(ValueError, match=f"rt60 is {rt60}, allowed: 0.1 to 1"):
        Room(rt60)(clip(), RATE, generator())


# --------------------------------------------------------------------------------------- start


def test_where_the_start_is_cut():
    clean = clip()
    file_cut = FileCut(0.3)(clean, RATE, generator())
    np.testing.assert_array_equal(file_cut, clean[round(0.3 * RATE) :])
    speech_cut = SpeechCut(0.3)(clean, RATE, generator())
    missing = (clean.size - speech_cut.size) / RATE
    onset = np.flatnonzero(np.abs(clean) > 0.02)[0] / RATE
    assert missing == pytest.approx(onset + 0.3, abs=0.051)
    np.testing.assert_array_equal(speech_cut, clean[-speech_cut.size :])


@pytest.mark.parametrize("change", [FileCut(0.3), SpeechCut(0.3)], ids=repr)
def test_a_clip_of_which_nothing_is_left(change):
    with pytest.raises(ValueError, match=r"it is 0\.20 s long: nothing is left without the first"):
        change(speechlike(0.2, RATE), RATE, generator())


def test_leading_silence():
    found = LeadingSilence(1.5)(clip(), RATE, generator())
    assert not found[: round(1.5 * RATE)].any()
    np.testing.assert_array_equal(found[round(1.5 * RATE) :], clip())
