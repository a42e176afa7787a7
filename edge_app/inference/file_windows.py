"""A sound as it comes in -> the mel images of its windows; frames that windows share, made once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from ser_edge.audio.base import Float32
from ser_edge.audio.windows import LEVEL_SECONDS, levels
from ser_edge.mel.image import UInt8, frames_at_once, log_mel, pad_window, quantize
from ser_edge.mel.spec import MelImageSpec


@dataclass(frozen=True)
class Picture:
    """A window of a sound.

    Parameters
    ----------
    start, end : int
        Samples.
    image : ndarray
        ``uint8 (n_mels, frames)``.
    levels : ndarray
        ``float32``, dB, of each 50 ms (:func:`ser_edge.audio.windows.levels`).
    fresh : ndarray
        ``float32 (n_mels, n)``, dB: the log-mel frames that no earlier window had. Together those
        of all windows are the frames of the whole sound, without padding.
    """

    start: int
    end: int
    image: UInt8
    levels: Float32
    fresh: Float32


def pictures(blocks: Iterable[Float32], spec: MelImageSpec) -> Iterator[Picture]:
    """Windows of 5 s every 2.5 s, the last flush with the end; a shorter sound has one.

    The same windows as :func:`ser_edge.audio.windows.windows`, the same pictures as
    :func:`ser_edge.mel.image.mel_image`, to the last bit: a frame of a stream does not depend on
    where the stream is cut (:func:`ser_edge.mel.image.frames_at_once`).

    Parameters
    ----------
    blocks : iterable of ndarray
        Consecutive ``float32 (n,)`` blocks, mono, at ``spec.sample_rate``.
    spec : MelImageSpec

    Yields
    ------
    Picture
    """
    length, hop = spec.window_samples, spec.hop_samples
    sound = _Tail()
    frames, loudness = _Frames(spec, sound), _Levels(spec, sound)
    start = 0  # of the next window
    told = 0  # frames
    for block in blocks:
        sound.append(block)
        while sound.end >= start + length:
            decibels, heard = frames.window(start), loudness.window(start)
            first, odd = divmod(start, spec.hop_length)
            fresh = decibels[:, max(0, told - first) :]
            if odd or told < first:  # its frames do not go on where those before ended
                fresh = _from(sound, told, start + length, spec)
            told += fresh.shape[1]
            yield Picture(start, start + length, quantize(decibels, spec), heard, fresh)
            start += hop
        sound.forget(min(start, sound.end - length, told * spec.hop_length))
    last = max(0, sound.end - length)
    if sound.end > 0 and last != start - hop:  # else the last window is out already
        waveform = sound.part(last, sound.end)
        decibels = log_mel(pad_window(waveform, spec), spec)
        heard = levels(waveform, spec.sample_rate)
        fresh = decibels[:, : max(0, 1 + (sound.end - spec.n_fft) // spec.hop_length)]
        if told or spec.align != "start":  # its frames lie elsewhere, or some are known
            fresh = _from(sound, told, sound.end, spec)
        yield Picture(last, sound.end, quantize(decibels, spec), heard, fresh)


def _from(sound: _Tail, frame: int, end: int, spec: MelImageSpec) -> Float32:
    """All frames from one on that lie before a sample."""
    begin = frame * spec.hop_length
    if end - begin < spec.n_fft:
        return np.empty((spec.n_mels, 0), dtype=np.float32)
    return log_mel(sound.part(begin, end), spec)


class _Tail:
    """The end of a stream: samples are named by their place in the whole of it."""

    def __init__(self) -> None:
        self._kept: Float32 = np.empty(0, dtype=np.float32)
        self._start = 0

    @property
    def end(self) -> int:
        return self._start + self._kept.size

    def append(self, block: Float32) -> None:
        self._kept = np.concatenate([self._kept, block]) if self._kept.size else block

    def part(self, start: int, end: int) -> Float32:
        return self._kept[start - self._start : end - self._start]

    def forget(self, before: int) -> None:
        if before > self._start:
            self._kept = self._kept[before - self._start :].copy()
            self._start = before


class _Frames:
    """Log-mel frames of a stream's windows, ``float32 (n_mels, frames)``."""

    def __init__(self, spec: MelImageSpec, sound: _Tail) -> None:
        self._spec = spec
        self._sound = sound
        self._together = frames_at_once(spec)
        self._start = 0  # sample where the kept frames begin
        self._kept: Float32 = np.empty((spec.n_mels, 0), dtype=np.float32)

    def window(self, start: int) -> Float32:
        spec, stride = self._spec, self._spec.hop_length
        steps, odd = divmod(start - self._start, self._together * stride)
        if odd or steps * self._together > self._kept.shape[1]:  # windows share no frame
            self._kept = np.empty((spec.n_mels, 0), dtype=np.float32)
        else:  # a copy: what is shared and no more is kept
            self._kept = self._kept[:, steps * self._together :].copy()
        self._start = start
        # Frames are kept in whole groups. The last group of a window reaches beyond its end: it is
        # kept where that sound is here already, and made for this window alone where it is not.
        groups = -(-spec.frames // self._together)
        here = 1 + (self._sound.end - start - spec.n_fft) // stride
        self._extend(min(groups, here // self._together) * self._together)
        whole = self._kept
        if whole.shape[1] < spec.frames:
            begin = start + whole.shape[1] * stride
            rest = log_mel(self._sound.part(begin, start + spec.window_samples), spec)
            whole = np.concatenate([whole, rest], axis=1)
        return whole[:, : spec.frames]

    def _extend(self, count: int) -> None:
        missing = count - self._kept.shape[1]
        if missing > 0:
            begin = self._start + self._kept.shape[1] * self._spec.hop_length
            end = begin + (missing - 1) * self._spec.hop_length + self._spec.n_fft
            fresh = log_mel(self._sound.part(begin, end), self._spec)
            self._kept = np.concatenate([self._kept, fresh], axis=1)


class _Levels:
    """Levels of a stream's windows in dB."""

    def __init__(self, spec: MelImageSpec, sound: _Tail) -> None:
        self._spec = spec
        self._sound = sound
        self._step = round(spec.sample_rate * LEVEL_SECONDS)
        self._start = 0
        self._kept: Float32 = np.empty(0, dtype=np.float32)

    def window(self, start: int) -> Float32:
        steps, odd = divmod(start - self._start, self._step)
        # Where a window is not so many whole levels, its last one is of a rest.
        alike = not odd and self._spec.window_samples % self._step == 0
        self._kept = self._kept[steps:] if alike else self._kept[:0]
        self._start = start
        begin = start + self._kept.size * self._step
        fresh = levels(
            self._sound.part(begin, start + self._spec.window_samples), self._spec.sample_rate
        )
        self._kept = np.concatenate([self._kept, fresh])
        return self._kept
