"""Tells whoever looks on of every finished epoch of a fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import lightning
from lightning.pytorch.callbacks import Callback

from ser_edge.runs.record import Epoch

Watch: TypeAlias = "Callable[[Epoch], None]"


class Watcher(Callback):
    """Calls ``watch`` with the figures of each epoch; of several processes the first alone."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if not trainer.is_global_zero:
            return
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._watch(
            Epoch(
                trainer.current_epoch,
                train_loss=found.get("train/loss"),
                validation_uar=found.get("validation/uar"),
                validation_nll=found.get("validation/nll"),
                lr=float(trainer.optimizers[0].param_groups[0]["lr"]),
            )
        )
