"""The entries of a recipe that augment, at which values they are shown, and what a draw did.

What a draw did is measured, as a rule by sending an impulse or a tone through the very same draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import torch

from ser_edge.data.audio_augment import speech_power
from ser_edge.data.datasets import TrainingSounds
from ser_edge.mel.spec import MelImageSpec

_TONE_HZ: Final = 400.0
_BAND_HZ: Final = 50  # the noise of mu-law averages out
_TAP: Final = 1e-3  # -60 dB: below lies the rounding of the transform

Again: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""The same draws for another batch of as many rows and samples."""

Measure: TypeAlias = (
    "Callable[[torch.Tensor, torch.Tensor, Again, MelImageSpec], tuple[torch.Tensor, list[str]]]"
)
"""Before, after, again, specification -> how much each row was changed, and that in words."""


@dataclass(frozen=True)
class Entry:
    """An entry; ``vary`` names what has three values, where it is not the entry itself."""

    title: str
    name: str
    what: str
    values: tuple[float, ...]
    measure: Measure
    vary: str = ""


def _impulse(like: torch.Tensor) -> torch.Tensor:
    sound = torch.zeros(len(like), round(TrainingSounds.MARGIN * like.shape[1]))
    sound[:, 0] = 1.0
    return sound


def _ratio_of_pitch(before: torch.Tensor, again: Again, rate: int) -> torch.Tensor:
    """What a tone's frequency is multiplied by."""
    samples = round(TrainingSounds.MARGIN * before.shape[1])
    tone = torch.sin(2 * math.pi * _TONE_HZ / rate * torch.arange(samples))
    sounds = again(tone.repeat(len(before), 1))
    spectrum = torch.fft.rfft(sounds).abs()  # of seconds: a bin is a fraction of a Hz
    ratio: torch.Tensor = spectrum.argmax(dim=1) * (rate / sounds.shape[1] / _TONE_HZ)
    return ratio


