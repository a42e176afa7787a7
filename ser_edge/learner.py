"""The LightningModule: a batch -> pictures, targets, loss; the optimiser; the validation figure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Final

import lightning
import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ser_edge import evaluation
from ser_edge.adversary import Adversary, ramp
from ser_edge.augment import ImageAugment, mixup
from ser_edge.copypaste import Pasted, copypaste
from ser_edge.dataset import Clip
from ser_edge.draws import whole
from ser_edge.emotions import EMOTIONS
from ser_edge.melimage import band_edges
from ser_edge.muon import Muon
from ser_edge.nets.compact import CompactNet
from ser_edge.recipe import Recipe
from ser_edge.scoring import clip_predictions
from ser_edge.teaching import Teachers, distance

_HISTORY: Final = (
    "train/loss",
    "train/teacher_loss",
    "train/speaker_loss",
    "train/speaker_accuracy",
    "validation/uar",
    "validation/nll",
)


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


class Learner(lightning.LightningModule):
    """One network in training: input, loss, schedule, validation figure.

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
        super().__init__()
        self.recipe = recipe
        self.net = net
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.history: list[dict[str, float]] = []
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
        self._validation = validation
        self._logits: list[torch.Tensor] = []
        self._data = data
        self._lr = 0.0
        self._seconds_before = 0.0
        self._started = time.monotonic()
        self.register_buffer("_class_weights", class_weights, persistent=False)

    @property
    def seconds(self) -> float:
        """Wall clock of the fit, earlier attempts up to the checkpoints gone on from included."""
        return self._seconds_before + time.monotonic() - self._started

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(images)
        return logits

    def on_fit_start(self) -> None:
        self._started = time.monotonic()

    def on_train_epoch_start(self) -> None:
        # Every epoch has its own state of the generators: a run that goes on after a break draws
        # what an unbroken one draws, and so does each of several processes.
        seed = np.random.SeedSequence([self.recipe.seed, self.current_epoch])
        torch.manual_seed(int(seed.generate_state(1)[0]))
        if self.recipe.last_layer_only:
            self.net.eval()  # the statistics of batch norm stay as they are

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int) -> torch.Tensor:
        self._lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])
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
        self._log_mean("train/loss", loss, prog_bar=True)
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

    def _log_mean(self, name: str, value: torch.Tensor, *, prog_bar: bool = False) -> None:
        self.log(name, value, on_epoch=True, on_step=False, prog_bar=prog_bar, sync_dist=True)

    def validation_step(self, pictures: torch.Tensor, _: int) -> None:
        self._logits.append(self(pictures.float()).float().cpu())

    def on_validation_epoch_end(self) -> None:
        logits = torch.cat(self._logits).numpy()
        self._logits.clear()
        found = evaluation.figures(clip_predictions(logits, self._validation, "validation", ""))
        # Each process scores all of it and finds the same: nothing to gather.
        self.log("validation/uar", found["uar"], prog_bar=True)
        self.log("validation/nll", found["nll"])

    def on_train_epoch_end(self) -> None:
        found = self.trainer.callback_metrics
        self.history.append(
            {
                "epoch": self.current_epoch,
                "lr": self._lr,
                **{
                    name.replace("/", "_"): round(float(found[name]), 6)
                    for name in _HISTORY
                    if name in found
                },
            }
        )

    def configure_optimizers(self) -> Any:
        # Norms and biases are not decayed: that only moves the scale that batch norm undoes.
        trained = [p for p in self.parameters() if p.requires_grad]
        decayed = [p for p in trained if p.ndim > 1]
        others = [p for p in trained if p.ndim <= 1]
        optimizer: torch.optim.Optimizer
        if self.recipe.optimizer == "muon":
            # The last layer's matrix says what each emotion is, not a change of features.
            last = [p for p in decayed if p.ndim == 2]
            optimizer = Muon(
                [
                    {"params": [p for p in decayed if p.ndim > 2], "orthogonal": True},
                    {"params": last},
                    {"params": others, "weight_decay": 0.0},
                ],
                self.recipe.lr,
                self.recipe.weight_decay,
            )
        else:
            optimizer = torch.optim.AdamW(
                [
                    {"params": decayed, "weight_decay": self.recipe.weight_decay},
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
            return _each_step(optimizer, schedule)
        rise = max(1, round(self.recipe.warmup * steps))

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / rise
            return 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return _each_step(optimizer, schedule)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = self.recipe.to_yaml()  # text: loads with weights_only=True
        checkpoint["data"] = self._data
        checkpoint["history"] = self.history
        checkpoint["seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]
        self._seconds_before = checkpoint.get("seconds", 0.0)


def _each_step(optimizer: Any, schedule: Any) -> dict[str, Any]:
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
