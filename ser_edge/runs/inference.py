"""A trained network on rendered clips -> logits and predictions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import load_file as load_safetensors
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from ser_edge.config.recipe import Recipe
from ser_edge.config.ssl import SSLRecipe, is_ssl_recipe
from ser_edge.data.datasets import EVAL_BATCH, AllSoundWindows, AllWindows, Clip, load_sounds
from ser_edge.mel.spec import MelImageSpec
from ser_edge.metrics import classification
from ser_edge.metrics.classification import ClipPrediction
from ser_edge.nets import build_net
from ser_edge.nets.ssl import SpeechNet, build_speech_net
from ser_edge.nets.ssl_bundles import find_bundle

WEIGHTS: Final = "weights.safetensors"
CONFIG: Final = "config.yaml"
METRICS: Final = "metrics.json"
PREDICTIONS: Final = "predictions.csv"
"""The files of a run and of a model folder."""


def load_net(folder: Path) -> tuple[Recipe, nn.Module]:
    """The image network of a run or a model folder, in evaluation mode, without unpickling.

    Raises
    ------
    ValueError
        Recipe or weights are missing or do not fit; the message names the file.
    """
    recipe = Recipe.read(folder / CONFIG)
    net = build_net(replace(recipe, pretrained=False))  # its weights follow
    _load_weights(net, folder / WEIGHTS, recipe.net)
    return recipe, net.eval()


def load_speech_net(folder: Path) -> tuple[SSLRecipe, SpeechNet]:
    """The speech encoder of a run, in evaluation mode; nothing is downloaded.

    Raises
    ------
    ValueError
        As :func:`load_net`.
    """
    recipe = SSLRecipe.read(folder / CONFIG)
    net = build_speech_net(recipe, find_bundle(recipe.bundle), pretrained=False)
    _load_weights(net, folder / WEIGHTS, recipe.bundle)
    net.eval()
    return recipe, net


def _load_weights(net: nn.Module, path: Path, name: str) -> None:
    try:
        net.load_state_dict(load_safetensors(path))
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None
    except Exception as error:  # safetensors raises its own type, torch a RuntimeError
        raise ValueError(f"{path}: these are not the weights of {name}: {error}") from None


def window_logits(net: nn.Module, clips: Sequence[Clip]) -> classification.Float64:
    """Logits of every mel image of every clip in order, ``float64 (windows, classes)``."""
    return dataset_logits(net, AllWindows(clips))


@torch.no_grad()
def dataset_logits(
    net: nn.Module,
    windows: Dataset[torch.Tensor],
    batch_size: int = EVAL_BATCH,
    *,
    progress: bool = False,
) -> classification.Float64:
    """Logits of windows in order, in full precision, ``float64 (windows, classes)``."""
    device = next(net.parameters()).device
    net.eval()
    loader = DataLoader(windows, batch_size)
    parts = [
        net(batch.to(device).float()).double().cpu()
        for batch in tqdm(loader, desc="scoring", unit="batch", disable=not progress)
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
class RunModel:
    """A trained network: its windows, and clips -> logits of their windows in order."""

    image: MelImageSpec
    logits: Callable[[Sequence[Clip]], classification.Float64]


def load_run_model(
    folder: Path, sounds: Sequence[Path] = (), *, progress: bool = False
) -> RunModel:
    """The network of a run or a model folder, of either kind.

    Parameters
    ----------
    folder : Path
    sounds : sequence of Path
        Folders with the recordings of the clips, for a network of waveforms.
    progress : bool
        Show bars.

    Raises
    ------
    ValueError
        As :func:`load_net`; from ``logits``, a recording is missing.
    """
    if not is_ssl_recipe(folder / CONFIG):
        recipe, net = load_net(folder)
        return RunModel(recipe.image, lambda clips: window_logits(net, clips))
    speech, encoder = load_speech_net(folder)
    encoder.to("cuda" if torch.cuda.is_available() else "cpu")

    def logits(clips: Sequence[Clip]) -> classification.Float64:
        loaded = load_sounds(sounds, clips, speech.image, progress=progress)
        windows = AllSoundWindows(clips, loaded, speech.image)
        batch = speech.batch_size // speech.accumulation
        return dataset_logits(encoder, windows, batch, progress=progress)

    return RunModel(speech.image, logits)
