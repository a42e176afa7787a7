"""Decoded sound of any rate and channels -> checked mono at one rate (soxr)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import soxr

from ser_edge.audio.base import (
    MAX_AMPLITUDE,
    MAX_CHANNELS,
    MAX_RATE,
    MIN_RATE,
    AudioError,
    Float32,
    reason,
)


@dataclass(frozen=True)
class Stream:
    """Decoded sound: ``blocks`` of ``float32 (n, channels)``.

    Those of whole numbers cannot be NaN, infinite or beyond full scale.
    """

    rate: float
    channels: int
    blocks: Iterator[Float32]
    whole_numbers: bool = False


def as_mono(waveform: npt.ArrayLike, waveform_rate: float, rate: int) -> Float32:
    """An array of samples -> mono at one rate, by the same checks and conversion as a file.

    Parameters
    ----------
    waveform : array_like
        ``(samples,)`` or ``(samples, channels)``; integers are scaled by their type's range.
    waveform_rate : float
        Its rate in Hz, 8,000 to 192,000.
    rate : int
        Rate wanted, in Hz.

    Returns
    -------
    ndarray
        ``float32 (n,)``.

    Raises
    ------
    AudioError
        No samples, more than two axes, NaN or infinite samples, unsupported rate or channels.
    """
    name = "<waveform>"
    try:
        waveform_rate = float(waveform_rate)
    except (TypeError, ValueError):
        raise AudioError(name, f"its rate is {waveform_rate!r}, it should be a number") from None
    try:
        samples = np.asarray(waveform)
    except ValueError as error:
        raise AudioError(name, f"it is no array of numbers: {reason(error)}") from None
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu":
        raise AudioError(
            name,
            f"shape {samples.shape} of {samples.dtype}, allowed: (samples,) or "
            "(samples, channels) of numbers",
        )
    if samples.size == 0:
        raise AudioError(name, "it has no samples")
    block = _full_scale_one(samples[:, None] if samples.ndim == 1 else samples)
    stream = Stream(waveform_rate, block.shape[1], iter([block]))
    mono = np.concatenate(list(resampled(stream, rate, name)))
    if mono.size == 0:  # a sample or two at a high rate
        raise AudioError(name, f"it has no samples left at {rate} Hz")
    return mono


def live_block(samples: npt.ArrayLike, name: str) -> Float32:
    """A block of a live stream -> ``float32 (n,)`` of full scale 1.0.

    Parameters
    ----------
    samples : array_like
        ``(n,)``, mono: floats of full scale 1.0, or signed integers of their range.
    name : str
        What messages call the stream.

    Raises
    ------
    AudioError
        No numbers, not one-dimensional, NaN or infinite.
    """
    block = np.asarray(samples)
    if block.ndim != 1 or block.dtype.kind not in "fi":
        raise AudioError(
            name, f"shape {block.shape} of {block.dtype}, allowed: (samples,) of numbers"
        )
    waveform = _full_scale_one(block)
    if waveform.size and not np.abs(waveform).max() <= MAX_AMPLITUDE:
        raise AudioError(name, "it has NaN or infinite samples")
    return waveform


def _full_scale_one(samples: npt.NDArray[Any]) -> Float32:
    """Floats as they are, integers scaled by their type's range."""
    if samples.dtype.kind == "u":
        middle = (np.iinfo(samples.dtype).max + 1) / 2
        samples = (samples.astype(np.float64) - middle) / middle
    if samples.dtype.kind == "i":
        scale = np.float32(-1.0 / np.iinfo(samples.dtype).min)
        return np.asarray(samples.astype(np.float32) * scale)
    with np.errstate(over="ignore"):  # what becomes infinite is rejected by the caller
        return samples.astype(np.float32)


class Resampler:
    """Consecutive blocks at one rate -> blocks at another; how they are cut changes nothing.

    Parameters
    ----------
    rate, new_rate : float
        Hz.
    """

    def __init__(self, rate: float, new_rate: float) -> None:
        self._converter = (
            None if rate == new_rate else soxr.ResampleStream(rate, new_rate, 1, dtype="float32")
        )

    def feed(self, block: Float32) -> Float32:
        """``float32 (n,)`` -> as much as is known of it at the new rate."""
        if self._converter is None or not block.size:
            return block
        return np.asarray(self._converter.resample_chunk(block))

    def finish(self) -> Float32:
        """The rest, which the filter held."""
        empty = np.empty(0, dtype=np.float32)
        if self._converter is None:
            return empty
        return np.asarray(self._converter.resample_chunk(empty, last=True))


def checked(stream: Stream, name: str) -> Iterator[Float32]:
    """Decoded blocks that are not empty, of a rate, channels and samples that can be used."""
    if not MIN_RATE <= stream.rate <= MAX_RATE:
        raise AudioError(name, f"its rate is {stream.rate:g} Hz, allowed: {MIN_RATE} to {MAX_RATE}")
    if not 1 <= stream.channels <= MAX_CHANNELS:
        raise AudioError(name, f"it has {stream.channels} channels, allowed: 1 to {MAX_CHANNELS}")
    done = 0
    for block in stream.blocks:
        if not len(block):
            continue
        if stream.whole_numbers:
            yield block
            continue
        # min and max carry NaN and infinity along and need no temporary.
        low, high = float(block.min()), float(block.max())
        if not (low >= -MAX_AMPLITUDE and high <= MAX_AMPLITUDE):
            finite = np.isfinite(block).all(axis=1)
            at = (done + int(np.argmin(finite))) / stream.rate
            if not finite.all():
                raise AudioError(name, f"it has NaN or infinite samples (first at {at:.3f} s)")
            raise AudioError(name, f"it has samples beyond {MAX_AMPLITUDE:.0f}: that is no sound")
        done += len(block)
        yield block


def resampled(stream: Stream, rate: int, name: str) -> Iterator[Float32]:
    """Check, mix down and convert the rate of decoded blocks."""
    mixed = (
        block[:, 0] if stream.channels == 1 else block.mean(axis=1, dtype=np.float32)
        for block in checked(stream, name)
    )
    if stream.rate == rate:
        yield from mixed
        return
    first = next(mixed, None)
    if first is None:
        return
    second = next(mixed, None)
    if second is None:  # the same to the last bit, in three quarters of the time
        yield soxr.resample(first, stream.rate, rate)
        return
    converter = Resampler(stream.rate, rate)  # takes every rate that was not rejected above
    for mono in chain((first, second), mixed):
        yield converter.feed(mono)
    yield converter.finish()
