"""What every LightningModule here does, whatever its network hears: seeds, scores, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Final

import lightning
import numpy as np
import torch
from torch import nn

from ser_edge.config.base import AnyRecipe
from ser_edge.data.datasets import Clip
from ser_edge.metrics import classification
from ser_edge.runs.inference import clip_predictions

_HISTORY: Final = (
    "train/loss",
    "train/teacher_loss",
    "validation/uar",
    "validation/nll",
)


class BaseModule(lightning.LightningModule):
    """A network in training, scored after every epoch; what a batch teaches is the subclass's.

    Parameters
    ----------
    recipe : AnyRecipe
    net : nn.Module
    validation : sequence of Clip
        Scored after every epoch; the validation loader gives their windows in order.
    class_weights : Tensor
        ``float32 (classes,)``.
    data : str
        Fingerprint of the training clips; a run goes on only with the same.
    """

    def __init__(
        self,
        recipe: AnyRecipe,
        net: nn.Module,
        validation: Sequence[Clip],
        class_weights: torch.Tensor,
        data: str,
    ) -> None:
        super().__init__()
        self.recipe = recipe
        self.net = net
        self.history: list[dict[str, float]] = []
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

    def forward(self, heard: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(heard)
        return logits

    def on_fit_start(self) -> None:
        self._started = time.monotonic()

    def on_train_epoch_start(self) -> None:
        # Every epoch has its own state of the generators: a resumed run draws what an uninterrupted
        # one draws. Processes draw numbers of their own.
        seed = np.random.SeedSequence([self.recipe.seed, self.current_epoch, *self._rank()])
        torch.manual_seed(int(seed.generate_state(1)[0]))

    def _rank(self) -> list[int]:
        return [self.global_rank] if self.global_rank else []

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int) -> torch.Tensor:
        self._lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        loss = self.loss(batch)
        self._log_mean("train/loss", loss, prog_bar=True)
        return loss

    def loss(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """What a batch of the training loader costs."""
        raise NotImplementedError

    def _log_mean(self, name: str, value: torch.Tensor, *, prog_bar: bool = False) -> None:
        self.log(name, value, on_epoch=True, on_step=False, prog_bar=prog_bar, sync_dist=True)

    def validation_step(self, windows: torch.Tensor, _: int) -> None:
        self._logits.append(self(windows.float()).float().cpu())

    def on_validation_epoch_end(self) -> None:
        logits = torch.cat(self._logits).numpy()
        self._logits.clear()
        found = classification.figures(clip_predictions(logits, self._validation, "validation", ""))
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

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = self.recipe.to_yaml()  # text: loads with weights_only=True
        checkpoint["data"] = self._data
        checkpoint["history"] = self.history
        checkpoint["seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]
        self._seconds_before = checkpoint.get("seconds", 0.0)


def each_step(optimizer: Any, schedule: Any) -> dict[str, Any]:
    """An optimiser and a schedule that moves at every step, as Lightning takes them."""
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def decayed(parameters: Sequence[nn.Parameter]) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Parameters whose weights are decayed, and the others.

    Norms and biases are not: that only moves the scale that a norm undoes.
    """
    return [p for p in parameters if p.ndim > 1], [p for p in parameters if p.ndim <= 1]


def rise_and_fall(step: int, rise: int, steps: int) -> float:
    """Share of the learning rate: up in ``rise`` steps, then down a half cosine to 0."""
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise))))
