"""The fit: clips and a recipe -> weights and logits."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import lightning
import numpy as np
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import (
    Callback,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
    TQDMProgressBar,
)
from lightning.pytorch.loggers import TensorBoardLogger
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from ser_edge import evaluation
from ser_edge.augment import ImageAugment, mixup
from ser_edge.dataset import AllWindows, Clip, TrainingClips, load_clips
from ser_edge.emotions import EMOTIONS
from ser_edge.evaluation import ClipPrediction
from ser_edge.files import write_whole
from ser_edge.folds import split_speakers
from ser_edge.nets import build_net
from ser_edge.provenance import provenance
from ser_edge.recipe import Recipe
from ser_edge.rendering import read_rows

_EVAL_BATCH: Final = 64

WEIGHTS: Final = "weights.safetensors"
CONFIG: Final = "config.yaml"
METRICS: Final = "metrics.json"
PREDICTIONS: Final = "predictions.csv"


class Training(lightning.LightningModule):
    """One network in training: loss, augmentation, schedule, validation figure."""

    def __init__(self, recipe: Recipe, validation: Sequence[Clip]) -> None:
        super().__init__()
        self.recipe = recipe
        self.net = _fresh_net(recipe)
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._augment = ImageAugment(
            recipe.time_stretch,
            recipe.freq_stretch,
            recipe.shift,
            recipe.noise,
            recipe.freq_mask,
            recipe.time_mask,
            recipe.image.range_db,
        )
        self._validation = validation
        self._logits: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.net(images)
        return logits

    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], _: int) -> torch.Tensor:
        pictures, labels = batch
        targets = functional.one_hot(labels, len(EMOTIONS)).float()
        images, targets = mixup(self._augment(pictures.float()), targets, self.recipe.mixup)
        loss = functional.cross_entropy(
            self(images), targets, label_smoothing=self.recipe.label_smoothing
        )
        self.log("train/loss", loss, on_epoch=True, on_step=False, prog_bar=True)
        return loss

    def validation_step(self, pictures: torch.Tensor, _: int) -> None:
        self._logits.append(self(pictures.float()).float().cpu())

    def on_validation_epoch_end(self) -> None:
        logits = torch.cat(self._logits).numpy()
        self._logits.clear()
        found = evaluation.figures(clip_predictions(logits, self._validation, "validation", ""))
        self.log("validation/uar", found["uar"], prog_bar=True)
        self.log("validation/nll", found["nll"])

    def configure_optimizers(self) -> Any:
        # Norms and biases are not decayed: that only moves the scale that batch norm undoes.
        decayed = [p for p in self.net.parameters() if p.ndim > 1]
        others = [p for p in self.net.parameters() if p.ndim <= 1]
        optimizer = torch.optim.AdamW(
            [
                {"params": decayed, "weight_decay": self.recipe.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.recipe.lr,
        )
        steps = int(self.trainer.estimated_stepping_batches)
        rise = max(1, round(self.recipe.warmup * steps))

        def factor(step: int) -> float:
            if step < rise:
                return (step + 1) / rise
            return 0.5 * (1 + float(np.cos(np.pi * (step - rise) / max(1, steps - rise))))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["recipe"] = self.recipe.to_yaml()  # text: loads with weights_only=True


@dataclass(frozen=True)
class Result:
    """What a run leaves in its folder: figures by part (``validation``, ``test``)."""

    folder: Path
    figures: dict[str, dict[str, Any]]


def train(
    images: Path,
    out: Path,
    recipe: Recipe,
    fold: int | None,
    *,
    accelerator: str = "auto",
    workers: int = 0,
    progress: bool = True,
) -> Result:
    """Train on a rendering, score, and write everything into ``out``.

    The weights kept are those of the last epoch (averaged, if the recipe says so); the best epoch
    on the validation actors is kept as a checkpoint beside them.

    Parameters
    ----------
    images : Path
        What ``scripts/render.py`` wrote; its specification must be the recipe's.
    out : Path
        Folder of the run; must not hold a finished run.
    recipe : Recipe
    fold : int or None
        1 to 5; None trains on all actors but fold 6's, without validation or test.
    accelerator : str
        Lightning's: ``auto``, ``cpu``, ``gpu``.
    workers : int
        Processes that load pictures; they lie in memory, so 0 is fine on a CPU.
    progress : bool
        Show bars.

    Returns
    -------
    Result

    Raises
    ------
    ValueError
        Rendering and recipe do not fit, no clip to train on, no such accelerator, or ``out`` is
        taken.
    """
    if (out / METRICS).exists():
        raise ValueError(f"{out}: a finished run lies there; choose another folder or remove it")
    spec, rows = recipe.image, read_rows(images, recipe.image)
    split = split_speakers({row.speaker for row in rows}, fold)
    wanted = set(recipe.channels.split("+"))
    training = load_clips(
        images, [r for r in rows if r.speaker in split.train and r.channel in wanted], spec
    )
    # The protocol scores speech; song is heard in training only.
    scored = {
        part: load_clips(
            images, [r for r in rows if r.speaker in speakers and r.channel == "speech"], spec
        )
        for part, speakers in (("validation", split.validation), ("test", split.test))
        if speakers
    }
    if not training:
        raise ValueError(f"{images}: no clip of {recipe.channels} to train on")

    origin = provenance()  # of the start: the tree may be edited while a long run goes on
    _quiet()
    lightning.seed_everything(recipe.seed, workers=True, verbose=False)
    module = Training(recipe, scored.get("validation", ()))
    out.mkdir(parents=True, exist_ok=True)
    write_whole(out / CONFIG, recipe.to_yaml())
    try:
        trainer = lightning.Trainer(
            accelerator=accelerator,
            precision=recipe.precision,  # type: ignore[arg-type]  # checked by Recipe
            max_epochs=recipe.epochs,
            logger=TensorBoardLogger(str(out), name="", version="tensorboard"),
            callbacks=_callbacks(recipe, out, validated="validation" in scored, progress=progress),
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_progress_bar=progress,
            enable_model_summary=False,
            deterministic="warn",
        )
    except MisconfigurationException as error:
        raise ValueError(f"accelerator {accelerator!r}: {error}") from None
    trainer.fit(
        module,
        DataLoader(
            TrainingClips(training),
            recipe.batch_size,
            shuffle=True,
            drop_last=len(training) > recipe.batch_size,
            num_workers=workers,
        ),
        DataLoader(AllWindows(scored["validation"]), _EVAL_BATCH)
        if "validation" in scored
        else None,
    )
    write_whole(out / WEIGHTS, save_safetensors(_contiguous(module.net)))
    name = str(fold) if fold is not None else "all"
    predictions = [
        prediction
        for part, clips in scored.items()
        for prediction in clip_predictions(window_logits(module.net, clips), clips, part, name)
    ]
    found = {
        part: evaluation.figures([p for p in predictions if p.part == part]) for part in scored
    }
    write_whole(out / PREDICTIONS, evaluation.predictions_csv(predictions))
    write_whole(
        out / METRICS,
        json.dumps(
            {
                "fold": name,
                "figures": found,
                "weights": "last epoch" + (", averaged" if recipe.ema else ""),
                "speakers": {
                    "train": sorted(split.train),
                    "validation": sorted(split.validation),
                    "test": sorted(split.test),
                },
                "training_clips": len(training),
                "corpora": sorted({clip.rows[0].corpus for clip in training}),
                "parameters": sum(p.numel() for p in module.net.parameters()),
                "provenance": origin,
            },
            indent=2,
        )
        + "\n",
    )
    return Result(out, found)


def load_net(folder: Path) -> tuple[Recipe, nn.Module]:
    """The network of a run or a model folder, in evaluation mode, without unpickling.

    Raises
    ------
    ValueError
        Recipe or weights are missing or do not fit; the message names the file.
    """
    recipe = Recipe.read(folder / CONFIG)
    net = _fresh_net(recipe)
    path = folder / WEIGHTS
    try:
        net.load_state_dict(load_safetensors(path.read_bytes()))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except Exception as error:  # safetensors raises its own type, torch a RuntimeError
        raise ValueError(f"{path}: these are not the weights of {recipe.net}: {error}") from None
    return recipe, net.eval()


@torch.no_grad()
def window_logits(net: nn.Module, clips: Sequence[Clip]) -> evaluation.Float64:
    """Logits of every window of every clip in order, ``float64 (windows, classes)``."""
    device = next(net.parameters()).device
    net.eval()
    parts = [
        net(batch.to(device).float()).double().cpu()
        for batch in DataLoader(AllWindows(clips), _EVAL_BATCH)
    ]
    result: evaluation.Float64 = torch.cat(parts).numpy()
    return result


def clip_logits(logits: Any, clips: Sequence[Clip]) -> evaluation.Float64:
    """Logits of windows in order -> logits of clips, ``float64 (clips, classes)``."""
    return evaluation.pool_windows(
        logits,
        [len(clip.rows) for clip in clips],
        [row.speech for clip in clips for row in clip.rows],
    )


def clip_predictions(
    logits: Any, clips: Sequence[Clip], part: str, fold: str
) -> list[ClipPrediction]:
    """Pool windows' logits and put them beside the clips' labels."""
    return [
        ClipPrediction(
            part,
            fold,
            clip.rows[0].utterance,
            clip.rows[0].corpus,
            clip.speaker,
            clip.rows[0].sex,
            clip.rows[0].intensity,
            clip.rows[0].emotion,
            tuple(row),
        )
        for clip, row in zip(clips, clip_logits(logits, clips).tolist(), strict=True)
    ]


def _fresh_net(recipe: Recipe) -> nn.Module:
    return build_net(recipe.net, len(EMOTIONS), recipe.image.n_mels, recipe.width, recipe.dropout)


def _contiguous(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}


def _callbacks(recipe: Recipe, out: Path, *, validated: bool, progress: bool) -> list[Callback]:
    callbacks: list[Callback] = [LearningRateMonitor("epoch")]
    if recipe.ema:
        callbacks.append(EMAWeightAveraging(decay=recipe.ema))
    # Without a figure to watch, a ModelCheckpoint keeps the newest.
    folder = out / "checkpoints"
    callbacks.append(ModelCheckpoint(folder, "last", enable_version_counter=False))
    if validated:
        callbacks.append(
            ModelCheckpoint(
                folder,
                "best",
                monitor="validation/uar",
                mode="max",
                enable_version_counter=False,
            )
        )
    if progress:
        callbacks.append(TQDMProgressBar(refresh_rate=5))
    return callbacks


def _quiet() -> None:
    """Lightning's hints on loaders and tips are not for the user of a script."""
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch.accelerators"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")
    warnings.filterwarnings("ignore", ".*Checkpoint directory.*exists and is not empty.*")
    warnings.filterwarnings("ignore", ".*have no `val_dataloader`.*")
    warnings.filterwarnings("ignore", ".*does not have a deterministic implementation.*")
