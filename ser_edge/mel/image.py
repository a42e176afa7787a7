"""One window of sound -> its mel image (``uint8``), in NumPy, for training and the edge alike.

Frames lie wholly inside the sound (librosa's ``center=False``). No frame sees an edge, so a window
cut out of a stream has the same frames as the same five seconds read from a file.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_edge.mel.spec import MelImageSpec

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

AMIN: Final = 1e-10
"""Power below this counts as this (-100 dB), as in ``librosa.power_to_db``."""

_DB_OF_LN: Final = np.float32(10.0 / math.log(10.0))
"""Natural logarithm of a power -> dB. NumPy has SIMD for that logarithm, not for the decimal one:
a quarter of the time."""

_SILENT_DB: Final = float(np.log(np.array([AMIN], dtype=np.float32))[0] * _DB_OF_LN)
"""Of a frame without power, as computed."""

_NUMPY_1: Final = np.lib.NumpyVersion(np.__version__) < "2.0.0"

_FRAMES_AT_ONCE: Final = 40
"""At most: 40 x 513 complex64 = 164 kB stays in the second-level cache.

See :func:`frames_at_once`."""

_BANDS_AT_ONCE: Final = 20
"""Neighbouring bands share one matrix product over the few bins that they touch.

Half the time of one product over all bins, and too small for a BLAS to divide among threads: on a
busy machine those wait for each other a hundred times longer than the product takes."""


def hz_to_mel(hz: npt.ArrayLike, scale: str = "htk") -> npt.NDArray[np.float64]:
    """Hz -> mel.

    Sources: ``"htk"`` O'Shaughnessy 1987, as in the HTK book; ``"slaney"`` the Auditory Toolbox
    (Slaney 1998): linear to 1 kHz, then 27 steps for a factor of 6.4. ``"linear"`` is Hz.
    """
    hz = np.asarray(hz, dtype=np.float64)
    if scale == "linear":
        return hz
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    linear = hz * 3.0 / 200.0
    log = 15.0 + np.log(np.maximum(hz, 1e-9) / 1000.0) * 27.0 / np.log(6.4)
    return np.where(hz < 1000.0, linear, log)


def mel_to_hz(mel: npt.ArrayLike, scale: str = "htk") -> npt.NDArray[np.float64]:
    """mel -> Hz, the inverse of :func:`hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    if scale == "linear":
        return mel
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    log = 1000.0 * np.exp((mel - 15.0) * np.log(6.4) / 27.0)
    return np.where(mel < 15.0, mel * 200.0 / 3.0, log)


def band_edges(spec: MelImageSpec) -> npt.NDArray[np.float64]:
    """Frequencies in Hz where mel bands begin, ``float64 (n_mels + 2,)``.

    Band ``b`` rises from edge ``b``, has its centre at edge ``b + 1`` and ends at edge ``b + 2``.
    """
    lowest, highest = hz_to_mel([spec.f_min, spec.f_max], spec.mel_scale)
    return mel_to_hz(np.linspace(lowest, highest, spec.n_mels + 2), spec.mel_scale)


@lru_cache(maxsize=8)
def mel_filterbank(spec: MelImageSpec) -> Float32:
    """Triangular filters from spectrum to mel bands.

    Returns
    -------
    ndarray
        ``float32 (n_fft // 2 + 1, n_mels)``, read-only.
    """
    edges = band_edges(spec)
    bins = np.arange(spec.n_fft // 2 + 1) * (spec.sample_rate / spec.n_fft)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if spec.mel_norm == "slaney":
        filters *= 2.0 / (edges[2:] - edges[:-2])
    result = np.ascontiguousarray(filters, dtype=np.float32)
    result.setflags(write=False)
    return result


@lru_cache(maxsize=8)
def _filter_groups(spec: MelImageSpec) -> tuple[tuple[slice, slice, Float32], ...]:
    """:func:`mel_filterbank` in parts: bins, bands, and the filters where they meet."""
    filters, groups = mel_filterbank(spec), []
    for first in range(0, spec.n_mels, _BANDS_AT_ONCE):
        bands = slice(first, min(first + _BANDS_AT_ONCE, spec.n_mels))
        touched = np.flatnonzero(filters[:, bands].any(axis=1))
        # A band narrower than a bin may touch none: it is zero, as all its filters are.
        bins = slice(int(touched[0]), int(touched[-1]) + 1) if touched.size else slice(0, 1)
        groups.append((bins, bands, np.ascontiguousarray(filters[bins, bands])))
    return tuple(groups)


def frames_at_once(spec: MelImageSpec) -> int:
    """How many frames are transformed together: a divisor of those of half a second.

    A BLAS may round a row of a product differently at another place, or in a matrix of another
    height. So the matrix always has this height, and a frame the same place in it, whether its
    waveform is cut every half second, every 2.5 s or not at all: it is the same to the last bit.
    """
    half_second = spec.sample_rate // 2 // spec.hop_length
    return max(n for n in range(1, _FRAMES_AT_ONCE + 1) if half_second % n == 0)


@lru_cache(maxsize=8)
def _hann(length: int) -> Float32:
    # Periodic, as librosa and torch use for spectra: scipy.signal.get_window("hann", length).
    window = (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(length) / length)).astype(np.float32)
    window.setflags(write=False)
    return window


def _transform(frames: Float32, out: npt.NDArray[Any]) -> None:
    """The Fourier transforms of ``(n, n_fft)``, into ``complex64 (n, n_fft // 2 + 1)``."""
    if _NUMPY_1:  # it knows no float32 transform: some -130 dB lie between the two
        out[...] = np.fft.rfft(frames, axis=1)
    else:
        np.fft.rfft(frames, axis=1, out=out)


def log_mel(waveform: npt.ArrayLike, spec: MelImageSpec, *, first: int = 0) -> Float32:
    """Log-mel frames of a waveform of any length, in dB re 1.0.

    Frame ``t`` covers the samples ``t * hop_length`` to ``t * hop_length + n_fft``, so the frames
    of a stream are the same wherever the stream is cut at a multiple of ``hop_length``.

    Parameters
    ----------
    waveform : array_like
        ``(samples,)``, mono, at ``spec.sample_rate``, at least ``n_fft`` samples.
    spec : MelImageSpec
    first : int
        Number of the first frame in its window: with it, the frames of a part of a window are
        those of the whole window, bit for bit.

    Returns
    -------
    ndarray
        ``float32 (n_mels, 1 + (samples - n_fft) // hop_length)``, -100 dB at the least.

    Raises
    ------
    ValueError
        If the waveform is not one-dimensional or shorter than one frame.
    """
    samples = np.ascontiguousarray(waveform, dtype=np.float32)
    if samples.ndim != 1 or samples.size < spec.n_fft:
        raise ValueError(
            f"a waveform of shape {samples.shape} has no frame: it should be (samples,) with "
            f"at least {spec.n_fft} samples"
        )
    count = 1 + (samples.size - spec.n_fft) // spec.hop_length
    mel = _mel_frames(samples, spec, count, first % frames_at_once(spec))
    np.maximum(mel, np.float32(AMIN), out=mel)
    np.log(mel, out=mel)
    decibels = np.full((spec.n_mels, count), _SILENT_DB, dtype=np.float32)
    np.multiply(mel.T, _DB_OF_LN, out=decibels[:, : len(mel)])
    return decibels


def _mel_frames(samples: Float32, spec: MelImageSpec, count: int, place: int) -> Float32:
    """Power in mel bands, ``(n, n_mels)``, of the frames up to the last that is not all zeros.

    ``place`` is that of the first frame in its group.
    """
    margin = (spec.n_fft - spec.win_length) // 2
    step = samples.itemsize
    frames: Float32 = np.ndarray(  # a view; as_strided would leave garbage in reference cycles
        (count, spec.win_length), np.float32, samples, margin * step, (spec.hop_length * step, step)
    )
    window, groups, together = _hann(spec.win_length), _filter_groups(spec), frames_at_once(spec)
    mel = np.empty((-(-(place + count) // together) * together, spec.n_mels), dtype=np.float32)
    # A few frames at a time, in the same memory each time: temporaries of megabytes, or made anew,
    # cost more in page faults and cache than the transform.
    padded = np.zeros((together, spec.n_fft), dtype=np.float32)
    power = np.zeros((together, spec.n_fft // 2 + 1), dtype=np.float32)
    spectrum = np.zeros(power.shape, dtype=np.complex64)
    squares = spectrum.view(np.float32)  # real and imaginary parts lie side by side
    # Zeros after the sound, as of a padded clip, stay zeros: two fifths of the work for 3 s of 5.
    sounding = samples.size - int(np.argmax(samples[::-1] != 0)) if samples.any() else 0
    done = 0
    # The window is zero outside win_length, and where it sits inside n_fft only turns the phase.
    while done < count and margin + done * spec.hop_length < sounding:
        at = (place + done) % together
        group = slice(place + done - at, place + done - at + together)
        rows = slice(at, min(together, at + count - done))
        end = done + rows.stop - at
        np.multiply(frames[done:end], window, out=padded[rows, : spec.win_length])
        _transform(padded[rows], spectrum[rows])
        np.multiply(squares[rows], squares[rows], out=squares[rows])
        np.add(squares[rows, 0::2], squares[rows, 1::2], out=power[rows])
        if spec.power == 1.0:
            np.sqrt(power[rows], out=power[rows])
        for bins, bands, filters in groups:
            np.matmul(power[:, bins], filters, out=mel[group, bands])
        done = end
    return mel[place : place + done]


def quantize(decibels: Float32, spec: MelImageSpec) -> UInt8:
    """Log-mel frames of one window -> grey levels.

    Parameters
    ----------
    decibels : ndarray
        ``float32 (n_mels, frames)`` from :func:`log_mel`.
    spec : MelImageSpec

    Returns
    -------
    ndarray
        ``uint8 (n_mels, frames)``: 0 at the black level or below it, 255 at ``range_db`` above.
    """
    black = np.float32(spec.floor_db)
    if spec.level == "peak":
        black = np.maximum(black, decibels.max() - np.float32(spec.range_db))
    grey = (decibels - black) * np.float32(255.0 / spec.range_db)
    levels: UInt8 = np.rint(np.clip(grey, 0.0, 255.0)).astype(np.uint8)
    return levels


def pad_window(waveform: npt.ArrayLike, spec: MelImageSpec) -> Float32:
    """Fill a clip up to one window, as the specification says.

    Returns
    -------
    ndarray
        ``float32 (window_samples,)``.

    Raises
    ------
    ValueError
        If the clip is empty, not one-dimensional, or longer than a window.
    """
    samples = np.asarray(waveform, dtype=np.float32)
    if samples.ndim != 1 or not 0 < samples.size <= spec.window_samples:
        raise ValueError(
            f"a waveform of shape {samples.shape} is not one window: it should be (samples,) "
            f"with 1 to {spec.window_samples} samples"
        )
    missing = spec.window_samples - samples.size
    before = missing // 2 if spec.align == "center" else 0
    padded = np.zeros(spec.window_samples, dtype=np.float32)  # np.pad takes three times as long
    padded[before : before + samples.size] = samples
    return padded


def mel_image(waveform: npt.ArrayLike, spec: MelImageSpec) -> UInt8:
    """One window of sound -> its mel image.

    Parameters
    ----------
    waveform : array_like
        ``(samples,)``, mono, finite, at ``spec.sample_rate``; 1 to ``spec.window_samples`` samples.
    spec : MelImageSpec

    Returns
    -------
    ndarray
        ``uint8 (n_mels, frames)``, row 0 the lowest band. A silent window is all black.

    Raises
    ------
    ValueError
        If the waveform is empty, not one-dimensional, or longer than a window.

    Examples
    --------
    >>> spec = MelImageSpec()
    >>> mel_image(np.zeros(16_000), spec).shape == spec.shape
    True
    """
    return quantize(log_mel(pad_window(waveform, spec), spec), spec)
