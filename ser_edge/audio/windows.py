"""Blocks of a waveform -> overlapping windows of equal length; a waveform -> its levels in dB."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ser_edge.audio.base import Float32

LEVEL_SECONDS: Final = 0.05
"""Of each value that :func:`levels` gives."""


@dataclass(frozen=True)
class Window:
    """Part of a sound: ``start`` in samples, ``waveform`` ``float32 (n,)``, n <= the length."""

    start: int
    waveform: Float32


def cut_windows(blocks: Iterable[Float32], length: int, hop: int) -> Iterator[Window]:
    """Cut a stream into windows of equal length, the last one flush with the end.

    A stream shorter than ``length`` gives one shorter window.

    Parameters
    ----------
    blocks : iterable of ndarray
        Consecutive ``float32 (n,)`` blocks.
    length, hop : int
        Samples, ``0 < hop <= length``.

    Yields
    ------
    Window
    """
    if not 0 < hop <= length:
        raise ValueError(f"hop is {hop}, allowed: 1 to the window's {length} samples")
    kept: Float32 = np.empty(0, dtype=np.float32)
    kept_start, next_start = 0, 0
    for block in blocks:
        kept = np.concatenate([kept, block])
        while kept_start + kept.size >= next_start + length:
            at = next_start - kept_start
            yield Window(next_start, kept[at : at + length])
            next_start += hop
        # The last `length` samples are kept: the final window is made of them.
        spare = min(kept.size - length, next_start - kept_start)
        if spare > 0:
            kept = kept[spare:].copy()
            kept_start += spare
    end = kept_start + kept.size
    last_start = max(0, end - length)
    if end > 0 and last_start != next_start - hop:  # else the last window is out already
        yield Window(last_start, kept[last_start - kept_start :])


def levels(waveform: Float32, rate: int) -> Float32:
    """Level of each 50 ms of a sound.

    Returns
    -------
    ndarray
        ``float32 (n,)``: RMS in dB re full scale, -200 at the least; a rest of under 50 ms counts
        as one more.
    """
    step = max(1, round(rate * LEVEL_SECONDS))
    whole = waveform.size // step * step
    parts = [waveform[:whole].reshape(-1, step)]
    if whole < waveform.size:
        parts.append(waveform[None, whole:])
    energy = np.concatenate([np.einsum("ij,ij->i", part, part) for part in parts])
    decibels: Float32 = 10.0 * np.log10(np.maximum(energy / np.float32(step), np.float32(1e-20)))
    return decibels
