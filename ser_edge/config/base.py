"""What recipes of both kinds share: a YAML file of typed values over those of its ``base``.

``base: plain.yaml`` in a recipe file names another one, beside it; a file holds what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.fields import OneOf, Range, check, option, typed
from ser_edge.mel.spec import MelImageSpec

BASE: Final = "base"
IMAGE: Final = "image"
SOUND: Final = "sound"
"""The two fields that are mappings of their own."""

RENAMED: Final[Mapping[str, str]] = {
    "gate": "nonspeech_head",
    "pieces": "accumulate_grad_batches",
    "clip": "gradient_clip_val",
    "checkpointing": "gradient_checkpointing",
}
"""Names of options in earlier releases, which are taken as well."""

REMOVED: Final[Mapping[str, str]] = {
    "mixup": "recipes with it scored worse (docs/results/experiments.md)",
    "copypaste": "no gain was ever measured",
    "adversarial": "no gain was ever measured",
}
"""Options of earlier releases, and why they are gone; 0, which is off, is taken."""

CHANNELS: Final = OneOf(("speech", "song", "speech+song"))
PRECISIONS: Final = OneOf(("auto", "32-true", "bf16-mixed", "16-mixed"))

R = TypeVar("R", bound="BaseRecipe")


@dataclass(frozen=True)
class BaseRecipe:
    """What training a network of either kind depends on besides its data and fold.

    Every field is a key of the YAML file and an option of the command line
    (``label_smoothing`` -> ``--label-smoothing``).

    Raises
    ------
    ValueError
        If a value is out of range; the message names it and what is allowed.
    """

    name: str = option("compact", "what the model will be called")
    channels: str = option(
        "speech+song",
        "vocal channels trained on: speech, song or speech+song",
        CHANNELS,
    )
    epochs: int = option(100, "passes over the training clips", Range(1))
    batch_size: int = option(32, "clips a step")
    lr: float = option(2e-3, "highest learning rate (AdamW)", Range(0, 1, above=True))
    weight_decay: float = option(0.02, "AdamW's weight decay", Range(0, 1))
    warmup: float = option(
        0.1, "share of the steps in which the learning rate rises", Range(0, 1, below=True)
    )
    dropout: float = option(
        0.3, "share of features dropped before the last layer", Range(0, 1, below=True)
    )
    label_smoothing: float = option(
        0.1, "share of the target spread over all classes", Range(0, 1, below=True)
    )
    class_weights: str = option(
        "none", "none, or balanced: rare emotions weigh more", OneOf(("none", "balanced"))
    )
    ema: float = option(
        0.99,
        "decay a step of the averaged weights that are kept; 0 is off",
        Range(0, 1, below=True),
    )
    seed: int = option(1, "of every random choice")
    precision: str = option(
        "auto",
        "32-true, bf16-mixed, 16-mixed; auto: bf16-mixed where the hardware computes in it",
        PRECISIONS,
    )
    sound: SoundStrengths = field(default_factory=SoundStrengths)
    image: MelImageSpec = field(default_factory=MelImageSpec)

    def __post_init__(self) -> None:
        self._check("name", self.name.replace("-", "").replace("_", "").isalnum(),
                    "letters, digits, - _")  # fmt: skip
        self._check("batch_size", self.batch_size >= 2 and self.batch_size % 2 == 0,
                    "an even number, 2 or more")  # fmt: skip
        check(self)

    def _check(self, name: str, good: bool, allowed: str) -> None:
        if not good:
            raise ValueError(f"{name} is {getattr(self, name)!r}, allowed: {allowed}")

    @property
    def net(self) -> str:
        """What reports call the network."""
        raise NotImplementedError

    @property
    def start(self) -> str | None:
        """Pretrained weights that every run starts from."""
        return None

    @property
    def accumulation(self) -> int:
        """Batches of the loader that make one step."""
        return 1

    @property
    def clip_norm(self) -> float | None:
        """Longest gradient; longer ones are shortened to it."""
        return None

    def to_yaml(self) -> str:
        """All values, as :meth:`read` reads them."""
        values = asdict(self)
        mappings = {name: values.pop(name) for name in (SOUND, IMAGE)}
        return yaml.safe_dump(values | mappings, sort_keys=False)

    def flat(self) -> dict[str, str | int | float | bool]:
        """Values by name, those of the mel image as ``image.n_mels``."""
        flat: dict[str, str | int | float | bool] = {}
        for name, value in asdict(self).items():
            nested = value if isinstance(value, dict) else {}
            flat |= {f"{name}.{key}": inner for key, inner in nested.items()} or {name: value}
        return flat

    def differences(self: R, other: R) -> list[str]:
        """Names of the fields in which another recipe differs, the seed apart."""
        return [
            entry.name
            for entry in fields(self)
            if entry.name != "seed" and getattr(self, entry.name) != getattr(other, entry.name)
        ]

    @classmethod
    def from_dict(cls: type[R], values: Mapping[str, Any]) -> R:
        """Build a recipe from plain values, as YAML gives them.

        Raises
        ------
        ValueError
            For unknown, mistyped or impossible values.
        """
        values = current(values)
        known = {entry.name: entry for entry in fields(cls)}
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"unknown {', '.join(unknown)}; known: {', '.join(known)}")
        made: dict[str, Any] = {}
        for name, value in values.items():
            if name == IMAGE:
                if not isinstance(value, Mapping):
                    raise ValueError(f"{IMAGE} should be a mapping of mel image fields")
                made[name] = MelImageSpec.from_dict(dict(value))
            elif name == SOUND:
                made[name] = SoundStrengths.from_dict(value)
            else:
                made[name] = typed(name, value, type(known[name].default))
        return cls(**made)

    @classmethod
    def read(cls: type[R], path: Path) -> R:
        """Read a recipe file; what neither it nor its base holds keeps its default.

        Raises
        ------
        ValueError
            A file is missing or no YAML, or a value is wrong; the message names the file.
        """
        values = read_values(path)
        try:
            return cls.from_dict(values)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None


def read_values(path: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The values of a recipe file over those of its base, under today's names.

    Raises
    ------
    ValueError
        A file is missing, no YAML, or its own base; the message names it.
    """
    if path.resolve() in above:
        raise ValueError(f"{path}: base files in a circle")
    try:
        found = yaml.safe_load(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("it should be a mapping of recipe fields")
        base = found.pop(BASE, None)
        if base is not None and not isinstance(base, str):
            raise ValueError(f"base is {base!r}, it should be a file")
        found = current(found)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    if base is None:
        return found
    values = read_values(path.parent / base, (*above, path.resolve()))
    for name, value in found.items():
        both = isinstance(value, dict) and isinstance(values.get(name), dict)
        values[name] = {**values[name], **value} if both else value
    return values


def current(values: Mapping[str, Any]) -> dict[str, Any]:
    """Recipe values by today's names: see :data:`RENAMED` and :data:`REMOVED`.

    Raises
    ------
    ValueError
        A removed one is not 0.
    """
    for name, why in REMOVED.items():
        if values.get(name):
            raise ValueError(f"{name} is {values[name]!r}, allowed: 0; it was removed: {why}")
    return {RENAMED.get(name, name): v for name, v in values.items() if name not in REMOVED}