def _speed(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    ratio = _ratio_of_pitch(before, again, spec.sample_rate)
    return ratio.log2().abs(), [f"{r:.2f} times as fast and as high" for r in ratio.tolist()]


def _pitch(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    semitones = 12 * _ratio_of_pitch(before, again, spec.sample_rate).log2()
    return semitones.abs(), [f"{s:+.1f} semitones" for s in semitones.tolist()]


def _moved_sound(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    # Samples that count themselves tell where they came from, also where the start was cut off.
    ramp = torch.arange(1.0, round(TrainingSounds.MARGIN * before.shape[1]) + 1)
    sounds = again(ramp.repeat(len(before), 1))
    first = (sounds > 0).float().argmax(dim=1)
    seconds = (first - sounds[torch.arange(len(sounds)), first] + 1) / spec.sample_rate
    return seconds.abs(), [_later(s) for s in seconds.tolist()]


def _later(seconds: float) -> str:
    return f"{abs(seconds):.2f} s {'later' if seconds >= 0 else 'cut off at the start'}"


def room(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    response = again(_impulse(before)).double()
    start = response.abs().argmax(dim=1)
    amounts, texts = [], []
    for row, first in zip(response, start.tolist(), strict=True):
        tail = row[first + 1 :].square()
        over = -10 * math.log10(max(float(tail.sum()), 1e-12))
        decay = 10 * torch.log10(tail.flip(0).cumsum(0).flip(0).clamp(min=1e-20))
        fallen = decay[0] - decay  # Schroeder 1965
        five, twentyfive = (int((fallen < db).sum()) for db in (5, 25))
        rt60 = 3 * (twentyfive - five) / spec.sample_rate
        amounts.append(-over)
        where = "above" if over >= 0 else "below"
        texts.append(f"RT60 {rt60:.2f} s, the voice {abs(over):.0f} dB {where} its reflections")
    return torch.tensor(amounts), texts


def echoes(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    amounts, texts = [], []
    for row in again(_impulse(before)):
        start = int(row.argmax())
        taps = (torch.nonzero(row[start + 1 :] > _TAP)[:, 0] + start + 1).tolist()
        amounts.append(float(row[taps].square().sum()))
        echoes = [
            ((tap - start) / spec.sample_rate, 20 * math.log10(float(row[tap]))) for tap in taps
        ]
        texts.append(", ".join(f"{seconds:.2f} s {level:.0f} dB" for seconds, level in echoes))
    return torch.tensor(amounts), texts


def _snr(
    before: torch.Tensor, after: torch.Tensor, _: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    voice, added = speech_power(before, spec.sample_rate), (after - before).square().mean(dim=1)
    snr = 10 * torch.log10(voice / added.clamp(min=1e-20))
    return -snr, [f"SNR {value:.0f} dB" for value in snr.tolist()]


def _telephone(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    response = torch.fft.rfft(again(_impulse(before))).abs()
    width = response.shape[1] * _BAND_HZ // (spec.sample_rate // 2)
    bands = response[:, : response.shape[1] // width * width].unflatten(1, (-1, width)).mean(dim=2)
    passed = bands > 0.3 * bands.amax(dim=1, keepdim=True)  # -10 dB
    hertz = (torch.arange(bands.shape[1]) + 0.5) * _BAND_HZ
    low = torch.where(passed, hertz, hertz[-1]).amin(dim=1)
    high = torch.where(passed, hertz, hertz[0]).amax(dim=1)
    texts = [f"{a:.0f} to {b:.0f} Hz" for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    return low - high, texts


def _gain(
    before: torch.Tensor, after: torch.Tensor, _: Again, __: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    decibels = 10 * torch.log10(after.square().sum(dim=1) / before.square().sum(dim=1))
    return decibels.abs(), [f"{value:+.1f} dB" for value in decibels.tolist()]


def _cropped(
    before: torch.Tensor, after: torch.Tensor, _: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    wide = after.shape[3]
    places = before.shape[3] - wide + 1
    # Not equal, but all but: what comes after the cut in a training's chain rounds.
    firsts = [
        min(
            range(places),
            key=lambda first: float((image[:, :, first : first + wide] - cut).abs().sum()),
        )
        for image, cut in zip(before, after, strict=True)
    ]
    hop = spec.hop_length / spec.sample_rate
    return torch.tensor(firsts), [
        f"{first * hop:.2f} to {(first + wide) * hop:.2f} s" for first in firsts
    ]


def _stretched(axis: int, text: Callable[[float], str]) -> Measure:
    """A bright stripe on black tells what an axis is scaled by."""

    def measure(
        before: torch.Tensor, _: torch.Tensor, again: Again, __: MelImageSpec
    ) -> tuple[torch.Tensor, list[str]]:
        probe = torch.zeros_like(before)
        middle = before.shape[axis] // 2
        probe.index_fill_(axis, torch.tensor([middle]), 255.0)
        seen = again(probe).sum(dim=(1, 5 - axis))  # (N, size)
        place = torch.arange(seen.shape[1]) + 0.5
        ratio = (seen * place).sum(dim=1) / seen.sum(dim=1) / (middle + 0.5)
        return (ratio - 1).abs(), [text(r) for r in ratio.tolist()]

    return measure


def _moved_image(
    before: torch.Tensor, after: torch.Tensor, _: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    first = [(images > 0.5).any(dim=2)[:, 0].float().argmax(dim=1) for images in (before, after)]
    seconds = (first[1] - first[0]) * spec.hop_length / spec.sample_rate
    return seconds.float(), [_later(s) for s in seconds.tolist()]


def _coloured(
    before: torch.Tensor, after: torch.Tensor, _: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    seen = before > 0
    apart = ((after - before).abs() * seen).sum(dim=(1, 2, 3)) / seen.sum(dim=(1, 2, 3)).clamp(1)
    decibels = apart * spec.range_db / 255
    return decibels, [f"levels changed by {value:.0f} dB on average" for value in decibels.tolist()]


def _hiss(
    before: torch.Tensor, after: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    floor = again(torch.zeros_like(before)).mean(dim=(1, 2, 3))
    below = (255.0 - floor) * spec.range_db / 255
    return floor, [f"noise {value:.0f} dB below the loudest point" for value in below.tolist()]


def _masked(axis: int, text: Callable[[int, MelImageSpec], str]) -> Measure:
    def measure(
        before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
    ) -> tuple[torch.Tensor, list[str]]:
        seen = again(torch.full_like(before, 255.0))
        black = (seen.amax(dim=(1, 5 - axis)) == 0).sum(dim=1)
        return black.float(), [text(int(count), spec) for count in black.tolist()]

    return measure


SOUNDS: Final = (
    Entry(
        "Speed", "speed",
        "Played faster or slower: tempo and pitch move together, as on a tape.",
        (0.05, 0.1, 0.2), _speed,
    ),
    Entry(
        "Pitch", "pitch",
        "The pitch moves, the tempo stays: a phase vocoder. One clip in two gets it, because the "
        "vocoder leaves traces.",
        (1.0, 2.0, 4.0), _pitch,
    ),
    Entry(
        "Shift", "shift",
        "The clip begins elsewhere in its five seconds. A longer one is cut elsewhere.",
        (0.25, 0.5, 1.0), _moved_sound,
    ),
    Entry(
        "Room", "reverb",
        "Reflections that decay exponentially: from a car to a large living room, from a hand's "
        "breadth to an arm's length away.",
        (1.0,), room,
    ),
    Entry(
        "Echo", "echo", "One to three single reflections, late enough to be heard apart.",
        (1.0,), echoes,
    ),
    Entry(
        "Noise", "noise",
        "Steady noise of any colour: brown rumbles, white rushes, violet hisses. "
        "snr_db is the lowest SNR that is drawn; the highest is 30 dB above.",
        (20.0, 10.0, 0.0), _snr, "snr_db",
    ),
    Entry(
        "Babble", "babble", "Three to eight others talk at once. snr_db as for noise.",
        (20.0, 10.0, 0.0), _snr, "snr_db",
    ),
    Entry(
        "Telephone", "telephone",
        "About 300 to 3400 Hz, in the 256 steps of mu-law; limits and slopes are drawn.",
        (1.0,), _telephone,
    ),
    Entry(
        "Gain", "gain",
        "Louder or softer. The mel image does not care: its white is always the loudest point.",
        (3.0, 6.0, 12.0), _gain,
    ),
)  # fmt: skip
"""In the order in which they happen to a voice."""

IMAGES: Final = (
    Entry(
        "Crop", "crop",
        "So many seconds are cut out, from where most of the sound is.",
        (4.0, 3.2, 2.0), _cropped,
    ),
    Entry(
        "Time stretch", "time_stretch",
        "The time axis is scaled: slower or faster, at the same pitch.",
        (0.05, 0.15, 0.3), _stretched(3, lambda ratio: f"{ratio:.2f} times as long"),
    ),
    Entry(
        "Band stretch", "freq_stretch",
        "The band axis is scaled, as by a longer or shorter vocal tract: a larger or a smaller "
        "person.",
        (0.04, 0.08, 0.16), _stretched(2, lambda ratio: f"bands {ratio:.2f} times as high"),
    ),
    Entry(
        "Shift", "shift", "The clip moves within the empty part of its mel image.",
        (0.25, 0.5, 1.0), _moved_image,
    ),
    Entry(
        "Line", "line",
        "Another microphone or line: bands are raised and lowered by up to 9 dB, and in every "
        "second draw what lies below and above two limits is lost.",
        (1.0,), _coloured,
    ),
    Entry(
        "Noise", "noise", "Steady noise, put into the mel image itself: faster than in the sound.",
        (1.0,), _hiss,
    ),
    Entry(
        "Masked bands", "freq_mask",
        "SpecAugment: two black stripes of bands, no wider than this.",
        (5, 10, 20), _masked(2, lambda count, spec: f"{count} of {spec.n_mels} bands are black"),
    ),
    Entry(
        "Masked time", "time_mask",
        "SpecAugment: two black stripes of time, no wider than so many frames.",
        (20, 40, 80),
        _masked(
            3, lambda count, spec: f"{count * spec.hop_length / spec.sample_rate:.2f} s are black"
        ),
    ),
)  # fmt: skip
"""In the order in which they happen to a mel image; copypaste before them, mixup after them."""
