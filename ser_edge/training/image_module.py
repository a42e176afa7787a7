"""The LightningModule: a batch -> pictures, targets, loss; the optimiser; the validation figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ser_edge.config.recipe import Recipe
from ser_edge.data.copypaste import Pasted, copypaste
from ser_edge.data.datasets import Clip
from ser_edge.data.distributed import whole
from ser_edge.data.image_augment import ImageAugment, mixup
from ser_edge.emotions import EMOTIONS
from ser_edge.mel.image import band_edges
from ser_edge.nets.compact import CompactNet
from ser_edge.training.base_module import ScoredFit, decayed, each_step, rise_and_fall
from ser_edge.training.distill import Teachers, distance
from ser_edge.training.optim import Muon
from ser_edge.training.speaker_adversary import Adversary, ramp


@dataclass(frozen=True)
class Lessons:
    """What training clips teach beside their labels.

    ``teachers`` see the pictures that are trained on, before anything spoilt the voice in them;
    ``soft`` are scores of the clips themselves,
    ``float32 (clips, classes)``, by their numbers; ``speakers`` are ``int64 (clips,)``.
    """

    teachers: Teachers | None = None
    soft: torch.Tensor | None = None
    speakers: torch.Tensor | None = None


@dataclass(frozen=True)
class Targets:
    """What the pictures of a batch teach; all ``float32``, a row a picture.

    Attributes
    ----------
    emotions : Tensor
        ``(N, classes)``.
    taught : Tensor, optional
        Soft scores of the clips, ``(N, classes)``.
    speakers : Tensor, optional
        Who speaks, ``(N, speakers)``.
    """

    emotions: torch.Tensor
    taught: torch.Tensor | None = None
    speakers: torch.Tensor | None = None

    def pasted(self, clips: Pasted) -> Targets:
        """Those of clips that were lengthened by one another."""
        return Targets(
            clips.labels @ whole(self.emotions),
            None if self.taught is None else clips.labels @ whole(self.taught),
            None if self.speakers is None else clips.voices @ whole(self.speakers),
        )

    def joined(self) -> torch.Tensor:
        """All of them beside one another: what is mixed is mixed in all alike."""
        return torch.cat(list(self._held().values()), dim=1)

    def parted(self, joined: torch.Tensor) -> Targets:
        """Undo :meth:`joined`."""
        held = self._held()
        parts = torch.split(joined, [part.shape[1] for part in held.values()], dim=1)
        return replace(self, **dict(zip(held, parts, strict=True)))

    def _held(self) -> dict[str, torch.Tensor]:
        values = {part.name: getattr(self, part.name) for part in fields(self)}
        return {name: value for name, value in values.items() if value is not None}


class Learner(ScoredFit):
    """A network of pictures in training: input, loss, schedule.

    Parameters
    ----------
    recipe : Recipe
    net : nn.Module
    validation : sequence of Clip
        Scored after every epoch.
    class_weights : Tensor
        ``float32 (classes,)``.
    data : str
        Fingerprint of the training clips; a run goes on only with the same.
    sound : SoundPictures, optional
        Makes pictures of waveforms; without it the batches are pictures.
    lessons : Lessons, optional
        What the training clips teach beside their labels.
    adversary : Adversary, optional
        Learns to tell the speakers; needs them in ``lessons``.
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
        lessons: Lessons | None = None,
        adversary: Adversary | None = None,
    ) -> None:
        super().__init__(recipe, net, validation, class_weights, data)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._sound = sound
        self._lessons = lessons or Lessons()
        self._adversary = adversary
        self._steps = 1
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
        with torch.autocast(self.device.type, enabled=False):  # pictures are made in full precision
            images, clear, targets = self._lesson(batch)
        pooled: torch.Tensor | None = None
        if self._adversary is None:
            logits = self(images)
        else:
            pooled = self._compact.pooled(images)
            logits = self._compact.judge(pooled)
        loss = functional.cross_entropy(
            logits,
            targets.emotions,
            weight=self._class_weights,  # type: ignore[arg-type]
            label_smoothing=self.recipe.label_smoothing,
        )
        if self.recipe.distill:
            teachers = self._lessons.teachers
            taught = targets.taught if teachers is None else teachers(clear)
            assert taught is not None  # training has seen to it
            apart = distance(logits, taught, self.recipe.distill_temperature)
            loss = (1 - self.recipe.distill) * loss + self.recipe.distill * apart
            self._log_mean("train/teacher_loss", apart)
        if self._adversary is not None and pooled is not None and targets.speakers is not None:
            loss = loss + self._speaker_loss(self._adversary, pooled, targets.speakers)
        return loss

    def _lesson(
        self, batch: tuple[torch.Tensor, ...]
    ) -> tuple[torch.Tensor, torch.Tensor, Targets]:
        """The pictures that a batch is learnt from, those that teachers hear, and the targets.

        Teachers hear a voice as it was before noise, babble or a telephone spoilt it: what they
        would say of the rest is a guess, and the pupil would learn the guess.
        """
        numbers, labels = batch[-2:]
        targets = self._targets(numbers, labels)
        images = self._sound(*batch[:2]) if self._sound else batch[0].float()
        if self.recipe.copypaste:
            pasted = copypaste(
                images,
                labels,
                self.recipe.copypaste,
                self.recipe.training_frames,
                self.recipe.image.range_db,
            )
            images, targets = pasted.images, targets.pasted(pasted)
        images, joined = mixup(self._augment(images), targets.joined(), self.recipe.mixup)
        # The second channel, where there is one (SoundPictures), is the voice unspoilt.
        return images[:, :1], images[:, -1:], targets.parted(joined)

    def _targets(self, numbers: torch.Tensor, labels: torch.Tensor) -> Targets:
        soft, speakers = self._lessons.soft, self._lessons.speakers
        return Targets(
            functional.one_hot(labels, len(EMOTIONS)).float(),
            None if soft is None else soft.to(self.device)[numbers],
            None
            if speakers is None or self._adversary is None
            else self._adversary.targets(speakers.to(self.device)[numbers]),
        )

    def _speaker_loss(
        self, adversary: Adversary, pooled: torch.Tensor, speakers: torch.Tensor
    ) -> torch.Tensor:
        strength = self.recipe.adversarial * ramp(self.global_step / self._steps)
        told = adversary(pooled, strength)
        loss = functional.cross_entropy(told, speakers)
        right = (told.argmax(dim=1) == speakers.argmax(dim=1)).float().mean()
        self._log_mean("train/speaker_loss", loss)
        self._log_mean("train/speaker_accuracy", right)
        return loss

    @property
    def _compact(self) -> CompactNet:
        assert isinstance(self.net, CompactNet)  # build_adversary has seen to it
        return self.net

    def configure_optimizers(self) -> Any:
        matrices, others = decayed([p for p in self.parameters() if p.requires_grad])
        optimizer: torch.optim.Optimizer
        if self.recipe.optimizer == "muon":
            # The last layer's matrix says what each emotion is, not a change of features.
            last = [p for p in matrices if p.ndim == 2]
            optimizer = Muon(
                [
                    {"params": [p for p in matrices if p.ndim > 2], "orthogonal": True},
                    {"params": last},
                    {"params": others, "weight_decay": 0.0},
                ],
                self.recipe.lr,
                self.recipe.weight_decay,
            )
        else:
            optimizer = torch.optim.AdamW(
                [
                    {"params": matrices, "weight_decay": self.recipe.weight_decay},
                    {"params": others, "weight_decay": 0.0},
                ],
                lr=self.recipe.lr,
            )
        steps = self._steps = int(self.trainer.estimated_stepping_batches)
        schedule: torch.optim.lr_scheduler.LRScheduler
        if self.recipe.schedule == "one-cycle":
            # Smith & Topin 2017, arXiv 1708.07120; momentum falls while the rate rises.
            schedule = torch.optim.lr_scheduler.OneCycleLR(
                optimizer, self.recipe.lr, steps, pct_start=max(self.recipe.warmup, 1 / steps)
            )
            return each_step(optimizer, schedule)
        rise = max(1, round(self.recipe.warmup * steps))

        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: rise_and_fall(step, rise, steps)
        )
        return each_step(optimizer, schedule)
