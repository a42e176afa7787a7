"""The module of image networks: a batch of clips -> mel images -> loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ser_edge.config.recipe import Recipe
from ser_edge.data.datasets import AllWindows, Clip, TrainingData, training_set
from ser_edge.data.image_augment import ImageAugment
from ser_edge.emotions import EMOTIONS
from ser_edge.mel.image import band_edges
from ser_edge.nets import build_net
from ser_edge.training import weights
from ser_edge.training.base_module import BaseModule
from ser_edge.training.distill import AuxiliaryTargets, distance
from ser_edge.training.nonspeech_head import fit_for
from ser_edge.training.optim import image_optimizer
from ser_edge.training.setup import SplitClips, class_weights


class ImageModule(BaseModule):
    """A network of mel images in training: augmentation, loss and schedule.

    Parameters
    ----------
    recipe, net, validation, class_weights, data
        As :class:`ser_edge.training.base_module.BaseModule` takes them.
    sound : SoundToImage, optional
        Waveforms -> augmented mel images; without it the batches are mel images.
    auxiliary : AuxiliaryTargets, optional
        Used where the recipe has ``distill``.
    average_with : sequence of mapping
        Weights of other networks, for :func:`ser_edge.training.weights.average`.
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
        average_with: Sequence[Mapping[str, torch.Tensor]] = (),
    ) -> None:
        super().__init__(recipe, net, validation, class_weights, data)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._sound = sound
        self._auxiliary = auxiliary or AuxiliaryTargets()
        self._average = average_with
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
        # The second channel, where there is one (SoundToImage), is the voice before noise, babble
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
        trained = [p for p in self.parameters() if p.requires_grad]
        return image_optimizer(self.recipe, trained, int(self.trainer.estimated_stepping_batches))

    def finish(self, clips: SplitClips) -> dict[str, Any]:
        """Average with the other networks, adjust the logits, fit the non-speech head."""
        weights.average(self.net, self._average)
        weights.adjust_logits(self.net, clips.training, self.recipe.logit_adjustment)
        return {"gate": fit_for(self.recipe, self.net, [*clips.training, *clips.nonspeech_head])}


def build_image_module(
    recipe: Recipe,
    clips: SplitClips,
    data: str,
    *,
    auxiliary: AuxiliaryTargets,
    start: Path | None,
    average_with: Sequence[Path],
    sounds: Sequence[Path],
    progress: bool,
) -> tuple[ImageModule, TrainingData]:
    """A recipe and clips -> module and tensors.

    ``start`` and ``average_with`` are runs or model folders of the same network, ``sounds`` folders
    with the recordings, where the recipe changes waveforms.

    Raises
    ------
    ValueError
        Another network than the recipe's lies in a folder, or a recording is missing.
    """
    net = build_net(recipe)
    others = [weights.load_same(net, run) for run in average_with]
    if start is not None:
        weights.load_start(net, start)
    if recipe.last_layer_only:
        weights.freeze_all_but_last(net)
    dataset, sound = training_set(clips.training, sounds, recipe, progress=progress)
    module = ImageModule(
        recipe, net, clips.scored.get("validation", []), class_weights(clips.training, recipe),
        data, sound, auxiliary, others,
    )  # fmt: skip
    return module, TrainingData(dataset, {n: AllWindows(c) for n, c in clips.scored.items()})
