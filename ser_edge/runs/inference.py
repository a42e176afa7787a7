"""A trained network on rendered clips -> logits and predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load as load_safetensors
from torch import nn
from torch.utils.data import DataLoader

from ser_edge.config.recipe import Recipe
from ser_edge.data.datasets import AllWindows, Clip
from ser_edge.mel.spec import MelImageSpec
from ser_edge.metrics import classification
from ser_edge.metrics.classification import ClipPrediction
from ser_edge.nets import build_net

EVAL_BATCH: Final = 64

WEIGHTS: Final = "weights.safetensors"
CONFIG: Final = "config.yaml"
METRICS: Final = "metrics.json"
PREDICTIONS: Final = "predictions.csv"
"""The files of a run and of a model folder."""


def load_net(folder: Path) -> tuple[Recipe, nn.Module]:
    """The network of a run or a model folder, in evaluation mode, without unpickling.

    Raises
    ------
    ValueError
        Recipe or weights are missing or do not fit; the message names the file.
    """
    recipe = Recipe.read(folder / CONFIG)
    net = build_net(replace(recipe, pretrained=False))  # its weights follow
    path = folder / WEIGHTS
    try:
        net.load_state_dict(load_safetensors(path.read_bytes()))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except Exception as error:  # safetensors raises its own type, torch a RuntimeError
        raise ValueError(f"{path}: these are not the weights of {recipe.net}: {error}") from None
    return recipe, net.eval()


@torch.no_grad()
def window_logits(net: nn.Module, clips: Sequence[Clip]) -> classification.Float64:
    """Logits of every window of every clip in order, ``float64 (windows, classes)``."""
    device = next(net.parameters()).device
    net.eval()
    parts = [
        net(batch.to(device).float()).double().cpu()
        for batch in DataLoader(AllWindows(clips), EVAL_BATCH)
    ]
    result: classification.Float64 = torch.cat(parts).numpy()
    return result


def clip_logits(logits: Any, clips: Sequence[Clip]) -> classification.Float64:
    """Logits of windows in order -> logits of clips, ``float64 (clips, classes)``."""
    return classification.pool_windows(
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


@dataclass(frozen=True)
class Ear:
    """A trained network: what windows it knows, and clips -> logits of their windows in order."""

    image: MelImageSpec
    logits: Callable[[Sequence[Clip]], classification.Float64]


def picture_ear(folder: Path) -> Ear:
    """The network of a run or a model folder that reads pictures.

    Raises
    ------
    ValueError
        As :func:`ser_edge.runs.inference.load_net`.
    """
    recipe, net = load_net(folder)
    return Ear(recipe.image, lambda clips: window_logits(net, clips))
