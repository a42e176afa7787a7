"""What can be seen of a sound: its wave, bands, pitch, parts and repetitions, by librosa.

All images have one column every ``hop_length`` samples, the first in the middle of the first.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_edge.audio.base import Float32
from ser_edge.audio.librosa_loader import load_librosa
from ser_edge.audio.windows import levels
from ser_edge.mel.image import UInt8, log_mel, quantize
from ser_edge.mel.spec import MelImageSpec

PITCH_HZ: Final = (60.0, 800.0)
"""From a man's creaking voice to a woman's cry; singers and children go higher."""

COEFFICIENTS: Final = 20
"""Of the MFCCs; the first, which is the level, is not among them."""

NOTES: Final = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")

_SEMITONE: Final = 0.2  # resolution of the pitch; ten times as fast as pYIN's own 0.1
_LAGS: Final = (1 / 800, 1 / 60)  # seconds: the periods of PITCH_HZ
_QUIET_DB: Final = 40.0  # below the loudest there is no voice to find a pitch in
_CHROMA_FFT: Final = 4096  # semitones of a low voice lie 6 Hz apart
_TINY: Final = 1e-10


class MissingLibraryError(ValueError):
    """librosa is not installed; the message names the extra."""


@dataclass(frozen=True)
class Summary:
    """A voice in numbers: ``seconds``; ``level`` in dB re full scale, RMS of what is loud;
    ``pitch`` median in Hz and ``pitch_low``, ``pitch_high`` its 10th and 90th percentile, NaN
    where there is no voice; ``voiced`` share of the loud frames."""

    seconds: float
    level: float
    pitch: float
    pitch_low: float
    pitch_high: float
    voiced: float

    @property
    def semitones(self) -> float:
        """Between the 10th and the 90th percentile of the pitch."""
        return 12 * math.log2(self.pitch_high / self.pitch_low)


@dataclass(frozen=True)
class Voice:
    """A sound and its pitch over time.

    Attributes
    ----------
    waveform : ndarray
        ``float32 (samples,)``.
    decibels : ndarray
        ``float32 (n_mels, frames)``, log-mel in dB re 1.0.
    pitch : ndarray
        ``float64 (frames,)`` in Hz, NaN where there is no voice.
    rms : ndarray
        ``float64 (frames,)`` in dB re full scale.
    """

    spec: MelImageSpec
    waveform: Float32
    decibels: Float32
    pitch: npt.NDArray[np.float64]
    rms: npt.NDArray[np.float64]

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.spec.sample_rate

    @property
    def summary(self) -> Summary:
        loud = self.rms > self.rms.max() - _QUIET_DB
        voiced = self.pitch[np.isfinite(self.pitch)]
        low, middle, high = np.percentile(voiced, (10, 50, 90)) if voiced.size else (math.nan,) * 3
        power = levels(self.waveform, self.spec.sample_rate).astype(np.float64)
        power = 10 ** (power[power > power.max() - _QUIET_DB] / 10)
        return Summary(
            self.seconds,
            float(10 * np.log10(power.mean())),
            float(middle),
            float(low),
            float(high),
            float(np.isfinite(self.pitch)[loud].mean()) if loud.any() else 0.0,
        )


@dataclass(frozen=True)
class Part:
    """What is left of a sound: ``share`` of its energy, its mel image, itself."""

    share: float
    mel_image: UInt8
    waveform: Float32


@dataclass(frozen=True)
class Repetition:
    """Autocorrelation of one moment.

    Attributes
    ----------
    at : float
        Middle of the stretch, in seconds.
    lags : ndarray
        ``float64 (n,)`` in milliseconds.
    values : ndarray
        ``float64 (n,)``, -1 to 1.
    period : float
        The period of the pitch there in milliseconds, NaN where there is none.
    """

    at: float
    lags: npt.NDArray[np.float64]
    values: npt.NDArray[np.float64]
    period: float


@dataclass(frozen=True)
class Views:
    """All that is shown of one sound.

    Attributes
    ----------
    voice : Voice
    mel : ndarray
        ``uint8 (n_mels, frames)``.
    mfcc : ndarray
        ``float64 (COEFFICIENTS, frames)``: each row less its mean, over its standard deviation.
    chroma : ndarray
        ``float64 (12, frames)``: 0 to 1 in every column, from C up.
    harmonic, percussive : Part
        Lying and standing ridges of the spectrum (Fitzgerald 2010).
    autocorrelation : ndarray
        ``float64 (lags, frames)``, -1 to 1, the shortest lag first; 0 where it is silent.
    lags : ndarray
        ``float64 (lags,)`` in milliseconds.
    moment : Repetition
        Where the voice is clearest.
    """

    voice: Voice
    mel: UInt8
    mfcc: npt.NDArray[np.float64]
    chroma: npt.NDArray[np.float64]
    harmonic: Part
    percussive: Part
    autocorrelation: npt.NDArray[np.float64]
    lags: npt.NDArray[np.float64]
    moment: Repetition


def measure(waveform: Float32, spec: MelImageSpec) -> Voice:
    """The wave, its bands, its level and its pitch.

    Pitch is pYIN's (Mauch and Dixon 2014). Where pYIN finds no voice, or the sound lies 40 dB
    below its loudest, there is none.

    Parameters
    ----------
    waveform : ndarray
        ``float32 (samples,)``, mono, at ``spec.sample_rate``.
    spec : MelImageSpec

    Raises
    ------
    ValueError
        The sound is silent, or librosa is not installed.
    """
    librosa = _librosa()
    if not np.any(waveform):
        raise ValueError("it is silent, there is nothing to see")
    decibels = _centred_mel(waveform, spec)
    frames = decibels.shape[1]
    power = librosa.feature.rms(
        y=waveform, frame_length=spec.n_fft, hop_length=spec.hop_length, center=True
    )[0].astype(np.float64)
    rms = 20 * np.log10(np.maximum(_fitted(power, frames), _TINY))
    pitch, voiced, _ = librosa.pyin(
        waveform,
        fmin=PITCH_HZ[0],
        fmax=PITCH_HZ[1],
        sr=spec.sample_rate,
        frame_length=spec.n_fft,
        hop_length=spec.hop_length,
        resolution=_SEMITONE,
    )
    pitch = _fitted(np.where(voiced, pitch, np.nan), frames)
    return Voice(
        spec, waveform, decibels, np.where(rms > rms.max() - _QUIET_DB, pitch, np.nan), rms
    )


def look(waveform: Float32, spec: MelImageSpec) -> Views:
    """Everything that is shown of a sound; parameters and errors as of :func:`measure`."""
    librosa = _librosa()
    voice = measure(waveform, spec)
    frames = voice.decibels.shape[1]
    mfcc = librosa.feature.mfcc(S=voice.decibels, n_mfcc=COEFFICIENTS + 1)[1:].astype(np.float64)
    spread = mfcc.std(axis=1, keepdims=True)
    mfcc = (mfcc - mfcc.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, 1.0)
    chroma = librosa.feature.chroma_stft(
        y=waveform, sr=spec.sample_rate, n_fft=_CHROMA_FFT, hop_length=spec.hop_length
    )
    spectrum = librosa.stft(waveform, n_fft=spec.n_fft, hop_length=spec.hop_length)
    parts = librosa.decompose.hpss(spectrum)
    energy = sum(float(np.square(np.abs(part)).sum()) for part in parts)
    black = _black(voice.decibels, spec)
    harmonic, percussive = (
        Part(
            float(np.square(np.abs(part)).sum()) / max(energy, _TINY),
            _grey(_centred_mel(sound, spec), black, spec),
            sound,
        )
        for part in parts
        for sound in [
            librosa.istft(part, hop_length=spec.hop_length, length=len(waveform)).astype(np.float32)
        ]
    )
    lags, repeats = _autocorrelation(voice, librosa)
    return Views(
        voice,
        quantize(voice.decibels, spec),
        mfcc,
        _fitted(chroma.astype(np.float64), frames),
        harmonic,
        percussive,
        repeats,
        lags,
        _clearest(voice, lags, repeats),
    )


def _librosa() -> Any:
    try:
        return load_librosa()
    except ImportError as error:
        raise MissingLibraryError(
            f"this needs the extra explore: pip install 'ser-edge[explore]' ({error})"
        ) from None


def _centred_mel(waveform: Float32, spec: MelImageSpec) -> Float32:
    """The mel image's own frames, half a frame of silence on both sides so that they lie in time
    where everything else does."""
    return log_mel(np.pad(waveform, spec.n_fft // 2), spec)


def _black(decibels: Float32, spec: MelImageSpec) -> float:
    return max(spec.floor_db, float(decibels.max()) - spec.range_db)


def _grey(decibels: Float32, black: float, spec: MelImageSpec) -> UInt8:
    grey = (decibels - black) * (255.0 / spec.range_db)
    levels_: UInt8 = np.rint(np.clip(grey, 0.0, 255.0)).astype(np.uint8)
    return levels_


def on_one_scale(voices: list[Voice]) -> list[UInt8]:
    """Mel images of several voices whose white is the loudest point of all."""
    black = max(_black(voice.decibels, voice.spec) for voice in voices)
    return [_grey(voice.decibels, black, voice.spec) for voice in voices]


def _fitted(values: npt.NDArray[np.float64], frames: int) -> npt.NDArray[np.float64]:
    """librosa counts a frame more or less where the last is not whole: the last is repeated."""
    missing = max(0, frames - values.shape[-1])
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, missing)], mode="edge")
    return padded[..., :frames]


def _autocorrelation(
    voice: Voice, librosa: Any
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    spec = voice.spec
    rate = spec.sample_rate
    first, last = (round(lag * rate) for lag in _LAGS)
    padded = np.pad(voice.waveform, spec.n_fft // 2).astype(np.float64)
    frames = librosa.util.frame(padded, frame_length=spec.n_fft, hop_length=spec.hop_length)
    frames = frames - frames.mean(axis=0)
    correlate: Callable[..., npt.NDArray[np.float64]] = librosa.autocorrelate
    product = correlate(frames, max_size=last + 1, axis=0)
    # Later lags have fewer samples in common; both halves' energy makes it fair.
    square = np.cumsum(np.square(frames), axis=0)
    total = square[-1]
    count = spec.n_fft
    head = square[count - 1 - np.arange(last + 1)]
    tail = total - np.concatenate([np.zeros((1, frames.shape[1])), square[:last]])
    norm = np.sqrt(np.maximum(head * tail, 0.0))
    values = np.where(norm > _TINY, product / np.maximum(norm, _TINY), 0.0)[first:]
    quiet = voice.rms < voice.rms.max() - _QUIET_DB
    values = _fitted(values, voice.decibels.shape[1])
    values[:, quiet] = 0.0
    lags: npt.NDArray[np.float64] = np.arange(first, last + 1) * 1000.0 / rate
    return lags, np.clip(values, -1.0, 1.0)


def _clearest(
    voice: Voice, lags: npt.NDArray[np.float64], values: npt.NDArray[np.float64]
) -> Repetition:
    """The loudest moment that has a pitch, or the loudest."""
    voiced = np.isfinite(voice.pitch)
    level = np.where(voiced, voice.rms, -np.inf) if voiced.any() else voice.rms
    at = int(level.argmax())
    return Repetition(
        at * voice.spec.hop_length / voice.spec.sample_rate,
        lags,
        values[:, at],
        1000.0 / float(voice.pitch[at]),
    )
