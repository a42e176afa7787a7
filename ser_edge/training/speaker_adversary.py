"""A second head that tries to tell the speakers, and teaches the network to hide them.

Gradient reversal: Ganin & Lempitsky 2015, arXiv 1409.7495. On speakers, for emotion recognition:
Li et al. 2019, arXiv 1903.09606.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from ser_edge.config.recipe import Recipe
from ser_edge.data.datasets import Clip
from ser_edge.nets.compact import CompactNet

_HIDDEN: Final = 128
_STEEPNESS: Final = 10.0  # Ganin & Lempitsky's gamma


class Adversary(nn.Module):
    """Pooled features of a network -> logits of the training speakers.

    Parameters
    ----------
    features : int
    speakers : int
    """

    def __init__(self, features: int, speakers: int) -> None:
        super().__init__()
        self.speakers = speakers
        self.head = nn.Sequential(
            nn.Linear(features, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, speakers)
        )

    def forward(self, pooled: torch.Tensor, strength: float) -> torch.Tensor:
        """The head learns in full; what is below it unlearns, times ``strength``."""
        logits: torch.Tensor = self.head(reverse(pooled, strength))
        return logits

    def targets(self, speakers: torch.Tensor) -> torch.Tensor:
        """Numbers of speakers -> ``float32 (N, speakers)``."""
        return functional.one_hot(speakers, self.speakers).float()


def build_adversary(recipe: Recipe, net: nn.Module, clips: Sequence[Clip]) -> Adversary | None:
    """The recipe's adversary, None where it wants none.

    Raises
    ------
    ValueError
        The network gives no pooled features or learns none, or there is but one speaker.
    """
    if not recipe.adversarial:
        return None
    wanted = f"adversarial is {recipe.adversarial}"
    if not isinstance(net, CompactNet):
        raise ValueError(f"{wanted}, only net compact has it, net is {recipe.net}; it should be 0")
    if recipe.last_layer_only:
        raise ValueError(f"{wanted}, but with last_layer_only no feature is learnt; set it to 0")
    speakers = {clip.speaker for clip in clips}
    if len(speakers) < 2:
        raise ValueError(f"{wanted}, which needs 2 training speakers or more, not {len(speakers)}")
    return Adversary(net.classify.in_features, len(speakers))


def speaker_numbers(clips: Sequence[Clip]) -> torch.Tensor:
    """Number of each clip's speaker among all speakers of the clips, ``int64 (clips,)``."""
    numbers = {name: number for number, name in enumerate(sorted({c.speaker for c in clips}))}
    return torch.tensor([numbers[clip.speaker] for clip in clips])


def ramp(progress: float) -> float:
    """Strength of the reversal, from 0 at the start of a training to about 1 from its middle on.

    Parameters
    ----------
    progress : float
        Share of the training that is done.
    """
    return 2 / (1 + math.exp(-_STEEPNESS * progress)) - 1


def reverse(values: torch.Tensor, strength: float) -> torch.Tensor:
    """The values as they are; their gradient is turned round and scaled."""
    result: torch.Tensor = _Reverse.apply(values, strength)  # type: ignore[no-untyped-call]
    return result


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, values: torch.Tensor, strength: float) -> torch.Tensor:
        context.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        return -context.strength * gradients[0], None
