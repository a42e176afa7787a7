"""A recipe for fine-tuning a network pretrained on speech; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.base import RecipeFile
from ser_edge.mel.spec import MelImageSpec


def _value(default: Any, text: str) -> Any:
    return field(default=default, metadata={"help": text})


@dataclass(frozen=True)
class SpeechRecipe(RecipeFile):
    """Everything a fine-tuning run depends on besides its data, fold and seed.

    It has two stages. In the first only the head learns, since the gradients of a head that knows
    nothing yet would spoil what the network knows; in the second the transformer learns with it.
    The convolutions that read the waveform are never trained (Wagner et al. 2022, arXiv
    2203.07378, and others do not either).

    Every field is a key of the YAML file and an option of ``scripts/finetune_speech.py``.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it and what is allowed.
    """

    name: str = _value("finetuned", "what the runs will be called")
    bundle: str = _value("WAV2VEC2_XLSR53", "bundle of torchaudio.pipelines by name")
    dropout: float = _value(0.2, "share of features dropped before the last layer")
    channels: str = _value("speech", "vocal channels trained on: speech, song or speech+song")
    epochs: int = _value(20, "passes over the training clips, of both stages together")
    frozen_epochs: int = _value(5, "of these, with the transformer frozen; 0: none, epochs: all")
    top_layers: int = _value(0, "transformer layers that learn when unfrozen, from above; 0: all")
    batch_size: int = _value(32, "clips a step")
    pieces: int = _value(1, "parts that a batch is computed in: more need less memory")
    checkpointing: bool = _value(
        False, "compute what is inside a layer again on the way back: less memory, a third slower"
    )
    lr: float = _value(1e-3, "highest learning rate of the head while all else is frozen (AdamW)")
    head_lr: float = _value(1e-4, "highest learning rate of the head afterwards")
    encoder_lr: float = _value(3e-5, "highest learning rate of the transformer when unfrozen")
    weight_decay: float = _value(0.01, "AdamW's weight decay")
    warmup: float = _value(0.1, "share of each stage's steps in which the learning rate rises")
    clip: float = _value(1.0, "longest gradient; longer ones are shortened to it")
    label_smoothing: float = _value(0.1, "share of the target spread over all classes")
    class_weights: str = _value("none", "none, or balanced: rare emotions weigh more")
    ema: float = _value(
        0.0, "decay a step of averaged weights that are kept; 0 is off; doubles the weights' memory"
    )
    seed: int = _value(1, "of every random choice")
    precision: str = _value(
        "auto", "32-true, bf16-mixed, 16-mixed; auto: bf16-mixed where the hardware computes in it"
    )
    sound: SoundStrengths = field(default_factory=SoundStrengths)
    image: MelImageSpec = field(default_factory=MelImageSpec)

    def __post_init__(self) -> None:
        for name, ok, allowed in (
            ("name", self.name.replace("-", "").replace("_", "").isalnum(), "letters, digits, - _"),
            ("dropout", 0 <= self.dropout < 1, "0 to below 1"),
            (
                "channels",
                self.channels in ("speech", "song", "speech+song"),
                "speech, song, speech+song",
            ),
            ("epochs", self.epochs >= 1, "1 or more"),
            ("frozen_epochs", 0 <= self.frozen_epochs <= self.epochs, "0 to epochs"),
            ("top_layers", self.top_layers >= 0, "0 or more"),
            (
                "batch_size",
                self.batch_size >= 2 and self.batch_size % 2 == 0,
                "an even number, 2 or more",
            ),
            (
                "pieces",
                self.pieces >= 1 and self.batch_size % self.pieces == 0,
                "1 or more, and a divisor of batch_size",
            ),
            ("lr", 0 < self.lr <= 1, "above 0 to 1"),
            ("head_lr", 0 < self.head_lr <= 1, "above 0 to 1"),
            ("encoder_lr", 0 < self.encoder_lr <= 1, "above 0 to 1"),
            ("weight_decay", 0 <= self.weight_decay <= 1, "0 to 1"),
            ("warmup", 0 <= self.warmup < 1, "0 to below 1"),
            ("clip", self.clip > 0, "above 0"),
            ("label_smoothing", 0 <= self.label_smoothing < 1, "0 to below 1"),
            ("class_weights", self.class_weights in ("none", "balanced"), "none, balanced"),
            ("ema", 0 <= self.ema < 1, "0 to below 1"),
            (
                "precision",
                self.precision in ("auto", "32-true", "bf16-mixed", "16-mixed"),
                "auto, 32-true, bf16-mixed, 16-mixed",
            ),
        ):
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)!r}, allowed: {allowed}")

    @property
    def net(self) -> str:
        """What reports call the network."""
        return self.bundle


def is_speech_recipe(path: Path) -> bool:
    """Whether a recipe file is one of these, and no recipe of a network of pictures."""
    try:
        values = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError):
        return False  # whoever reads it says what is wrong
    return isinstance(values, dict) and "bundle" in values
