"""A recipe and the hardware -> Lightning's trainer: precision, processes, checkpoints, bars."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import (
    Callback,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
    WeightAveraging,
)
from lightning.pytorch.loggers import Logger

from ser_edge.config.base import BaseRecipe
from ser_edge.config.hardware import Hardware
from ser_edge.training.weights import averaging

CHECKPOINTS: Final = "checkpoints"
LAST: Final = "last"
_BEST: Final = "best"


def last_checkpoint(out: Path) -> Path:
    """Where the newest checkpoint of a run lies; with averaging it holds the averaged weights."""
    return out / CHECKPOINTS / f"{LAST}.ckpt"


def build_trainer(
    recipe: BaseRecipe,
    out: Path,
    hardware: Hardware,
    callbacks: Sequence[Callback],
    loggers: list[Logger],
    *,
    keep_best: bool,
    progress: bool,
) -> lightning.Trainer:
    """Make the trainer of a run.

    ``out`` gets ``checkpoints/``, with the best epoch by validation UAR if ``keep_best``. Under
    ``torchrun`` its processes are taken instead of ``hardware.devices``.

    Raises
    ------
    ValueError
        There is no such accelerator or device.
    """
    processes: dict[str, Any] = {"devices": _devices(hardware)}
    if "TORCHELASTIC_RUN_ID" in os.environ:  # torchrun has started the processes
        local = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // local
        processes = {"devices": local, "num_nodes": nodes, "strategy": "ddp"}
    try:
        return lightning.Trainer(
            accelerator=hardware.accelerator,
            **processes,
            precision=_precision(recipe, hardware),
            max_epochs=recipe.epochs,
            accumulate_grad_batches=recipe.accumulation,
            gradient_clip_val=recipe.clip_norm,
            logger=loggers,
            callbacks=[
                *callbacks,
                *_callbacks(recipe, out, bool(loggers), keep_best=keep_best, progress=progress),
            ],
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_progress_bar=progress,
            enable_model_summary=False,
            use_distributed_sampler=False,  # EpochBatches divides
            sync_batchnorm=hardware.accelerator != "cpu" and torch.cuda.is_available(),
            deterministic="warn",
        )
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise ValueError(
            f"accelerator {hardware.accelerator!r}, devices {hardware.devices!r}: {error}"
        ) from None


def _devices(hardware: Hardware) -> int | str:
    if hardware.devices == "auto":
        return "auto" if hardware.accelerator != "cpu" and torch.cuda.is_available() else 1
    return int(hardware.devices)


def _precision(
    recipe: BaseRecipe, hardware: Hardware
) -> Literal["32-true", "bf16-mixed", "16-mixed"]:
    if recipe.precision != "auto":
        return recipe.precision  # type: ignore[return-value]  # checked by Recipe
    if hardware.accelerator != "cpu" and torch.cuda.is_available():
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = _processor_has_bf16()
    return "bf16-mixed" if native else "32-true"


def _processor_has_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def _callbacks(
    recipe: BaseRecipe, out: Path, logged: bool, *, keep_best: bool, progress: bool
) -> Iterator[Callback]:
    if logged:  # Lightning's monitor wants a logger
        yield LearningRateMonitor("epoch")
    if recipe.ema:
        yield WeightAveraging(multi_avg_fn=averaging(recipe.ema))
    # Without a figure to monitor, a ModelCheckpoint keeps the newest: after all else of an epoch,
    # so that a run is resumed from it as if it had not been interrupted.
    folder = out / CHECKPOINTS
    yield ModelCheckpoint(folder, LAST, enable_version_counter=False, save_on_train_epoch_end=True)
    if keep_best:
        yield ModelCheckpoint(
            folder, _BEST, monitor="validation/uar", mode="max", enable_version_counter=False
        )
    if progress:
        yield TQDMProgressBar(refresh_rate=5)


_HINTS: Final = (
    "does not have many workers",
    "Checkpoint directory.*exists and is not empty",
    "have no `val_dataloader`",
    "in eval mode at the start of training",  # frozen parts
    "does not have a deterministic implementation",
    "isinstance.treespec, LeafSpec",
    "recommended to use .self.log..validation.*sync_dist",
)


def quiet() -> None:
    """Hide Lightning's hints on loaders and tips."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for hint in _HINTS:
        warnings.filterwarnings("ignore", f".*{hint}.*")
