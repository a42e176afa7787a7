"""The image module: a batch of clips -> mel images, targets and loss; its optimizers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ser_edge.config.recipe import Recipe
from ser_edge.data.datasets import Clip
from ser_edge.data.image_augment import ImageAugment
from ser_edge.emotions import EMOTIONS
from ser_edge.mel.image import band_edges
from ser_edge.training.base_module import BaseModule, decayed, each_step, rise_and_fall
from ser_edge.training.distill import Teachers, distance
from ser_edge.training.optim import Muon


@dataclass(frozen=True)
class AuxiliaryTargets:
    """What is learnt beside the labels: from teachers, or from soft targets in a file.

    Attributes
    ----------
    teachers : Teachers, optional
        Get the mel images that are trained on, before noise, babble or a telephone was added.
    soft : Tensor, optional
        Softened scores of the training clips by their numbers, ``float32 (clips, classes)``.
    """

    teachers: Teachers | None = None
    soft: torch.Tensor | None = None


class ImageModule(BaseModule):
    """A network of mel images in training: augmentation, loss and schedule.

    Parameters
    ----------
    recipe, net, validation, class_weights, data
        As :class:`ser_edge.training.base_module.BaseModule` takes them.
    sound : SoundPictures, optional
        Waveforms -> augmented mel images; without it the batches are mel images.
    auxiliary : AuxiliaryTargets, optional
        Used where the recipe has ``distill``.
    """

    recipe: Recipe

    def __init__(
        self,
        recipe: Recipe,
        net: nn.Module,
        validation: Sequence[Clip],
        class_weights: torch.Tensor,
        data: str,
        sound: nn.Module | None = None,
        auxiliary: AuxiliaryTargets | None = None,
    ) -> None:
        super().__init__(recipe, net, validation, class_weights, data)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._sound = sound
        self._auxiliary = auxiliary or AuxiliaryTargets()
        self._augment = ImageAugment(
            recipe.training_frames,
            recipe.time_stretch,
            recipe.freq_stretch,
            recipe.shift,
            recipe.line,
            recipe.noise,
            recipe.freq_mask,
            recipe.time_mask,
            tuple(band_edges(recipe.image)[1:-1].tolist()),
            recipe.image.range_db,
        )

    def on_train_epoch_start(self) -> None:
        super().on_train_epoch_start()
        if self.recipe.last_layer_only:
            self.net.eval()  # the statistics of batch norm stay as they are

    def loss(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """``(waveforms, lengths or images, clip numbers, labels)`` -> mean loss."""
        numbers, labels = batch[-2:]
        with torch.autocast(self.device.type, enabled=False):  # images need full precision
            images = self._augment(self._sound(*batch[:2]) if self._sound else batch[0].float())
        # The second channel, where there is one (SoundPictures), is the voice before noise, babble
        # or a telephone: of what those hide a teacher could only guess.
        images, clean = images[:, :1], images[:, -1:]
        logits = self(images)
        loss = functional.cross_entropy(
            logits,
            functional.one_hot(labels, len(EMOTIONS)).float(),
            weight=self._class_weights,  # type: ignore[arg-type]
            label_smoothing=self.recipe.label_smoothing,
        )
        if not self.recipe.distill:
            return loss
        taught = self._taught(clean, numbers)
        apart = distance(logits, taught, self.recipe.distill_temperature)
        self._log_mean("train/teacher_loss", apart)
        return (1 - self.recipe.distill) * loss + self.recipe.distill * apart

    def _taught(self, images: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Softened scores of the clips, ``float32 (N, classes)``."""
        if self._auxiliary.teachers is not None:
            return self._auxiliary.teachers(images)
        assert self._auxiliary.soft is not None  # fit has checked it
        return self._auxiliary.soft.to(self.device)[numbers]

    def configure_optimizers(self) -> Any:
        recipe, optimizer = self.recipe, self._optimizer()
        steps = int(self.trainer.estimated_stepping_batches)
        if recipe.schedule == "one-cycle":
            # Smith & Topin 2017, arXiv 1708.07120; momentum falls while the rate rises.
            return each_step(
                optimizer,
                torch.optim.lr_scheduler.OneCycleLR(
                    optimizer, recipe.lr, steps, pct_start=max(recipe.warmup, 1 / steps)
                ),
            )
        rise = max(1, round(recipe.warmup * steps))
        return each_step(
            optimizer,
            torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: rise_and_fall(step, rise, steps)
            ),
        )

    def _optimizer(self) -> torch.optim.Optimizer:
        recipe = self.recipe
        matrices, others = decayed([p for p in self.parameters() if p.requires_grad])
        undecayed = {"params": others, "weight_decay": 0.0}
        if recipe.optimizer == "adamw":
            decay = {"params": matrices, "weight_decay": recipe.weight_decay}
            return torch.optim.AdamW([decay, undecayed], lr=recipe.lr)
        # The last layer's matrix says what each emotion is, not a change of features.
        kernels = {"params": [p for p in matrices if p.ndim > 2], "orthogonal": True}
        last = {"params": [p for p in matrices if p.ndim == 2]}
        return Muon([kernels, last, undecayed], recipe.lr, recipe.weight_decay)
