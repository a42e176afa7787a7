"""What is done to weights before and after the epochs: start, freeze, average, adjust, save."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ser_edge.data.datasets import Clip
from ser_edge.emotions import EMOTIONS
from ser_edge.nets.compact import NONSPEECH_HEAD
from ser_edge.runs.inference import load_net


def load_start(net: nn.Module, folder: Path) -> None:
    """Start from the weights of a run or a model; a non-speech head is always fitted anew."""
    head = {n: v for n, v in net.state_dict().items() if n.startswith(NONSPEECH_HEAD)}
    try:
        net.load_state_dict(_weights(folder) | head)
    except RuntimeError as error:
        raise ValueError(f"{folder}: its network is not the recipe's: {error}") from None


def load_same(net: nn.Module, folder: Path) -> dict[str, torch.Tensor]:
    """The weights of a run or a model of the same network, for :func:`average`."""
    found = _weights(folder)
    shapes = {n: v.shape for n, v in net.state_dict().items() if not n.startswith(NONSPEECH_HEAD)}
    if {name: value.shape for name, value in found.items()} != shapes:
        raise ValueError(f"{folder}: its network is not the recipe's")
    return found


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    state = load_net(folder)[1].state_dict()
    return {name: value for name, value in state.items() if not name.startswith(NONSPEECH_HEAD)}


def freeze_all_but_last(net: nn.Module) -> None:
    """Only the last layer is trained."""
    net.requires_grad_(False)
    last_layer(net).requires_grad_(True)


def last_layer(net: nn.Module) -> nn.Linear | nn.Conv2d:
    """The layer that gives the logits."""
    return [m for m in net.modules() if isinstance(m, (nn.Linear, nn.Conv2d))][-1]


def average(net: nn.Module, others: Sequence[Mapping[str, torch.Tensor]]) -> None:
    """Half of a network's weights and half of the others' mean; nothing without others."""
    for name, value in net.state_dict().items():
        if others and not name.startswith(NONSPEECH_HEAD) and value.is_floating_point():
            mean = torch.stack([other[name] for other in others]).mean(dim=0)
            value.copy_((value + mean) / 2)


def averaging(decay: float) -> Callable[[list[torch.Tensor], list[torch.Tensor], Any], None]:
    """Exponential moving average whose decay grows to ``decay`` in the first steps.

    After ``n`` updates it is (1 + n) / (10 + n) at most, as in TensorFlow's
    ``ExponentialMovingAverage``. With a fixed decay of 0.99 a run of a hundred steps would keep a
    third of the random weights that it began with. Gives what ``AveragedModel`` takes for
    ``multi_avg_fn``.
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


@torch.no_grad()
def adjust_logits(net: nn.Module, training: Sequence[Clip], strength: float) -> None:
    """Subtract from the logits how frequent the emotions are in the speech trained on.

    Logit adjustment after training (Menon et al. 2021, arXiv 2007.07314, equation 9): RAVDESS has
    half as many neutral clips as of any other emotion, and users do not. Song is left out: it has
    other emotions than speech, and speech is what is scored.
    """
    spoken = [clip for clip in training if clip.rows[0].channel == "speech"] or training
    counts = np.bincount([clip.emotion for clip in spoken], minlength=len(EMOTIONS))
    there = counts > 0  # nothing is known of the others
    shift = np.zeros(len(EMOTIONS), dtype=np.float32)
    shift[there] = strength * np.log(counts[there] / counts[there].mean())
    bias = last_layer(net).bias
    assert bias is not None
    bias -= torch.from_numpy(shift)


def saved_weights(net: nn.Module) -> dict[str, torch.Tensor]:
    """Weights as safetensors takes them: on the CPU, each on its own."""
    return {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
