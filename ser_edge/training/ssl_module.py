"""The LightningModule of fine-tuning: waveforms -> loss; two stages with their learning rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional
from torch.utils.data import Sampler

from ser_edge.config.ssl import SpeechRecipe
from ser_edge.data.audio_augment import SoundAugment
from ser_edge.data.datasets import Clip, EpochBatches, Key
from ser_edge.nets.ssl import SpeechNet
from ser_edge.training.base_module import BaseModule, decayed, each_step, rise_and_fall


class SSLModule(BaseModule):
    """A network pretrained on speech in training: first its head alone, then more of it.

    Parameters
    ----------
    recipe, net, validation, class_weights, data
        As :class:`ser_edge.training.base_module.BaseModule` takes them.
    sound : SoundAugment
        Makes windows of waveforms, and changes them where the recipe says so.
    """

    recipe: SpeechRecipe
    net: SpeechNet

    def __init__(
        self,
        recipe: SpeechRecipe,
        net: SpeechNet,
        validation: Sequence[Clip],
        class_weights: torch.Tensor,
        data: str,
        sound: SoundAugment,
    ) -> None:
        super().__init__(recipe, net, validation, class_weights, data)
        self._sound = sound

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        # From the epoch alone, so that a run that goes on is in the right stage.
        if self.current_epoch < self.recipe.frozen_epochs:
            self.net.freeze()
        else:
            self.net.unfreeze(self.recipe.top_layers)

    def loss(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        waveforms, lengths, _, labels = batch
        with torch.autocast(self.device.type, enabled=False):
            windows = self._sound(waveforms, lengths)
        return functional.cross_entropy(
            self(windows),
            labels,
            weight=self._class_weights,  # type: ignore[arg-type]
            label_smoothing=self.recipe.label_smoothing,
        )

    def configure_optimizers(self) -> Any:
        recipe = self.recipe
        steps = int(self.trainer.estimated_stepping_batches)
        frozen = steps * recipe.frozen_epochs // recipe.epochs

        def share(step: int, frozen_lr: float, unfrozen_lr: float) -> float:
            """Of ``recipe.lr``; each stage rises and falls by itself."""
            lr, first, last = (
                (frozen_lr, 0, frozen) if step < frozen else (unfrozen_lr, frozen, steps)
            )
            rise = max(1, round(recipe.warmup * (last - first)))
            return lr / recipe.lr * rise_and_fall(step - first, rise, last - first)

        def of_head(step: int) -> float:
            return share(step, recipe.lr, recipe.head_lr)

        def of_encoder(step: int) -> float:
            return share(step, 0.0, recipe.encoder_lr)

        groups: list[dict[str, Any]] = []
        rates: list[Callable[[int], float]] = []
        # What is frozen has no gradient, and no state of the optimiser until it has one.
        for parameters, rate in (
            (self.net.head(), of_head),
            (self.net.top(recipe.top_layers), of_encoder),
        ):
            for part, decay in zip(decayed(parameters), (recipe.weight_decay, 0.0), strict=True):
                groups.append({"params": part, "weight_decay": decay})
                rates.append(rate)
        optimizer = torch.optim.AdamW(groups, lr=recipe.lr)
        return each_step(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, rates))


class Pieces(Sampler[list[Key]]):
    """Batches that are computed in parts: so many of these make a step, and every step is whole.

    Parameters
    ----------
    batches : EpochBatches
    pieces : int
        A divisor of their size.
    """

    def __init__(self, batches: EpochBatches, pieces: int) -> None:
        self._batches, self._pieces = batches, pieces

    def set_epoch(self, epoch: int) -> None:
        """Lightning tells the epoch."""
        self._batches.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self._batches) * self._pieces

    def __iter__(self) -> Iterator[list[Key]]:
        for batch in self._batches:
            size = len(batch) // self._pieces
            for first in range(0, len(batch), size):
                yield batch[first : first + size]
