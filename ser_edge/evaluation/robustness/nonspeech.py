"""Sounds that are no speech, made by rule: what a model should answer "unknown" to.

Every sound follows from its kind, its number and a seed; nothing of it was ever recorded. Within a
kind the numbers go through levels, colours, pitches and instruments, so that twenty of a kind are
twenty different sounds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from ser_edge.evaluation.robustness.degradation import (
    COLOURS,
    Float32,
    coloured_noise,
    random_of,
    unclipped,
)

Float64 = npt.NDArray[np.float64]

PER_KIND: Final = 20
SECONDS: Final = (1.0, 8.0)

_NOISE_DB: Final = (-60.0, -50.0, -40.0, -30.0, -20.0)
_SILENCE_DB: Final = (None, -90.0, -80.0, -70.0, -60.0)
_MAINS_HZ: Final = (50.0, 60.0)
_CHORDS: Final = ((0, 4, 7), (0, 3, 7), (0, 4, 7, 11), (0, 3, 7, 10), (0, 5, 7), (0, 3, 6, 9))
_SEMITONE: Final = 2.0 ** (1 / 12)

Maker: TypeAlias = "Callable[[int, Float64, np.random.Generator], Float64]"
"""Number within the kind, times in seconds ``(n,)``, generator -> waveform ``(n,)``."""


@dataclass(frozen=True)
class Sound:
    """One sound: ``waveform`` is ``float32 (n,)`` within full scale, ``rate`` in Hz."""

    kind: str
    name: str
    waveform: Float32
    rate: int


def sounds(seed: int = 0, per_kind: int = PER_KIND, rate: int = 16_000) -> Iterator[Sound]:
    """All kinds in their order, so many of each, 1 to 8 s long.

    Parameters
    ----------
    seed : int
    per_kind : int
        1 or more; the first few are the same however many are asked for.
    rate : int
        8,000 Hz or more.

    Yields
    ------
    Sound

    Raises
    ------
    ValueError
        A number that is not allowed.
    """
    if per_kind < 1:
        raise ValueError(f"per_kind is {per_kind}, allowed: 1 or more")
    if rate < 8_000:
        raise ValueError(f"rate is {rate}, allowed: 8000 Hz or more")
    for kind in KINDS:
        for number in range(per_kind):
            yield make(kind, number, seed, rate)


def make(kind: str, number: int, seed: int = 0, rate: int = 16_000) -> Sound:
    """One sound, named ``<kind>-<number>``.

    Raises
    ------
    ValueError
        There is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, allowed: {', '.join(KINDS)}")
    name = f"{kind}-{number:02d}"
    random = random_of(seed, name)
    time = np.arange(round(random.uniform(*SECONDS) * rate)) / rate
    return Sound(kind, name, unclipped(KINDS[kind](number, time, random)), rate)


# ------------------------------------------------------------------------------- the generators


def _silence(number: int, time: Float64, random: np.random.Generator) -> Float64:
    """Digital zero, dither of 16 bits, and the hiss of quieter and louder quiet rooms."""
    level = _SILENCE_DB[number % len(_SILENCE_DB)]
    if level is None:
        return np.zeros(time.size)
    return _at(coloured_noise(time.size, _rate(time), -1.0, random), level)


def _noise(colour: str) -> Maker:
    def made(number: int, time: Float64, random: np.random.Generator) -> Float64:
        noise = coloured_noise(time.size, _rate(time), COLOURS[colour], random)
        return _at(noise, _NOISE_DB[number % len(_NOISE_DB)])

    return made


def _hum(number: int, time: Float64, random: np.random.Generator) -> Float64:
    """Mains hum of 50 or 60 Hz with harmonics that fall off, over a little hiss."""
    mains = _MAINS_HZ[number % 2]
    slope = random.uniform(0.3, 2.0)
    hum = np.zeros(time.size)
    for k in range(1, int(random.integers(3, 30))):
        strength = random.uniform(0.3, 1.0) / k**slope
        hum += strength * np.sin(2 * np.pi * (k * mains * time + random.random()))
    hiss = _at(coloured_noise(time.size, _rate(time), -1.0, random), -70.0)
    return _at(hum, random.uniform(-50.0, -12.0)) + hiss


def _tone(number: int, time: Float64, random: np.random.Generator) -> Float64:
    """One steady frequency, 80 Hz to 6 kHz or 0.4 of the rate: sine, square or triangle."""
    hertz = _log_uniform(80.0, min(6000.0, 0.4 * _rate(time)), random)
    return _at(_wave(number, hertz * time, hertz, _rate(time)), random.uniform(-45.0, -9.0))


def _sweep(number: int, time: Float64, random: np.random.Generator) -> Float64:
    """Rising, falling, or up and down like a siren, on a logarithmic scale."""
    low = _log_uniform(80.0, 500.0, random)
    high = _log_uniform(800.0, min(6000.0, 0.4 * _rate(time)), random)
    share = time / max(float(time[-1]), 1e-9)
    siren = 0.5 - 0.5 * np.cos(2 * np.pi * random.uniform(0.2, 1.5) * time)
    way = (share, 1.0 - share, siren)[number % 3]
    hertz = low * (high / low) ** way
    return _at(np.sin(2 * np.pi * np.cumsum(hertz) / _rate(time)), random.uniform(-45.0, -9.0))


