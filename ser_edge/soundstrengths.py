"""How strongly the waveforms of training clips are changed; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


def _value(default: float, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class SoundStrengths:
    """Strengths of the augmentations of a waveform; 0 is off.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it and what is allowed.
    """

    noise: float = _value(0.0, "share of the clips that get noise of a random colour")
    babble: float = _value(0.0, "share of the clips that get the babble of other speakers")
    snr_db: float = _value(5.0, "lowest SNR of noise and babble in dB; the highest is 30 above")
    gain: float = _value(0.0, "level changed by up to so many dB, up or down")
    shift: float = _value(0.0, "clip moved within the empty part of its window by up to this share")
    speed: float = _value(0.0, "tempo and pitch scaled by up to this share, up or down")
    pitch: float = _value(0.0, "pitch moved by up to so many semitones, up or down")
    reverb: float = _value(0.0, "share of the clips that are put in a room")
    echo: float = _value(0.0, "share of the clips that get echoes")

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        return any(
            getattr(self, entry.name) for entry in fields(self) if entry.name != "snr_db"
        )
