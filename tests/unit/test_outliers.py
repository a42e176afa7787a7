"""Sounds that are no speech, for training: in bounds, various, and their targets without aim."""

from __future__ import annotations

import numpy as np
import pytest

from conftest import SMALL
from ser_edge.data import nonspeech
from ser_edge.data.nonspeech import FAMILIES, SILENCE, TURNS, Canvas

NAMES = list(FAMILIES)
ROUND = len(TURNS)


def level(waveform: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(waveform, dtype=np.float64)) + 1e-20))


@pytest.mark.parametrize("name", NAMES)
def test_a_family(name):
    made = [nonspeech.window(NAMES.index(name) + ROUND * turn, SMALL, 1) for turn in range(4)]
    for waveform in made:
        assert waveform.dtype == np.float32
        assert 0.3 * SMALL.sample_rate <= waveform.size <= SMALL.window_samples
        assert np.isfinite(waveform).all()
        assert np.abs(waveform).max() <= 1.0
        if name != SILENCE:
            assert waveform.any()
    distinct = {waveform.tobytes() for waveform in made if waveform.any()}
    assert len(distinct) == sum(waveform.any() for waveform in made)
    again = nonspeech.window(NAMES.index(name), SMALL, 1)
    np.testing.assert_array_equal(again, made[0])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("seconds", "rate"), [(0.1, 16_000), (2.0, 8_000), (1.0, 44_100)])
def test_a_family_at_other_lengths_and_rates(name, seconds, rate):
    for seed in range(3):
        canvas = Canvas(np.random.default_rng(seed), round(seconds * rate), rate)
        sound = FAMILIES[name](canvas)
        assert sound.shape == (canvas.samples,)
        assert np.isfinite(sound).all()


@pytest.mark.component
def test_levels_and_lengths_vary():
    made = [nonspeech.window(number, SMALL, 2) for number in range(8 * ROUND)]
    full = np.mean([waveform.size == SMALL.window_samples for waveform in made])
    assert 0.4 <= full <= 0.75
    heard = np.array([level(w) for n, w in enumerate(made) if TURNS[n % ROUND] != SILENCE])
    assert heard.min() < -60
    assert heard.max() > -20
    silent = [w for n, w in enumerate(made) if TURNS[n % ROUND] == SILENCE]
    assert any(not w.any() for w in silent)
    faint = [level(w - w.mean()) for w in silent if w.any()]
    assert max(faint) < -55


def test_mel_images_are_those_of_the_sounds_however_many():
    few, more = nonspeech.mel_images(3, SMALL, 1), nonspeech.mel_images(len(NAMES), SMALL, 1)
    assert more.shape == (len(NAMES), 1, *SMALL.shape)
    assert more.dtype == np.uint8
    np.testing.assert_array_equal(more[:3], few)
    again = nonspeech.mel_image(nonspeech.window(5, SMALL, 1), SMALL)
    np.testing.assert_array_equal(more[5, 0], again)
    assert not np.array_equal(nonspeech.mel_images(3, SMALL, 2), few)
    assert nonspeech.mel_images(0, SMALL, 1).shape == (0, 1, *SMALL.shape)
