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

    noise: float = _value(0.0, "share of the clips that get noise, violet over white to brown")
    babble: float = _value(0.0, "share of the clips that get the babble of 3 to 8 other speakers")
    snr_db: float = _value(5.0, "lowest SNR of noise and babble in dB; the highest is 30 above")
    telephone: float = _value(0.0, "share of the clips that come over a telephone")
    gain: float = _value(0.0, "level changed by up to so many dB, up or down")
    shift: float = _value(
        0.0,
        "clip moved within the empty part of its window, or cut, by up to this share",
    )
    speed: float = _value(0.0, "tempo and pitch scaled by up to this share, up or down")
    pitch: float = _value(
        0.0, "pitch of every other clip moved by up to so many semitones, at its tempo"
    )
    reverb: float = _value(0.0, "share of the clips that are put in a room")
    echo: float = _value(0.0, "share of the clips that get one to three echoes")

    def __post_init__(self) -> None:
        for name, low, high in (
            ("noise", 0, 1),
            ("babble", 0, 1),
            ("snr_db", -20, 60),
            ("telephone", 0, 1),
            ("gain", 0, 40),
            ("shift", 0, 1),
            ("speed", 0, 0.5),
            ("pitch", 0, 12),
            ("reverb", 0, 1),
            ("echo", 0, 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:  # nor is NaN
                raise ValueError(f"sound.{name} is {value!r}, allowed: {low} to {high}")

    @property
    def spoilt(self) -> bool:
        """Whether something else is heard, or not all of the voice, so that less can be told."""
        return any((self.noise, self.babble, self.telephone))

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        return any(getattr(self, entry.name) for entry in fields(self) if entry.name != "snr_db")
