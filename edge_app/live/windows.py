"""A stream's mel images: only the frames of new sound are transformed, each window is quantised.

A frame hangs on its own samples alone (:func:`ser_edge.mel.image.log_mel`), so frames are kept in
dB, and a window half a second later needs 40 new ones, not 395. What hangs on the whole window, its
level and its grey levels, is done anew for each. The images are those that
:func:`ser_edge.mel.image.mel_image` makes of the same five seconds, but for a pixel in some hundred
thousand that is one grey level off: BLAS rounds a sum otherwise in a block of other length.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import soxr

from ser_edge.audio.base import MAX_AMPLITUDE, MAX_RATE, MIN_RATE, AudioError
from ser_edge.mel.image import Float32, UInt8, log_mel, mel_image, quantize
from ser_edge.mel.spec import MelImageSpec

SHORTEST_SECONDS: Final = 1.0
"""A stream that has just begun is a short clip; less than this of it is none."""


@dataclass(frozen=True)
class Hop:
    """What half a second of new sound brings.

    Parameters
    ----------
    start, end : int
        The window, in samples at the specification's rate since the stream began.
    frames : ndarray
        ``float32 (n_mels, new)``: log-mel frames in dB that no earlier hop had.
    image : ndarray or None
        ``uint8 (n_mels, frames)`` of the window; None where it is no second long yet.
    """

    start: int
    end: int
    frames: Float32
    image: UInt8 | None


class LiveMel:
    """Samples of any rate, in blocks of any length -> a window every hop.

    How the sound is cut into blocks changes nothing.

    Parameters
    ----------
    spec : MelImageSpec
    rate : int
        Of the samples, 8,000 to 192,000 Hz.
    hop : float
        Seconds from window to window: whole frames, at most a window.
    name : str
        What messages call the stream.

    Attributes
    ----------
    arrived : int
        Samples that have come since the stream began, at the specification's rate.

    Raises
    ------
    ValueError
        A rate or hop that is not allowed.
    """

    def __init__(
        self, spec: MelImageSpec, rate: int, hop: float = 0.5, name: str = "stream"
    ) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(f"rate is {rate}, allowed: {MIN_RATE} to {MAX_RATE} Hz")
        samples = round(hop * spec.sample_rate)
        exact = abs(samples - hop * spec.sample_rate) < 1e-6 and samples % spec.hop_length == 0
        if not (exact and 0 < samples <= spec.window_samples):
            raise ValueError(
                f"hop is {hop:g} s, allowed: multiples of {spec.hop_length / spec.sample_rate:g} s "
                f"up to {spec.seconds:g} s"
            )
        self.spec, self.rate, self.name = spec, rate, name
        self._hop = samples
        self._shortest = min(round(SHORTEST_SECONDS * spec.sample_rate), spec.window_samples)
        self._frames = np.empty(spec.shape, dtype=np.float32)
        self.reset()

    def reset(self) -> None:
        """Forget all sound: the next sample is the first of a stream."""
        self._converter: Any = None
        if self.rate != self.spec.sample_rate:
            self._converter = soxr.ResampleStream(
                self.rate, self.spec.sample_rate, 1, dtype="float32"
            )
        self.arrived = 0
        self._end = 0  # of the latest window
        self._head: Float32 | None = np.empty(0, dtype=np.float32)  # until it is a whole window
        self._waiting: Float32 = np.empty(0, dtype=np.float32)  # from the first sample of...
        self._next = 0  # ... the next frame to transform

    def feed(self, samples: npt.ArrayLike) -> Iterator[Hop]:
        """Take sound in and give the windows that it completes.

        Parameters
        ----------
        samples : array_like
            ``(n,)``, mono, at ``rate``: floats of full scale 1.0, or integers of their range.

        Yields
        ------
        Hop
            Use the iterator up: the sound has been taken in only then.

        Raises
        ------
        AudioError
            No numbers, not one-dimensional, NaN or infinite.
        """
        yield from self.take(self.checked(samples))

    def take(self, sound: Float32) -> Iterator[Hop]:
        """As :meth:`feed`, of what :meth:`checked` gave."""
        if self._converter is not None and sound.size:
            sound = self._converter.resample_chunk(sound)
        yield from self._hops(sound)

    def finish(self) -> Iterator[Hop]:
        """What is left when the stream ends: hops that the rate conversion held, then the rest.

        The rest is less than a hop. It has no image: its sound is in no window of the grid.
        """
        if self._converter is not None and self.arrived:
            rest = self._converter.resample_chunk(np.empty(0, dtype=np.float32), last=True)
            yield from self._hops(rest)
        if self.arrived > self._end:
            self._end = self.arrived
            start = max(0, self._end - self.spec.window_samples)
            yield Hop(start, self._end, self._new_frames(), None)

    def checked(self, samples: npt.ArrayLike) -> Float32:
        """Samples as ``float32 (n,)`` of full scale 1.0.

        Raises
        ------
        AudioError
            As :meth:`feed`.
        """
        sound = np.asarray(samples)
        if sound.ndim != 1 or sound.dtype.kind not in "fi":
            raise AudioError(
                self.name, f"shape {sound.shape} of {sound.dtype}, allowed: (samples,) of numbers"
            )
        if sound.dtype.kind == "i":
            scale = np.float32(-float(np.iinfo(sound.dtype).min))
            return np.asarray(sound.astype(np.float32) / scale)
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            waveform: Float32 = sound.astype(np.float32)
        if waveform.size and not np.abs(waveform).max() <= MAX_AMPLITUDE:
            raise AudioError(self.name, "it has NaN or infinite samples")
        return waveform

    def _hops(self, sound: Float32) -> Iterator[Hop]:
        self.arrived += sound.size
        self._waiting = np.concatenate([self._waiting, sound])
        if self._head is not None:
            room = self.spec.window_samples - self._head.size
            self._head = np.concatenate([self._head, sound[:room]])
        while self.arrived >= self._end + self._hop:
            self._end += self._hop
            start = max(0, self._end - self.spec.window_samples)
            frames = self._new_frames()
            yield Hop(start, self._end, frames, self._image())

    def _new_frames(self) -> Float32:
        """Transform the frames that end by the window's end."""
        spec = self.spec
        ends = max(0, 1 + (self._end - spec.n_fft) // spec.hop_length)  # frames so far
        new = ends - self._next
        if new <= 0:
            return np.empty((spec.n_mels, 0), dtype=np.float32)
        needed = (new - 1) * spec.hop_length + spec.n_fft
        frames = log_mel(self._waiting[:needed], spec)
        self._waiting = self._waiting[new * spec.hop_length :]
        self._next = ends
        if new >= spec.frames:
            self._frames[:] = frames[:, -spec.frames :]
        else:
            self._frames[:, :-new] = self._frames[:, new:]
            self._frames[:, -new:] = frames
        return frames

    def _image(self) -> UInt8 | None:
        if self._end < self._shortest:
            return None
        if self._head is None or self._end >= self.spec.window_samples:
            self._head = None
            return quantize(self._frames, self.spec)
        # Not yet a window: a short clip, whose last frames see the padding, too.
        return mel_image(self._head[: self._end], self.spec)
