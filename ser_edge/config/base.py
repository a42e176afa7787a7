"""What recipes of every kind share: a YAML file of typed values, and their comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, TypeVar

import yaml

from ser_edge.config.augmentation import SoundStrengths
from ser_edge.mel.image import MelImageSpec

IMAGE: Final = "image"
SOUND: Final = "sound"
"""The two fields that are recipes of their own."""

REMOVED: Final[Mapping[str, str]] = {
    "mixup": "recipes with it scored worse (docs/experiments.md)",
    "copypaste": "no gain was ever measured",
    "adversarial": "no gain was ever measured",
}
"""Options of earlier releases, and why they are gone; their recipes are read all the same."""

R = TypeVar("R", bound="RecipeFile")


class AnyRecipe(Protocol):
    """What a fit, a run and an evaluation need to know of a recipe."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str: ...
    @property
    def net(self) -> str: ...
    @property
    def channels(self) -> str: ...
    @property
    def epochs(self) -> int: ...
    @property
    def class_weights(self) -> str: ...
    @property
    def ema(self) -> float: ...
    @property
    def seed(self) -> int: ...
    @property
    def precision(self) -> str: ...
    @property
    def image(self) -> MelImageSpec: ...
    @property
    def sound(self) -> SoundStrengths: ...
    def to_yaml(self) -> str: ...
    def flat(self) -> dict[str, str | int | float | bool]: ...
    def differences(self, other: Any) -> list[str]: ...
    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AnyRecipe: ...
    @classmethod
    def read(cls, path: Path) -> AnyRecipe: ...


@dataclass(frozen=True)
class RecipeFile:
    """What every recipe can: its fields are keys of a YAML file, and two can be compared."""

    def to_yaml(self) -> str:
        """The recipe as :meth:`read` reads it."""
        return yaml.safe_dump(asdict(self), sort_keys=False)

    def flat(self) -> dict[str, str | int | float | bool]:
        """Values by name, those of the mel image as ``image.n_mels``."""
        flat: dict[str, str | int | float | bool] = {}
        for name, value in asdict(self).items():
            nested = value if isinstance(value, dict) else {}
            flat |= {f"{name}.{key}": inner for key, inner in nested.items()} or {name: value}
        return flat

    @classmethod
    def from_dict(cls: type[R], values: Mapping[str, Any]) -> R:
        """Build a recipe from plain values, as YAML gives them.

        Raises
        ------
        ValueError
            For unknown, mistyped or impossible values.
        """
        values = without_removed(values)
        known = {entry.name: entry for entry in fields(cls)}
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"unknown {', '.join(unknown)}; known: {', '.join(known)}")
        typed: dict[str, Any] = {}
        for name, value in values.items():
            if name == IMAGE:
                if not isinstance(value, Mapping):
                    raise ValueError(f"{IMAGE} should be a mapping of mel image fields")
                typed[name] = MelImageSpec.from_dict(dict(value))
            elif name == SOUND:
                if not isinstance(value, Mapping):
                    raise ValueError(f"{SOUND} should be a mapping of strengths")
                strengths = {entry.name: float for entry in fields(SoundStrengths)}
                unknown = sorted(set(value) - set(strengths))
                if unknown:
                    raise ValueError(
                        f"unknown {', '.join(unknown)} in {SOUND}; known: {', '.join(strengths)}"
                    )
                typed[name] = SoundStrengths(
                    **{key: _typed(f"{SOUND}.{key}", text, float) for key, text in value.items()}
                )
            else:
                typed[name] = _typed(name, value, type(known[name].default))
        return cls(**typed)

    def differences(self: R, other: R) -> list[str]:
        """Names of the fields in which another recipe differs, the seed apart."""
        return [
            entry.name
            for entry in fields(self)
            if entry.name != "seed" and getattr(self, entry.name) != getattr(other, entry.name)
        ]

    @classmethod
    def read(cls: type[R], path: Path) -> R:
        """Read a recipe file; keys that are not there keep their defaults.

        Raises
        ------
        ValueError
            The file is missing, is not YAML, or :meth:`from_dict` refuses it; the message names it.
        """
        try:
            values = yaml.safe_load(path.read_text())
            if not isinstance(values, dict):
                raise ValueError("it should be a mapping of recipe fields")
            return cls.from_dict(values)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        except (yaml.YAMLError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None


def without_removed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Recipe values without :data:`REMOVED` ones, which may stand there as 0.

    Raises
    ------
    ValueError
        One of them is not 0.
    """
    for name, why in REMOVED.items():
        if values.get(name):
            raise ValueError(f"{name} is {values[name]!r}, allowed: 0; it was removed: {why}")
    return {name: value for name, value in values.items() if name not in REMOVED}


def _typed(name: str, value: Any, kind: type) -> Any:
    good = isinstance(value, (int, float) if kind is float else kind)
    if not good or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} is {value!r}, it should be of type {kind.__name__}")
    return kind(value)
