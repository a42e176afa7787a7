"""What both training modules do: seeds, loss and validation figures by epoch, checkpoints."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, ClassVar, Final

import lightning
import numpy as np
import torch
from torch import nn

from ser_edge.config.base import BaseRecipe
from ser_edge.data.datasets import Clip
from ser_edge.metrics import classification
from ser_edge.runs.inference import clip_predictions
from ser_edge.training.setup import SplitClips

_HISTORY: Final = ("train/loss", "train/teacher_loss", "validation/uar", "validation/nll")


class BaseModule(lightning.LightningModule):
    """A network in training, scored after every epoch; a subclass says what a batch costs.

    Parameters
    ----------
    recipe : BaseRecipe
    net : nn.Module
    validation : sequence of Clip
        Scored after every epoch; the validation loader gives their windows in order.
    class_weights : Tensor
        ``float32 (classes,)``.
    data : str
        Fingerprint of the training clips; a run is resumed only with the same.
    """

    large: ClassVar[bool] = False
    """Checkpoints of gigabytes: only the last is made, and removed at the end; one device."""

    def __init__(
        self,
        recipe: BaseRecipe,
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
        """Wall clock of the training, with that of the attempts that were resumed."""
        return self._seconds_before + time.monotonic() - self._started

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(batch)
        return logits

    def loss(self, batch: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """A batch of the training loader -> mean loss."""
        raise NotImplementedError

    def finish(self, clips: SplitClips) -> dict[str, Any]:
        """What is done to the weights after the last epoch, and its fields of the RunRecord."""
        raise NotImplementedError

    def on_fit_start(self) -> None:
        self._started = time.monotonic()

    def on_train_epoch_start(self) -> None:
        # Every epoch has its own state of the generators: a resumed run draws what an uninterrupted
        # one draws. Processes draw numbers of their own.
        rank = [self.global_rank] if self.global_rank else []
        seed = np.random.SeedSequence([self.recipe.seed, self.current_epoch, *rank])
        torch.manual_seed(int(seed.generate_state(1)[0]))

    def training_step(self, batch: tuple[torch.Tensor, ...], _: int) -> torch.Tensor:
        self._lr = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        loss = self.loss(batch)
        self._log_mean("train/loss", loss, prog_bar=True)
        return loss

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
        figures = {n.replace("/", "_"): round(float(found[n]), 6) for n in _HISTORY if n in found}
        self.history.append({"epoch": self.current_epoch, "lr": self._lr, **figures})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = self.recipe.to_yaml()  # text: loads with weights_only=True
        checkpoint["data"] = self._data
        checkpoint["history"] = self.history
        checkpoint["seconds"] = self.seconds

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]
        self._seconds_before = checkpoint.get("seconds", 0.0)
