"""The mel image: one waveform -> ``uint8`` picture function for training and edge alike.

Everything the picture depends on is a field of :class:`MelImageSpec`, which travels with the
weights and inside the IR. Only NumPy is used, so the edge needs nothing else.

Frames lie wholly inside the sound (librosa's ``center=False``). No frame sees an edge, so a window
cut out of a stream has the same frames as the same five seconds read from a file.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

SPEC_VERSION: Final = 1
"""Raised whenever the same :class:`MelImageSpec` would give another picture."""

FILE_HOP_SECONDS: Final = 2.5
"""Hop of the windows of a file longer than one window, in rendering and on the edge."""

AMIN: Final = 1e-10
"""Power below this counts as this (-100 dB), as in ``librosa.power_to_db``."""

_DB_OF_LN: Final = np.float32(10.0 / math.log(10.0))
"""Natural logarithm of a power -> dB. NumPy has SIMD for that logarithm, not for the decimal one:
a quarter of the time."""

_NUMPY_1: Final = np.lib.NumpyVersion(np.__version__) < "2.0.0"

_FRAMES_AT_ONCE: Final = 40
"""At most: 40 x 513 complex64 = 164 kB stays in the second-level cache.

See :func:`frames_at_once`."""

_BANDS_AT_ONCE: Final = 20
"""Neighbouring bands share one matrix product over the few bins that they touch.

