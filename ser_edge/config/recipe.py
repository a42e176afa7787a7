"""The recipe of an image network: one YAML file, every value overridable on the command line."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.base import IMAGE, RENAMED, SOUND, BaseRecipe, R
from ser_edge.config.fields import OneOf, Range, option
from ser_edge.mel.spec import MelImageSpec

_SHARE: Final = Range(0, 1)
_STRETCH: Final = Range(0, 0.5)


@dataclass(frozen=True)
class Recipe(BaseRecipe):
    """How an image network is trained."""

    net: str = option(
        "compact", "compact, one with a head (docs/results/heads.md), or a torchvision one by name"
    )
    width: float = option(1.0, "multiplier of the channels of net compact", Range(0.1, 8))
    attention: bool = option(False, "net compact: time is averaged with learnt weights")
    input_size: int = option(0, "torchvision: image resized to so many rows, columns; 0: as is")
    input_channels: int = option(1, "torchvision: 1, or 3 for an image in colours")
    pretrained: bool = option(False, "torchvision: start from ImageNet's weights")
    optimizer: str = option(
        "adamw", "adamw, or muon: steps of convolutions made orthogonal", OneOf(("adamw", "muon"))
    )
    schedule: str = option(
        "cosine",
        "cosine: warm-up, then to 0; one-cycle: momentum moves too",
        OneOf(("cosine", "one-cycle")),
    )
    logit_adjustment: float = option(
        0.0,
        "share of an emotion's log frequency in the speech trained on, taken off its logit "
        "at the end (arXiv 2007.07314); 0 is off, 1 makes all equally likely beforehand",
        Range(0, 2),
    )
    last_layer_only: bool = option(False, "train the last layer alone (fine-tuning on few clips)")
    distill: float = option(
        0.0, "share of the loss that is nearness to a teacher; 0 is off", _SHARE
    )
    distill_temperature: float = option(
        2.0, "what softens the scores of teacher and student", Range(0.1, 20)
    )
    nonspeech_head: int = option(
        0,
        "net compact: sounds that are no speech to fit a non-speech head with after the training; "
        "0: none",
        Range(0, 100_000),
    )
    crop: float = option(0.0, "training images are cut to so many seconds of sound; 0: whole")
    time_stretch: float = option(0.15, "time axis scaled by up to this share, up or down", _STRETCH)
    freq_stretch: float = option(
        0.08, "band axis scaled by up to this share (vocal tract length)", _STRETCH
    )
    shift: float = option(
        1.0, "clip moved within the empty part of its window by up to this share", _SHARE
    )
    copies: int = option(
        0,
        "waveforms are changed (sound-...) so often for all epochs; 0: anew every epoch",
        Range(0, 1000),
    )
    line: float = option(0.0, "share of the clips with another microphone or line", _SHARE)
    noise: float = option(0.3, "share of the clips that get stationary noise", _SHARE)
    freq_mask: int = option(10, "SpecAugment: greatest width of a band mask; two masks")
    time_mask: int = option(40, "SpecAugment: greatest width of a time mask; two masks")

    def __post_init__(self) -> None:
        super().__post_init__()
        image, size = self.image, self.input_size
        self._check("crop", self.crop == 0 or 1 <= self.crop <= image.seconds, "0, 1 to seconds")
        self._check("input_size", size == 0 or 32 <= size <= 1024, "0, 32 to 1024")
        self._check("input_channels", self.input_channels in (1, 3), "1 or 3")
        self._check("freq_mask", 0 <= self.freq_mask <= image.n_mels, "0 to n_mels")
        self._check("time_mask", 0 <= self.time_mask <= image.frames, "0 to the image's frames")

    @property
    def training_frames(self) -> int:
        """Width of the images that are trained on."""
        share = self.crop / self.image.seconds if self.crop else 1.0
        return round(self.image.frames * share)


def add_options(parser: argparse.ArgumentParser, kind: type[BaseRecipe] = Recipe) -> None:
    """Add ``--config`` and an option for every value of a recipe but the image's."""
    parser.add_argument(
        "--config", type=Path, metavar="YAML", help="recipe (default: the recipe's own defaults)"
    )
    _add_fields(parser.add_argument_group("recipe, each overrides the file's value"), kind)
    group = parser.add_argument_group("augmentation of waveforms, each overrides the file's value")
    _add_fields(group, SoundStrengths, "sound-")


def add_image_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for every field of the mel image."""
    group = parser.add_argument_group("mel image, each overrides the file's value")
    _add_fields(group, MelImageSpec)


def _add_fields(group: Any, kind: type, prefix: str = "") -> None:
    for entry in fields(kind):
        if entry.name in (IMAGE, SOUND):
            continue
        flag = f"--{prefix}{entry.name}".replace("_", "-")
        text = f"{entry.metadata.get('help', '')} (default: {entry.default})".strip()
        dest = f"{kind.__name__}.{entry.name}"
        of = type(entry.default)
        takes: dict[str, Any] = {"type": of, "metavar": of.__name__.upper()}
        if of is bool:
            takes = {"action": argparse.BooleanOptionalAction, "default": None}
        group.add_argument(flag, dest=dest, help=text, **takes)
        for old in (old for old, name in RENAMED.items() if name == entry.name):
            group.add_argument(f"--{old}", dest=dest, help=argparse.SUPPRESS, **takes)


def from_options(options: argparse.Namespace, base: Recipe | None = None) -> Recipe:
    """The recipe of a parsed command line: the file's values, overridden by the options.

    Parameters
    ----------
    options : Namespace
        Of a parser with :func:`add_options` or :func:`add_image_options`.
    base : Recipe, optional
        What holds where no ``--config`` is given, in place of the defaults.

    Raises
    ------
    ValueError
        As :meth:`Recipe.read`.
    """
    return overridden(Recipe.read(options.config) if options.config else base or Recipe(), options)


def overridden(recipe: R, options: argparse.Namespace) -> R:
    """A recipe of any kind with the values that were given on the command line.

    Raises
    ------
    ValueError
        A value is out of range.
    """
    given = {name: value for name, value in vars(options).items() if value is not None}

    def of(kind: type) -> dict[str, Any]:
        prefix = f"{kind.__name__}."
        return {n.removeprefix(prefix): v for n, v in given.items() if n.startswith(prefix)}

    return replace(
        recipe,
        image=replace(recipe.image, **of(MelImageSpec)),
        sound=replace(recipe.sound, **of(SoundStrengths)),
        **of(type(recipe)),
    )
