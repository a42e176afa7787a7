"""A training recipe: one YAML file, every value overridable on the command line."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.base import IMAGE, SOUND, AnyRecipe, RecipeFile
from ser_edge.mel.image import MelImageSpec

R = TypeVar("R", bound=AnyRecipe)


def _value(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class Recipe(RecipeFile):
    """Everything a training run depends on besides its data, fold and seed.

    Every field is a key of the YAML file and an option of ``scripts/train.py``
    (``label_smoothing`` -> ``--label-smoothing``).

    Raises
    ------
    ValueError
        If a value is out of range; the message names it and what is allowed.
    """

    name: str = _value("compact", "what the model will be called")
    net: str = _value(
        "compact", "compact, one with a head (docs/results/heads.md), or a torchvision one by name"
    )
    width: float = _value(1.0, "multiplier of the channels of net compact")
    attention: bool = _value(False, "net compact: time is averaged with learnt weights")
    input_size: int = _value(0, "torchvision: picture resized to so many rows, columns; 0: as is")
    input_channels: int = _value(1, "torchvision: 1, or 3 for a picture in colours")
    pretrained: bool = _value(False, "torchvision: start from ImageNet's weights")
    dropout: float = _value(0.3, "share of features dropped before the last layer")
    channels: str = _value("speech+song", "vocal channels trained on: speech, song or speech+song")
    epochs: int = _value(100, "passes over the training clips")
    batch_size: int = _value(32, "clips a step")
    lr: float = _value(2e-3, "highest learning rate (AdamW)")
    weight_decay: float = _value(0.02, "AdamW's weight decay")
    optimizer: str = _value("adamw", "adamw, or muon: steps of convolutions made orthogonal")
    schedule: str = _value("cosine", "cosine: warm-up, then to 0; one-cycle: momentum moves too")
    warmup: float = _value(0.1, "share of the steps in which the learning rate rises")
    label_smoothing: float = _value(0.1, "share of the target spread over all classes")
    class_weights: str = _value("none", "none, or balanced: rare emotions weigh more")
    logit_adjustment: float = _value(
        0.0,
        "share of an emotion's log frequency in the speech trained on, taken off its logit "
        "at the end (arXiv 2007.07314); 0 is off, 1 makes all equally likely beforehand",
    )
    last_layer_only: bool = _value(False, "train the last layer alone (fine-tuning on few clips)")
    mixup: float = _value(0.0, "Beta(a, a) of mixup (arXiv 1710.09412); 0 is off")
    copypaste: float = _value(
        0.0, "share of the clips lengthened by one of their emotion or a neutral one; 0 is off"
    )
    distill: float = _value(0.0, "share of the loss that is nearness to a teacher; 0 is off")
    distill_temperature: float = _value(2.0, "what softens the scores of teacher and pupil")
    adversarial: float = _value(
        0.0, "net compact: weight of unlearning who speaks (arXiv 1903.09606); 0 is off"
    )
    ema: float = _value(0.99, "decay a step of the averaged weights that are kept; 0 is off")
    gate: int = _value(
        0, "net compact: sounds that are no speech to fit a gate with after the training; 0: none"
    )
    crop: float = _value(0.0, "training pictures are cut to so many seconds of sound; 0: whole")
    time_stretch: float = _value(0.15, "time axis scaled by up to this share, up or down")
    freq_stretch: float = _value(0.08, "band axis scaled by up to this share (vocal tract length)")
    shift: float = _value(1.0, "clip moved within the empty part of its window by up to this share")
    copies: int = _value(
        0, "waveforms are changed (sound-...) so often for all epochs; 0: anew every epoch"
    )
    line: float = _value(0.0, "share of the clips heard through another microphone or line")
    noise: float = _value(0.3, "share of the clips that get stationary noise")
    freq_mask: int = _value(10, "SpecAugment: greatest width of a band mask; two masks")
    time_mask: int = _value(40, "SpecAugment: greatest width of a time mask; two masks")
    seed: int = _value(1, "of every random choice")
    precision: str = _value(
        "auto", "32-true, bf16-mixed, 16-mixed; auto: bf16-mixed where the hardware computes in it"
    )
    sound: SoundStrengths = field(default_factory=SoundStrengths)
    image: MelImageSpec = field(default_factory=MelImageSpec)

    def __post_init__(self) -> None:
        for name, ok, allowed in (
            ("name", self.name.replace("-", "").replace("_", "").isalnum(), "letters, digits, - _"),
            ("width", 0.1 <= self.width <= 8, "0.1 to 8"),
            ("crop", self.crop == 0 or 1 <= self.crop <= self.image.seconds, "0, 1 to seconds"),
            ("input_size", self.input_size == 0 or 32 <= self.input_size <= 1024, "0, 32 to 1024"),
            ("input_channels", self.input_channels in (1, 3), "1 or 3"),
            ("dropout", 0 <= self.dropout < 1, "0 to below 1"),
            (
                "channels",
                self.channels in ("speech", "song", "speech+song"),
                "speech, song, speech+song",
            ),
            ("epochs", self.epochs >= 1, "1 or more"),
            ("optimizer", self.optimizer in ("adamw", "muon"), "adamw, muon"),
            ("schedule", self.schedule in ("cosine", "one-cycle"), "cosine, one-cycle"),
            ("class_weights", self.class_weights in ("none", "balanced"), "none, balanced"),
            ("logit_adjustment", 0 <= self.logit_adjustment <= 2, "0 to 2"),
            (
                "batch_size",
                self.batch_size >= 2 and self.batch_size % 2 == 0,
                "an even number, 2 or more",
            ),
            ("lr", 0 < self.lr <= 1, "above 0 to 1"),
            ("weight_decay", 0 <= self.weight_decay <= 1, "0 to 1"),
            ("warmup", 0 <= self.warmup < 1, "0 to below 1"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "0 to below 1"),
            ("mixup", 0 <= self.mixup <= 10, "0 to 10"),
            ("copypaste", 0 <= self.copypaste <= 1, "0 to 1"),
            ("distill", 0 <= self.distill <= 1, "0 to 1"),
            ("distill_temperature", 0.1 <= self.distill_temperature <= 20, "0.1 to 20"),
            ("adversarial", 0 <= self.adversarial <= 10, "0 to 10"),
            ("gate", 0 <= self.gate <= 100_000, "0 to 100000"),
            ("ema", 0 <= self.ema < 1, "0 to below 1"),
            ("time_stretch", 0 <= self.time_stretch <= 0.5, "0 to 0.5"),
            ("freq_stretch", 0 <= self.freq_stretch <= 0.5, "0 to 0.5"),
            ("shift", 0 <= self.shift <= 1, "0 to 1"),
            ("copies", 0 <= self.copies <= 1000, "0 to 1000"),
            ("line", 0 <= self.line <= 1, "0 to 1"),
            ("noise", 0 <= self.noise <= 1, "0 to 1"),
            ("freq_mask", 0 <= self.freq_mask <= self.image.n_mels, "0 to n_mels"),
            ("time_mask", 0 <= self.time_mask <= self.image.frames, "0 to the image's frames"),
            (
                "precision",
                self.precision in ("auto", "32-true", "bf16-mixed", "16-mixed"),
                "auto, 32-true, bf16-mixed, 16-mixed",
            ),
        ):
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)!r}, allowed: {allowed}")

    @property
    def training_frames(self) -> int:
        """Width of the pictures that are trained on."""
        share = self.crop / self.image.seconds if self.crop else 1.0
        return round(self.image.frames * share)


def add_options(parser: argparse.ArgumentParser, kind: type[RecipeFile] = Recipe) -> None:
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
        if of is bool:
            group.add_argument(
                flag, dest=dest, help=text, action=argparse.BooleanOptionalAction, default=None
            )
        else:
            group.add_argument(flag, dest=dest, help=text, type=of, metavar=of.__name__.upper())


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
