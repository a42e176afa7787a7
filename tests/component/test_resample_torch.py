"""Sample rates changed in torch: what torchaudio gives, and what a tone must become."""

from __future__ import annotations

import math

import pytest
import torch

from ser_edge.audio.resample_torch import resample

RATES = [(31, 40, 12), (45, 40, 12), (48_000, 16_000, 6), (44_100, 16_000, 6), (8_000, 16_000, 6)]


@pytest.mark.parametrize(("rate", "new_rate", "zero_crossings"), RATES)
def test_the_same_numbers_as_torchaudio(rate, new_rate, zero_crossings):
    functional = pytest.importorskip(
        "torchaudio.functional", reason="the extra speech-encoders is not installed"
    )
    torch.manual_seed(0)
    noise = torch.randn(3, 5_001)
    wanted = functional.resample(noise, rate, new_rate, lowpass_filter_width=zero_crossings)
    assert torch.equal(resample(noise, rate, new_rate, zero_crossings), wanted)


@pytest.mark.parametrize(("rate", "new_rate", "zero_crossings"), RATES)
def test_a_tone_stays_that_tone_and_what_cannot_be_there_is_gone(rate, new_rate, zero_crossings):
    cycles = 0.05 * min(rate, new_rate)  # a second
    seconds = 4_000 / rate
    time = torch.arange(4_000) / rate
    new_time = torch.arange(math.ceil(4_000 * new_rate / rate)) / new_rate
    tone = torch.sin(2 * math.pi * cycles * time)
    found = resample(tone[None], rate, new_rate, zero_crossings)[0]
    assert found.shape == new_time.shape
    inside = (new_time > 0.1 * seconds) & (new_time < 0.9 * seconds)
    wanted = torch.sin(2 * math.pi * cycles * new_time)
    torch.testing.assert_close(found[inside], wanted[inside], atol=0.01, rtol=0)
    if new_rate < rate:
        above = torch.sin(2 * math.pi * 0.7 * new_rate * time)
        if 0.7 * new_rate < 0.5 * rate:
            heard = resample(above[None], rate, new_rate, zero_crossings)[0]
            assert heard[inside].abs().max() < 0.02


def test_one_rate_is_left_alone():
    noise = torch.randn(2, 100)
    assert torch.equal(resample(noise, 16_000, 16_000), noise)
