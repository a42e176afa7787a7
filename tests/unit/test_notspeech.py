"""Sounds that are no speech: each is what its kind says, and no two are the same."""

from __future__ import annotations

import numpy as np
import pytest

from ser_edge.evaluation.robustness import nonspeech
from ser_edge.evaluation.robustness.nonspeech import KINDS, Sound, make

RATE = 16_000


def level(sound: Sound) -> float:
    return float(10 * np.log10(np.mean(np.square(sound.waveform, dtype=np.float64)) + 1e-20))


def spectrum(sound: Sound, seconds: float = 1.0) -> np.ndarray:
    """Power for each Hz of the first second."""
    part = sound.waveform[: round(seconds * sound.rate)] * np.hanning(round(seconds * sound.rate))
    return np.asarray(np.square(np.abs(np.fft.rfft(part))))


@pytest.mark.parametrize("kind", KINDS)
def test_eight_of_each_kind(kind):
    made = [make(kind, number) for number in range(8)]
    for sound in made:
        assert sound.waveform.dtype == np.float32
        assert 1.0 <= sound.waveform.size / RATE <= 8.0
        assert np.isfinite(sound.waveform).all()
        assert np.abs(sound.waveform).max() <= 1.0
    assert len({sound.name for sound in made}) == 8
    assert len({sound.waveform.tobytes() for sound in made}) == 8
    again = make(kind, 3)
    np.testing.assert_array_equal(again.waveform, made[3].waveform)
    assert make(kind, 3, seed=1).waveform.tobytes() != made[3].waveform.tobytes()


def test_the_kinds_come_in_order_and_the_first_stay_the_first():
    few, more = list(nonspeech.sounds(per_kind=1)), list(nonspeech.sounds(per_kind=2))
    assert [sound.kind for sound in few] == list(KINDS)
    assert [sound.name for sound in more[::2]] == [sound.name for sound in few]
    np.testing.assert_array_equal(more[4].waveform, few[2].waveform)


def test_silence_at_several_depths():
    made = [make("silence", number) for number in range(5)]
    assert not made[0].waveform.any()
    np.testing.assert_allclose([level(s) for s in made[1:]], [-90, -80, -70, -60], atol=0.1)


@pytest.mark.parametrize(
    ("kind", "slope"), [("white noise", 0), ("pink noise", -1), ("brown noise", -2)]
)
def test_noise_at_several_levels(kind, slope):
    made = [make(kind, number) for number in range(5)]
    np.testing.assert_allclose([level(s) for s in made], [-60, -50, -40, -30, -20], atol=0.1)
    for sound in made:
        power = spectrum(sound)
        low, high = power[200:400].mean(), power[3200:6400].mean()
        assert np.log2(high / low) / 4 == pytest.approx(slope, abs=0.3)


@pytest.mark.parametrize(("number", "mains"), [(0, 50), (1, 60), (2, 50), (3, 60)])
def test_hum_is_of_the_mains_and_its_harmonics(number, mains):
    power = spectrum(make("hum", number))
    at = np.zeros(power.size, dtype=bool)
    for k in range(1, power.size // mains):
        at[k * mains - 3 : k * mains + 4] = True
    assert power[at].sum() > 0.98 * power.sum()
    assert power[2 * mains - 3 : 2 * mains + 4].sum() > 1e-4 * power.sum()


@pytest.mark.parametrize("number", range(6))
def test_a_tone_stays_and_a_sweep_moves(number):
    def middle(waveform: np.ndarray) -> float:
        power = np.square(np.abs(np.fft.rfft(waveform)))
        return float(np.argmax(power) * RATE / waveform.size)

    tone, sweep = make("tone", number).waveform, make("sweep", number).waveform
    fifth = RATE // 5
    tones = [middle(tone[i : i + fifth]) for i in range(0, tone.size - fifth, fifth)]
    assert max(tones) - min(tones) <= 6
    sweeps = [middle(sweep[i : i + fifth]) for i in range(0, sweep.size - fifth, fifth)]
    assert max(sweeps) > 1.7 * min(sweeps)


@pytest.mark.parametrize("number", range(4))
def test_clicks_are_short_and_sparse(number):
    sound = make("clicks", number).waveform
    loud = np.abs(sound) > 0.1 * np.abs(sound).max()
    assert 1 <= np.count_nonzero(loud) < 0.06 * sound.size
    assert np.abs(sound).max() > 8 * np.sqrt(np.mean(np.square(sound)))


@pytest.mark.parametrize("number", range(4))
def test_a_chord_is_of_several_notes(number):
    power = spectrum(make("chords", number), 1.0)
    peaks = [
        hertz
        for hertz in range(60, 4000)
        if power[hertz] == power[hertz - 8 : hertz + 9].max() and power[hertz] > 1e-3 * power.max()
    ]
    assert len(peaks) >= 4


@pytest.mark.parametrize("rate", [8_000, 22_050])
def test_other_rates(rate):
    for kind in KINDS:
        sound = make(kind, 1, rate=rate)
        assert sound.rate == rate
        assert 1.0 <= sound.waveform.size / rate <= 8.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: make("speech", 0), "kind is 'speech', allowed: silence, white noise"),
        (lambda: next(nonspeech.sounds(per_kind=0)), "per_kind is 0, allowed: 1 or more"),
        (lambda: next(nonspeech.sounds(rate=4000)), "rate is 4000, allowed: 8000 Hz or more"),
    ],
)
def test_wrong_usage(call, message):
    with pytest.raises(ValueError, match=message):
        call()
