"""How strongly the waveforms of training clips are changed; nothing here needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from ser_edge.config.fields import Range, check, option, typed

_SHARE: Final = Range(0, 1)


@dataclass(frozen=True)
class SoundStrengths:
    """Strengths of the augmentations of a waveform; 0 is off.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it and what is allowed.
    """

    noise: float = option(0.0, "share of the clips that get noise, violet to brown", _SHARE)
    babble: float = option(0.0, "share of the clips that get babble of 3 to 8 voices", _SHARE)
    snr_db: float = option(
        5.0, "lowest SNR of noise and babble in dB; the highest is 30 above", Range(-20, 60)
    )
    telephone: float = option(0.0, "share of the clips that come over a telephone", _SHARE)
    gain: float = option(0.0, "level changed by up to so many dB, up or down", Range(0, 40))
    shift: float = option(
        0.0, "clip moved within the empty part of its window, or cut, by up to this share", _SHARE
    )
    speed: float = option(
        0.0, "tempo and pitch scaled by up to this share, up or down", Range(0, 0.5)
    )
    pitch: float = option(
        0.0, "pitch of every other clip moved by up to so many semitones, same tempo", Range(0, 12)
    )
    reverb: float = option(0.0, "share of the clips with the reverberation of a room", _SHARE)
    echo: float = option(0.0, "share of the clips that get one to three echoes", _SHARE)

    def __post_init__(self) -> None:
        check(self, "sound.")

    @classmethod
    def from_dict(cls, values: Any) -> SoundStrengths:
        """Build from plain values, as YAML gives them.

        Raises
        ------
        ValueError
            For unknown, mistyped or impossible values.
        """
        if not isinstance(values, Mapping):
            raise ValueError("sound should be a mapping of strengths")
        known = [entry.name for entry in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"unknown {', '.join(unknown)} in sound; known: {', '.join(known)}")
        return cls(**{name: typed(f"sound.{name}", v, float) for name, v in values.items()})

    @property
    def spoilt(self) -> bool:
        """Whether other sounds are added, or part of the voice is lost."""
        return any((self.noise, self.babble, self.telephone))

    @property
    def any(self) -> bool:
        """Whether anything is changed at all."""
        return any(getattr(self, entry.name) for entry in fields(self) if entry.name != "snr_db")
