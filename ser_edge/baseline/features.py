"""A sound -> the classic features that speech emotion recognition began with.

MFCC, mel bands, chroma, spectral centroid, zero crossings and RMS of short frames (librosa), and
their statistics over time: one row of numbers a clip. Nothing here is used on the edge.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_edge.audio.librosa_loader import load_librosa
from ser_edge.mel.spec import MelImageSpec

Float32 = npt.NDArray[np.float32]

VERSION: Final = 1
"""Of the features; with another one all of them are computed again."""

STATISTICS: Final[Mapping[str, Callable[..., Any]]] = MappingProxyType(
    {"mean": np.mean, "std": np.std, "min": np.min, "max": np.max}
)
"""What is kept of a feature's course over time."""

_BLOCK_FRAMES: Final = 4096  # at a time: an hour's spectrogram would not fit into memory


@dataclass(frozen=True)
class FeatureSpec:
    """What the features depend on.

    Parameters
    ----------
    sample_rate : int
        In Hz; sounds are brought to it.
    n_fft, hop_length : int
        Samples of a frame and between two. Frames lie wholly inside the sound; a sound that is
        shorter than one is padded with silence at its end.
    n_mfcc, n_mels, n_chroma : int
        How many of each.
    floor_db : float
        Mel bands are in dB re full scale, none is below this.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    sample_rate: int = MelImageSpec.sample_rate
    n_fft: int = MelImageSpec.n_fft
    hop_length: int = 256
    n_mfcc: int = 40
    n_mels: int = 128
    n_chroma: int = 12
    floor_db: float = -100.0

    def __post_init__(self) -> None:
        for name in ("sample_rate", "n_fft", "hop_length", "n_mfcc", "n_mels", "n_chroma"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, allowed: 1 or more")
        if self.n_mfcc > self.n_mels:
            raise ValueError(f"n_mfcc is {self.n_mfcc}, allowed: up to n_mels, {self.n_mels}")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of a row's numbers: ``mfcc_01_mean``, ``mfcc_01_std``, ..., ``rms_max``."""
        courses = [
            *(f"mfcc_{number:02d}" for number in range(1, self.n_mfcc + 1)),
            *(f"mel_{number:03d}" for number in range(1, self.n_mels + 1)),
            *(f"chroma_{number:02d}" for number in range(1, self.n_chroma + 1)),
            "centroid",
            "zero_crossings",
            "rms",
        ]
        return tuple(f"{course}_{statistic}" for course in courses for statistic in STATISTICS)

    def identity(self) -> str:
        """All that numbers depend on besides the sound, librosa's version too, as one line."""
        return json.dumps({**asdict(self), "features": VERSION, "librosa": librosa().__version__})


def librosa() -> Any:
    """The library, or a sentence that says what to install.

    Raises
    ------
    ValueError
    """
    try:
        return load_librosa()
    except ImportError:
        raise ValueError("features need librosa: pip install 'ser-edge[features]'") from None


def features(waveform: Float32, spec: FeatureSpec) -> Float32:
    """The features of a whole sound.

    Parameters
    ----------
    waveform : ndarray
        ``float32 (samples,)`` at ``spec.sample_rate``, full scale 1.
    spec : FeatureSpec

    Returns
    -------
    ndarray
        ``float32``, one number for each of ``spec.names``: MFCC of the mel bands in dB, mel bands
        in dB re full scale, chroma (1 the frame's strongest pitch class, the first is C), centroid
        in Hz, zero crossings a sample, RMS re full scale.
    """
    lacking = max(0, spec.n_fft - waveform.size)
    sound = np.pad(waveform.astype(np.float32), (0, lacking))
    frames = 1 + (sound.size - spec.n_fft) // spec.hop_length
    blocks = []
    for first in range(0, frames, _BLOCK_FRAMES):
        last = min(first + _BLOCK_FRAMES, frames) - 1
        part = sound[first * spec.hop_length : last * spec.hop_length + spec.n_fft]
        blocks.append(courses(part, spec))
    over_time = np.concatenate(blocks, axis=1).astype(np.float64)
    found = [statistic(over_time, axis=1) for statistic in STATISTICS.values()]
    return np.stack(found, axis=1).ravel().astype(np.float32)


def courses(sound: Float32, spec: FeatureSpec) -> Float32:
    """Features of every frame, ``float32 (features, frames)``, of a sound of a frame or more."""
    library = librosa()
    of, rate = library.feature, spec.sample_rate
    framed = {"frame_length": spec.n_fft, "hop_length": spec.hop_length, "center": False}
    magnitude = np.abs(
        library.stft(sound, n_fft=spec.n_fft, hop_length=spec.hop_length, center=False)
    )
    power = magnitude**2
    # A sine at full scale has the magnitude n_fft / 4 in its band (Hann window): that is 0 dB here.
    mel = library.power_to_db(
        of.melspectrogram(S=power, sr=rate, n_mels=spec.n_mels, norm=None),
        ref=(spec.n_fft / 4) ** 2,
        amin=(spec.n_fft / 4) ** 2 * 10 ** (spec.floor_db / 10),
        top_db=None,  # which would depend on the loudest frame
    )
    return np.concatenate(
        [
            of.mfcc(S=mel, sr=rate, n_mfcc=spec.n_mfcc),
            mel,
            # Tuning is what a choir has: estimated from speech it is a number at random.
            of.chroma_stft(S=power, sr=rate, n_chroma=spec.n_chroma, tuning=0.0),
            of.spectral_centroid(S=magnitude, sr=rate),
            of.zero_crossing_rate(sound, **framed),
            of.rms(y=sound, **framed),
        ]
    ).astype(np.float32)
