"""What the modules of this package share: the type of a waveform, limits, and AudioError."""

from __future__ import annotations

import os
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]
Source: TypeAlias = "str | os.PathLike[str] | BinaryIO"

MIN_RATE: Final = 8_000
MAX_RATE: Final = 192_000
MAX_CHANNELS: Final = 8
MAX_AMPLITUDE: Final = 2.0**31
"""Full scale is 1.0; files that hold unscaled integers as floats reach 2**31."""

MAX_SECONDS: Final = 24 * 3600
"""Longer sounds are rejected: a megabyte of FLAC can hold days of silence."""

BLOCK_SAMPLES: Final = 2**19
"""Of all channels together, that decoders give at once: 11 s of 48 kHz mono, 2 MB."""

READABLE: Final = (
    "allowed: WAV, FLAC, Ogg Vorbis or Opus, MP3; with the extra media also M4A, WebM and others"
)


class AudioError(ValueError):
    """A sound that cannot be used: ``str(error)`` is ``"<file>: <cause>"``.

    Parameters
    ----------
    file : str
        Path or name of the sound.
    cause : str
        One clause that says what is wrong and, where it helps, what is allowed.
    """

    def __init__(self, file: str, cause: str) -> None:
        super().__init__(f"{file}: {cause}")
        self.file = file
        self.cause = cause

    def __reduce__(self) -> tuple[type[AudioError], tuple[Any, ...]]:
        return type(self), (self.file, self.cause)  # so that it survives a process pool


class SoundTooLongError(AudioError):
    """A sound that is longer than allowed.

    Parameters
    ----------
    file : str
        Path or name of the sound.
    max_seconds : float
        The most that is allowed.
    """

    def __init__(self, file: str, max_seconds: float) -> None:
        most = f"{max_seconds:g} s" if max_seconds < 7200 else f"{max_seconds / 3600:g} hours"
        super().__init__(file, f"it is too long, allowed: up to {most}")
        self.max_seconds = max_seconds

    def __reduce__(self) -> tuple[type[AudioError], tuple[Any, ...]]:
        return type(self), (self.file, self.max_seconds)


def reason(error: Exception) -> str:
    """What an operating system's error says, without number and file name."""
    return getattr(error, "strerror", None) or str(error)


def clause(error: Exception) -> str:
    """What a decoder's error says, as a clause."""
    # libsndfile's message; else the system's or ffmpeg's, without number and name of the file
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    text = str(text).strip().removeprefix("Error : ").rstrip(".")
    return " ".join(text.split()) or type(error).__name__