def _clicks(number: int, time: Float64, random: np.random.Generator) -> Float64:
    """Clicks, 1 to 20 a second: as regular as a clock, or at random; dry, or with a short ring."""
    rate, seconds = _rate(time), float(time[-1])
    every = 1.0 / _log_uniform(1.0, 20.0, random)
    count = max(1, int(seconds / every))
    regular = number % 2 == 0
    at = np.arange(count) * every + every / 2 if regular else random.uniform(0, seconds, count)
    clicks = np.zeros(time.size)
    clicks[np.minimum((at * rate).astype(int), time.size - 1)] = random.uniform(0.5, 1.0, count)
    if number % 4 >= 2:
        t = np.arange(round(0.02 * rate)) / rate
        ring = np.exp(-t / random.uniform(0.001, 0.005))
        ring *= np.cos(2 * np.pi * _log_uniform(300.0, 3500.0, random) * t)
        clicks = np.convolve(clicks, ring)[: time.size]
    hiss = _at(coloured_noise(time.size, rate, -1.0, random), -75.0)
    peak = float(np.abs(clicks).max())
    return np.asarray(clicks / peak * 10.0 ** (random.uniform(-20.0, -3.0) / 20) + hiss)


def _chords(number: int, time: Float64, random: np.random.Generator) -> Float64:
    """Chords one after the other: an organ, plucked strings, bells or a reedy pad, in a rhythm."""
    rate = _rate(time)
    instrument = (_organ, _pluck, _bell, _pad)[number % 4]
    beat = 60.0 / random.uniform(70.0, 150.0)
    rhythm = np.array(((1, 1, 1, 1), (2, 1, 1), (1.5, 0.5, 1, 1), (4,))[(number // 4) % 4]) * beat
    key = _log_uniform(98.0, 262.0, random)  # G2 to C4
    music = np.zeros(time.size)
    start, turn = 0.0, 0
    while start < time[-1]:
        length = float(rhythm[turn % len(rhythm)])
        first = round(start * rate)
        t = time[: min(round(length * rate), time.size - first)]
        root = key * _SEMITONE ** int(random.choice([0, 2, 5, 7, 9, -3]))
        for step in _CHORDS[int(random.integers(len(_CHORDS)))]:
            note = instrument(t, root * _SEMITONE**step, random)
            music[first : first + t.size] += note * _fade(t, length)
        start, turn = start + length, turn + 1
    return _at(music, random.uniform(-35.0, -12.0))


def _organ(t: Float64, hertz: float, random: np.random.Generator) -> Float64:
    return _partials(t, hertz, (1.0, 0.6, 0.4, 0.3, 0.0, 0.2, 0.0, 0.15))


def _pluck(t: Float64, hertz: float, random: np.random.Generator) -> Float64:
    """Higher partials die sooner, as on a string."""
    return np.asarray(
        sum(
            np.exp(-t * k * 1.8) / k * np.sin(2 * np.pi * (k * hertz * t + random.random()))
            for k in range(1, 10)
        )
    )


def _bell(t: Float64, hertz: float, random: np.random.Generator) -> Float64:
    """Two sines, one in the other's frequency (Chowning 1973)."""
    depth = 4.0 * np.exp(-t * 2.0)
    sound = np.sin(2 * np.pi * hertz * t + depth * np.sin(2 * np.pi * 1.4 * hertz * t))
    return np.asarray(np.exp(-t * 2.5) * sound)


def _pad(t: Float64, hertz: float, random: np.random.Generator) -> Float64:
    """Two reeds a little out of tune, with a slow tremolo."""
    strengths = tuple(1.0 / k for k in range(1, 9))
    reeds = _partials(t, hertz, strengths) + _partials(t, hertz * 1.004, strengths)
    return np.asarray(reeds * (1 + 0.2 * np.sin(2 * np.pi * random.uniform(3, 6) * t)))


KINDS: Final[Mapping[str, Maker]] = {
    "silence": _silence,
    "white noise": _noise("white"),
    "pink noise": _noise("pink"),
    "brown noise": _noise("brown"),
    "hum": _hum,
    "tone": _tone,
    "sweep": _sweep,
    "clicks": _clicks,
    "chords": _chords,
}
"""Kinds by name, in the order of the tables."""


# --------------------------------------------------------------------------------------- parts


def _rate(time: Float64) -> int:
    return round(1 / float(time[1] - time[0]))


def _at(waveform: Float64, decibels: float) -> Float64:
    """The waveform at this RMS, in dB re full scale."""
    rms = float(np.sqrt(np.mean(np.square(waveform))))
    return np.asarray(waveform * (10.0 ** (decibels / 20) / rms))


def _log_uniform(low: float, high: float, random: np.random.Generator) -> float:
    return float(np.exp(random.uniform(np.log(low), np.log(high))))


def _partials(t: Float64, hertz: float, strengths: tuple[float, ...]) -> Float64:
    return np.asarray(
        sum(a * np.sin(2 * np.pi * k * hertz * t) for k, a in enumerate(strengths, start=1))
    )


def _wave(number: int, phase: Float64, hertz: float, rate: int) -> Float64:
    """Sine, square or triangle by number, of partials below half the rate: nothing is aliased."""
    if number % 3 == 0:
        return np.sin(2 * np.pi * phase)
    steepness = number % 3  # partials of a square fall with 1 / k, of a triangle with 1 / k^2
    odd = range(1, max(2, int(0.5 * rate / hertz)), 2)
    return np.asarray(sum(np.sin(2 * np.pi * k * phase) / k**steepness for k in odd))


def _fade(t: Float64, length: float) -> Float64:
    """Notes begin and end within 10 ms, not with a click."""
    return np.minimum(1.0, np.minimum(t, np.maximum(length - t, 0.0)) / 0.01)
