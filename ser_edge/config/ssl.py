"""A recipe for fine-tuning a speech encoder; nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ser_edge.config.base import CHANNELS, BaseRecipe, read_values
from ser_edge.config.fields import Range, option


@dataclass(frozen=True)
class SSLRecipe(BaseRecipe):
    """How a speech encoder (self-supervised: wav2vec 2.0, HuBERT, WavLM) is fine-tuned.

    In a first stage only the head is trained, since the gradients of a random head would spoil what
    the encoder knows; in the second the transformer with it. The convolutions that read the
    waveform are never trained (Wagner et al. 2022, arXiv 2203.07378, and others do not either).
    """

    name: str = option("finetuned", "what the runs will be called")
    channels: str = option(
        "speech", "vocal channels trained on: speech, song or speech+song",
        CHANNELS,
    )  # fmt: skip
    epochs: int = option(20, "passes over the training clips, of both stages together", Range(1))
    lr: float = option(
        1e-3, "highest learning rate of the head while all else is frozen (AdamW)",
        Range(0, 1, above=True),
    )  # fmt: skip
    weight_decay: float = option(0.01, "AdamW's weight decay", Range(0, 1))
    warmup: float = option(
        0.1, "share of each stage's steps in which the learning rate rises", Range(0, 1, below=True)
    )
    dropout: float = option(
        0.2, "share of features dropped before the last layer", Range(0, 1, below=True)
    )
    ema: float = option(
        0.0, "decay a step of the averaged weights kept; 0 is off; doubles the memory of weights",
        Range(0, 1, below=True),
    )  # fmt: skip
    bundle: str = option("WAV2VEC2_XLSR53", "bundle of torchaudio.pipelines by name")
    frozen_epochs: int = option(5, "of these, with the transformer frozen; 0: none, epochs: all")
    top_layers: int = option(
        0, "transformer layers that are trained when unfrozen, from above; 0: all", Range(0)
    )
    accumulate_grad_batches: int = option(
        1, "parts that a batch is computed in: more need less memory"
    )
    gradient_checkpointing: bool = option(
        False, "compute what is inside a layer again on the way back: less memory, a third slower"
    )
    head_lr: float = option(
        1e-4, "highest learning rate of the head afterwards", Range(0, 1, above=True)
    )
    encoder_lr: float = option(
        3e-5, "highest learning rate of the transformer when unfrozen", Range(0, 1, above=True)
    )
    gradient_clip_val: float = option(
        1.0, "longest gradient; longer ones are shortened to it", Range(0, above=True)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = self.accumulate_grad_batches
        self._check("frozen_epochs", 0 <= self.frozen_epochs <= self.epochs, "0 to epochs")
        self._check("accumulate_grad_batches", parts >= 1 and self.batch_size % parts == 0,
                    "1 or more, and a divisor of batch_size")  # fmt: skip

    @property
    def net(self) -> str:
        return self.bundle

    @property
    def start(self) -> str:
        return self.bundle

    @property
    def accumulation(self) -> int:
        return self.accumulate_grad_batches

    @property
    def clip_norm(self) -> float:
        return self.gradient_clip_val


def is_ssl_recipe(path: Path) -> bool:
    """Whether a recipe file is one of these, and none of an image network."""
    try:
        return "bundle" in read_values(path)
    except ValueError:
        return False  # whoever reads it says what is wrong
