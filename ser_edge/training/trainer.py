"""A recipe and the hardware -> Lightning's trainer: precision, processes, checkpoints, bars."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable
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

from ser_edge.config.base import AnyRecipe
from ser_edge.config.hardware import Hardware
from ser_edge.training.trackers import Recorder

CHECKPOINTS: Final = "checkpoints"
LAST: Final = "last"
_BEST: Final = "best"


def last_checkpoint(out: Path) -> Path:
    """Where the newest checkpoint of a run lies; with averaging it holds the averaged weights."""
    return out / CHECKPOINTS / f"{LAST}.ckpt"


def build_trainer(
    recipe: AnyRecipe,
    out: Path,
    hardware: Hardware,
    recorder: Recorder,
    *,
    validated: bool,
    progress: bool,
    pieces: int = 1,
    clip: float | None = None,
) -> lightning.Trainer:
    """Make the trainer of a run.

    Parameters
    ----------
    recipe : Recipe
        Gives epochs, precision and averaging.
    out : Path
        Gets ``checkpoints/``.
    hardware : Hardware
        Under ``torchrun`` its processes are taken instead of ``hardware.devices``.
    recorder : Recorder
        Follows the run.
    validated : bool
        Whether there is a validation figure, by which the best epoch is kept.
    progress : bool
        Show bars.
    pieces : int
        Batches of the loader that make one step.
    clip : float, optional
        Longest gradient; longer ones are shortened to it.

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
        trainer = lightning.Trainer(
            accelerator=hardware.accelerator,
            **processes,
            precision=_precision(recipe, hardware),
            max_epochs=recipe.epochs,
            accumulate_grad_batches=pieces,
            gradient_clip_val=clip,
            logger=recorder.loggers,
            callbacks=_callbacks(recipe, out, recorder, validated=validated, progress=progress),
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
    return trainer


def averaging(decay: float) -> Callable[[list[torch.Tensor], list[torch.Tensor], Any], None]:
    """Exponential moving average whose decay grows to ``decay`` in the first steps.

    After ``n`` updates it is (1 + n) / (10 + n) at most, as in TensorFlow's
    ``ExponentialMovingAverage``. With a fixed decay of 0.99 a run of a hundred steps would keep a
    third of the random weights that it began with.

    Parameters
    ----------
    decay : float
        0 to 1.

    Returns
    -------
    callable
        As ``torch.optim.swa_utils.AveragedModel`` takes it for ``multi_avg_fn``.
    """

    @torch.no_grad()
    def update(averaged: list[torch.Tensor], current: list[torch.Tensor], updates: Any) -> None:
        n = int(updates)
        weight = 1 - min(decay, (1 + n) / (10 + n))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, weight)
        else:  # batch norm's counters
            for mean, value in zip(averaged, current, strict=True):
                mean.copy_(value)

    return update


def _devices(hardware: Hardware) -> int | str:
    if hardware.devices == "auto":
        return "auto" if hardware.accelerator != "cpu" and torch.cuda.is_available() else 1
    return int(hardware.devices)


def _precision(
    recipe: AnyRecipe, hardware: Hardware
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
    recipe: AnyRecipe, out: Path, recorder: Recorder, *, validated: bool, progress: bool
) -> list[Callback]:
    callbacks: list[Callback] = [recorder]
    if recorder.loggers:  # Lightning's monitor wants one
        callbacks.append(LearningRateMonitor("epoch"))
    if recipe.ema:
        callbacks.append(WeightAveraging(multi_avg_fn=averaging(recipe.ema)))
    # Without a figure to watch, a ModelCheckpoint keeps the newest. After the epoch's last word, so
    # that a run goes on from it as if it had not been broken off.
    folder = out / CHECKPOINTS
    callbacks.append(
        ModelCheckpoint(folder, LAST, enable_version_counter=False, save_on_train_epoch_end=True)
    )
    if validated:
        callbacks.append(
            ModelCheckpoint(
                folder,
                _BEST,
                monitor="validation/uar",
                mode="max",
                enable_version_counter=False,
            )
        )
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=5))
    return callbacks


def quiet() -> None:
    """Lightning's hints on loaders and tips are not for the user of a script."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*Checkpoint directory.*exists and is not empty.*")
    warnings.filterwarnings("ignore", ".*have no `val_dataloader`.*")
    warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")  # frozen parts
    warnings.filterwarnings("ignore", ".*does not have a deterministic implementation.*")
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", ".*recommended to use .self.log..validation.*sync_dist.*")
