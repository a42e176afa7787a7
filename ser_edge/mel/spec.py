"""The specification of a mel image, and its reading and writing as JSON.

Everything that a mel image depends on is a field of :class:`MelImageSpec`, which travels with the
weights and inside the IR.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Literal

SPEC_VERSION: Final = 1
"""Raised whenever the same :class:`MelImageSpec` would give another image."""

FILE_HOP_SECONDS: Final = 2.5
"""Hop of the windows of a file longer than one window, in rendering and on the edge."""

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
        Width of the image; a longer clip becomes several windows.
    n_fft, win_length, hop_length : int
        Samples; the Hann window of ``win_length`` sits in the middle of ``n_fft``. ``hop_length``
        must divide half a second, so that a live hop of 0.5 s is a whole number of frames.
    n_mels : int
        Rows of the image, row 0 the lowest band.
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
        into an image of the noise floor.
    range_db : float
        dB between black (0) and white (255).
    align : {"start", "center"}
        Where a clip shorter than the window sits.
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
        """Columns of the image."""
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
            Reject missing fields instead of using their defaults.

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