Half the time of one product over all bins, and too small for a BLAS to divide among threads: on a
busy machine those wait for each other a hundred times longer than the product takes."""

_CHOICES: Final = {
    "mel_scale": ("slaney", "htk", "linear"),
    "mel_norm": ("slaney", "none"),
    "level": ("peak", "fixed"),
    "align": ("start", "center"),
    "pad": ("zeros",),
}


@dataclass(frozen=True)
class MelImageSpec:
    """Everything a mel image depends on.

    Parameters
    ----------
    sample_rate : int
        Samples a second of the waveform.
    seconds : float
        Width of the picture; a longer clip becomes several windows.
    n_fft, win_length, hop_length : int
        Samples; the Hann window of ``win_length`` sits in the middle of ``n_fft``. ``hop_length``
        must divide half a second, so that a live hop of 0.5 s is a whole number of frames.
    n_mels : int
        Rows of the picture, row 0 the lowest band.
    f_min, f_max : float
        Edges of the lowest and the highest mel band in Hz.
    mel_scale : {"slaney", "htk", "linear"}
        Slaney's Auditory Toolbox scale (librosa's default) or O'Shaughnessy's formula (HTK's).
        ``"linear"`` spaces the bands evenly in Hz: a plain spectrogram, for comparison.
    mel_norm : {"slaney", "none"}
        ``"slaney"`` gives every band the same area, ``"none"`` the same height.
    power : float
        1.0 for magnitude, 2.0 for energy.
    level : {"peak", "fixed"}
        ``"peak"``: white is the loudest point of the window, so that distance to the microphone
        and gain do not matter. ``"fixed"``: white is ``floor_db + range_db`` for every sound.
    floor_db : float
        Black never lies below this level (dB re 1.0): silence stays black, it is not stretched
        into a picture of the noise floor.
    range_db : float
        dB between black (0) and white (255).
    align : {"start", "center"}
        Where a clip shorter than the picture sits.
    pad : {"zeros"}
        What fills the rest.

    Raises
    ------
    ValueError
        If a value is out of range; the message names the field, the value and what is allowed.
    """

    sample_rate: int = 16_000
    seconds: float = 5.0
    n_fft: int = 1024
    win_length: int = 800
    hop_length: int = 200
    n_mels: int = 80
    f_min: float = 50.0
    f_max: float = 8000.0
    mel_scale: Literal["slaney", "htk", "linear"] = "htk"
    mel_norm: Literal["slaney", "none"] = "slaney"
    power: float = 2.0
    level: Literal["peak", "fixed"] = "peak"
    floor_db: float = -95.0
    range_db: float = 60.0
    align: Literal["start", "center"] = "start"
    pad: Literal["zeros"] = "zeros"

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, allowed: {', '.join(allowed)}"
                )
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{field.name} is {value!r}, it should be finite")
        for name, ok, allowed_range in (
            ("sample_rate", 8_000 <= self.sample_rate <= 48_000, "8000 to 48000"),
            ("seconds", 0.5 <= self.seconds <= 60, "0.5 to 60"),
            ("n_fft", 64 <= self.n_fft <= self.window_samples, "64 to the window's samples"),
            ("win_length", 2 <= self.win_length <= self.n_fft, "2 to n_fft"),
            (
                "hop_length",
                self.hop_length >= 1 and (self.sample_rate // 2) % self.hop_length == 0,
                f"a divisor of half a second ({self.sample_rate // 2} samples)",
            ),
            ("n_mels", 1 <= self.n_mels <= self.n_fft // 2, "1 to n_fft / 2"),
            ("f_min", 0 <= self.f_min < self.f_max, "0 to f_max"),
            ("f_max", self.f_max <= self.sample_rate / 2, "at most half the sample rate"),
            ("power", self.power in (1.0, 2.0), "1.0 or 2.0"),
            ("range_db", 10 <= self.range_db <= 120, "10 to 120"),
            ("floor_db", -100 <= self.floor_db <= 60, "-100 to 60"),
        ):
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)!r}, allowed: {allowed_range}")

    @property
    def window_samples(self) -> int:
        """Samples of a full window (80,000 for 5 s at 16 kHz)."""
        return round(self.seconds * self.sample_rate)

    @property
    def hop_samples(self) -> int:
        """Samples from one window of a file to the next (40,000), at most a window."""
        return min(round(FILE_HOP_SECONDS * self.sample_rate), self.window_samples)

    @property
    def frames(self) -> int:
        """Columns of the picture."""
        return 1 + (self.window_samples - self.n_fft) // self.hop_length

    @property
    def shape(self) -> tuple[int, int]:
        """``(n_mels, frames)``."""
        return self.n_mels, self.frames

    def to_json(self) -> str:
        """One line of JSON; :meth:`from_json` reads it back."""
        return json.dumps({"version": SPEC_VERSION, **asdict(self)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> MelImageSpec:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            If the text is no such JSON, is of another spec version, or has missing, unknown or
            impossible fields; the message names them.
        """
        try:
            values = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"the mel image specification is not JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError("the mel image specification is not a JSON object")
        version = values.pop("version", None)
        if version != SPEC_VERSION:
            raise ValueError(
                f"the mel image specification is of version {version!r}, this program "
                f"reads version {SPEC_VERSION}"
            )
        return cls.from_dict(values, complete=True)

    @classmethod
    def from_dict(cls, values: dict[str, Any], *, complete: bool = False) -> MelImageSpec:
        """Build a specification from plain values.

        Parameters
        ----------
        values : dict
            Field name -> number or text. Whole numbers are taken for floats.
        complete : bool
            Refuse missing fields instead of using their defaults.

        Raises
        ------
        ValueError
            For unknown, missing (if ``complete``), mistyped or impossible fields.
        """
        known: dict[str, type] = {f.name: type(f.default) for f in fields(cls)}
        unknown = sorted(set(values) - set(known))
        missing = sorted(set(known) - set(values)) if complete else []
        if unknown or missing:
            raise ValueError(
                "the mel image specification "
                + " and ".join(
                    f"{verb} {', '.join(names)}"
                    for verb, names in (("lacks", missing), ("has unknown", unknown))
                    if names
                )
            )
        typed: dict[str, Any] = {}
        for name, value in values.items():
            kind = known[name]
            good = isinstance(value, (int, float) if kind is float else kind)
            if not good or isinstance(value, bool):
                raise ValueError(f"{name} is {value!r}, it should be of type {kind.__name__}")
            try:
                typed[name] = kind(value)
            except OverflowError:
                raise ValueError(f"{name} is far too large") from None
        return cls(**typed)


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
    """:func:`mel_filterbank` in pieces: bins, bands, and the filters where they meet."""
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

    A BLAS may round a row of a product differently in a matrix of another height. With this
    number every frame has the same place in a matrix of the same size, whether its sound is cut
    every half second, every 2.5 s or not at all, so that it is the same to the last bit.
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


def log_mel(waveform: npt.ArrayLike, spec: MelImageSpec) -> Float32:
    """Log-mel frames of a sound of any length, in dB re 1.0.

    Frame ``t`` covers the samples ``t * hop_length`` to ``t * hop_length + n_fft``, so the frames
    of a stream are the same wherever the stream is cut at a multiple of ``hop_length``.

    Parameters
    ----------
    waveform : array_like
        ``(samples,)``, mono, at ``spec.sample_rate``, at least ``n_fft`` samples.
    spec : MelImageSpec

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
    margin = (spec.n_fft - spec.win_length) // 2
    count = 1 + (samples.size - spec.n_fft) // spec.hop_length
    stride = samples.strides[0]
    frames = np.lib.stride_tricks.as_strided(
        samples[margin:],
        shape=(count, spec.win_length),
        strides=(stride * spec.hop_length, stride),
        writeable=False,
    )
    window, groups, together = _hann(spec.win_length), _filter_groups(spec), frames_at_once(spec)
    mel = np.empty((-(-count // together) * together, spec.n_mels), dtype=np.float32)
    # A few frames at a time, in the same memory each time: temporaries of megabytes, or made anew,
    # cost more in page faults and cache than the transform.
    padded = np.zeros((together, spec.n_fft), dtype=np.float32)
    spectrum = np.zeros((together, spec.n_fft // 2 + 1), dtype=np.complex64)
    squares = spectrum.view(np.float32)  # real and imaginary parts lie side by side
    power = np.empty(spectrum.shape, dtype=np.float32)
    # Zeros after the sound, as of a padded clip, stay zeros: two fifths of the work for 3 s of 5.
    sounding = samples.size - int(np.argmax(samples[::-1] != 0)) if samples.any() else 0
    done = 0
    # The window is zero outside win_length, and where it sits inside n_fft only turns the phase.
    while done < count and margin + done * spec.hop_length < sounding:
        part = slice(done, done + together)
        here = min(together, count - done)
        np.multiply(frames[part], window, out=padded[:here, : spec.win_length])
        _transform(padded, spectrum)
        np.multiply(squares, squares, out=squares)
        np.add(squares[:, 0::2], squares[:, 1::2], out=power)
        if spec.power == 1.0:
            np.sqrt(power, out=power)
        for bins, bands, filters in groups:
            np.matmul(power[:, bins], filters, out=mel[part, bands])
        done += together
    sounds = mel[: min(done, count)]
    np.maximum(sounds, np.float32(AMIN), out=sounds)
    np.log(sounds, out=sounds)
    decibels = np.full((spec.n_mels, count), 10.0 * math.log10(AMIN), dtype=np.float32)
    np.multiply(sounds.T, _DB_OF_LN, out=decibels[:, : len(sounds)])
    return decibels


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
