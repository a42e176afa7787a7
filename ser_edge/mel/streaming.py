"""Blocks of a waveform -> the mel images of its windows, for files and live streams alike.

Frames that windows share are transformed once. The images are those that
:func:`ser_edge.mel.image.mel_image` makes of the same samples, bit for bit, however the waveform is
cut into blocks: a frame is transformed at the place in its group that it has in the window
(:func:`ser_edge.mel.image.frames_at_once`). Memory does not grow with the length of the waveform.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ser_edge.audio.base import Float32
from ser_edge.audio.windows import levels
from ser_edge.mel.image import UInt8, frames_at_once, log_mel, pad_window, quantize
from ser_edge.mel.spec import MelImageSpec


@dataclass(frozen=True)
class MelWindow:
    """A window of a waveform.

    Parameters
    ----------
    start, end : int
        In samples since the waveform began.
    frames : ndarray
        ``float32 (n_mels, n)``, dB: the log-mel frames that end by ``end`` and that no earlier
        window had. Those of all windows together are the frames of the whole waveform.
    levels : ndarray
        ``float32``, dB, of each 50 ms (:func:`ser_edge.audio.windows.levels`).
    image : ndarray
        ``uint8 (n_mels, frames)``.
    """

    start: int
    end: int
    frames: Float32
    levels: Float32
    image: UInt8


class MelWindower:
    """Blocks of any length, one by one -> windows as soon as they are complete.

    Parameters
    ----------
    spec : MelImageSpec
    live_hop : float, optional
        Seconds from window to window of a live stream: whole frames, at most a window. Its first
        windows are shorter than 5 s: they begin with the stream and are padded, as short clips
        are. Without it the windows are those of a file (:func:`mel_windows`).

    Raises
    ------
    ValueError
        A hop that is not allowed.
    """

    def __init__(self, spec: MelImageSpec, live_hop: float | None = None) -> None:
        self.spec = spec
        self._live = live_hop is not None
        self._hop = spec.hop_samples if live_hop is None else _hop_samples(spec, live_hop)
        self._period = frames_at_once(spec) * spec.hop_length
        self.reset()

    def reset(self) -> None:
        """Forget everything: the next sample is the first of a waveform."""
        self._waveform = _Tail()
        self._end = 0  # of the latest window
        self._next_end = self._hop if self._live else self.spec.window_samples
        self._given = 0  # frames
        # By the place of a window's first frame in a group: windows at other places share no bits.
        self._shared: dict[int, _Frames] = {}

    def feed(self, block: Float32) -> Iterator[MelWindow]:
        """The windows that a block completes.

        Parameters
        ----------
        block : ndarray
            ``float32 (n,)``, mono, at ``spec.sample_rate``.

        Yields
        ------
        MelWindow
            The block is taken in with the first; windows not consumed come with the next block.
        """
        self._waveform.append(block)
        while self._waveform.end >= self._next_end:
            window = self._window(self._next_end)
            self._next_end += self._hop
            yield window
        unused = min(self._end - self.spec.window_samples, self._given * self.spec.hop_length)
        self._waveform.forget(unused)

    def finish(self) -> Iterator[MelWindow]:
        """The waveform has ended: a window flush with the end, unless the latest one was."""
        if self._waveform.end > self._end:
            yield self._window(self._waveform.end)

    def _window(self, end: int) -> MelWindow:
        start = max(0, end - self.spec.window_samples)
        decibels = self._decibels(start, end)
        window = MelWindow(
            start,
            end,
            self._new_frames(start, end, decibels),
            levels(self._waveform.part(start, end), self.spec.sample_rate),
            quantize(decibels, self.spec),
        )
        self._end, self._given = end, self._given + window.frames.shape[1]
        return window

    def _decibels(self, start: int, end: int) -> Float32:
        """Log-mel frames of a window, padded where it is short."""
        if end - start < self.spec.window_samples:
            return log_mel(pad_window(self._waveform.part(start, end), self.spec), self.spec)
        place = start % self._period
        self._shared = {key: frames for key, frames in self._shared.items() if frames.end > start}
        if place not in self._shared:
            self._shared[place] = _Frames(self.spec, start)
        return self._shared[place].move_to(start, self._waveform.part(start, end))

    def _new_frames(self, start: int, end: int, decibels: Float32) -> Float32:
        """The frames that no earlier window had: the window's own, where these are on one grid."""
        spec, given = self.spec, self._given
        count = max(given, 1 + (end - spec.n_fft) // spec.hop_length)
        first, off_grid = divmod(start, spec.hop_length)
        padded = end - start < spec.window_samples and spec.align != "start"
        if first <= given and not off_grid and not padded:
            return decibels[:, given - first : count - first]
        if count == given:
            return np.empty((spec.n_mels, 0), dtype=np.float32)
        return log_mel(self._waveform.part(given * spec.hop_length, end), spec)


def mel_windows(blocks: Iterable[Float32], spec: MelImageSpec) -> Iterator[MelWindow]:
    """Windows of 5 s every 2.5 s, the last flush with the end; a shorter waveform has one.

    The same windows as :func:`ser_edge.audio.windows.cut_windows`.

    Parameters
    ----------
    blocks : iterable of ndarray
        Consecutive ``float32 (n,)`` blocks, mono, at ``spec.sample_rate``.
    spec : MelImageSpec

    Yields
    ------
    MelWindow
    """
    windower = MelWindower(spec)
    for block in blocks:
        for first in range(0, block.size, spec.window_samples):  # a block may be hours
            yield from windower.feed(block[first : first + spec.window_samples])
    yield from windower.finish()


def _hop_samples(spec: MelImageSpec, hop: float) -> int:
    samples = round(hop * spec.sample_rate)
    exact = abs(samples - hop * spec.sample_rate) < 1e-6 and samples % spec.hop_length == 0
    if not (exact and 0 < samples <= spec.window_samples):
        raise ValueError(
            f"hop is {hop:g} s, allowed: multiples of {spec.hop_length / spec.sample_rate:g} s "
            f"up to {spec.seconds:g} s"
        )
    return samples


class _Frames:
    """Log-mel frames of the latest of several windows whose frames have the same place in groups.

    ``values`` is ``float32 (n_mels, frames)``, dB; the window is that from ``start`` to ``end``.
    """

    def __init__(self, spec: MelImageSpec, start: int) -> None:
        self._spec = spec
        self._start = start
        self.values: Float32 = np.empty((spec.n_mels, 0), dtype=np.float32)

    @property
    def end(self) -> int:
        return self._start + self._spec.window_samples

    def move_to(self, start: int, waveform: Float32) -> Float32:
        """The frames of the window from ``start``, whose samples are given."""
        spec = self._spec
        kept = self.values[:, (start - self._start) // spec.hop_length :]
        done = kept.shape[1]
        fresh = log_mel(waveform[done * spec.hop_length :], spec, first=done)
        self.values = np.concatenate([kept, fresh], axis=1) if done else fresh
        self._start = start
        return self.values


class _Tail:
    """The end of a waveform: samples are named by their place in the whole of it."""

    def __init__(self) -> None:
        self._samples: Float32 = np.empty(0, dtype=np.float32)  # kept, then room for more
        self._start = self.end = 0

    def append(self, block: Float32) -> None:
        kept = self.end - self._start
        if kept + block.size > self._samples.size:
            grown = np.empty(kept + max(block.size, kept // 4), dtype=np.float32)
            grown[:kept] = self._samples[:kept]
            self._samples = grown
        self._samples[kept : kept + block.size] = block
        self.end += block.size

    def part(self, start: int, end: int) -> Float32:
        """A view; valid until the next block is appended or samples are forgotten."""
        return self._samples[start - self._start : end - self._start]

    def forget(self, before: int) -> None:
        if before > self._start:
            left = self.end - before
            self._samples[:left] = self._samples[before - self._start : self.end - self._start]
            self._start = before
