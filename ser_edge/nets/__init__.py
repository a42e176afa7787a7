"""Networks by name: our own, and torchvision's.

A new one is a file beside this one and a line in :data:`NETS`. Every network takes
``float32 (N, 1, n_mels, frames)`` grey levels from 0 to 255 and gives ``(N, classes)`` logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from torch import nn

from ser_edge.config.recipe import Recipe
from ser_edge.emotions import EMOTIONS
from ser_edge.nets.compact import build_compact
from ser_edge.nets.heads import (
    build_bigru,
    build_bilstm,
    build_bilstm_bigru_attention,
    build_multihead_bilstm_bigru,
)
from ser_edge.nets.torchvision import build_zoo_net, zoo_names

NETS: Final[Mapping[str, Callable[[Recipe, int], nn.Module]]] = MappingProxyType(
    {
        "compact": build_compact,
        "compact-bilstm": build_bilstm,
        "compact-bigru": build_bigru,
        "compact-bilstm-bigru-attention": build_bilstm_bigru_attention,
        "compact-multihead-bilstm-bigru": build_multihead_bilstm_bigru,
    }
)
"""Name -> function of a recipe and the number of classes."""


def build_net(recipe: Recipe, classes: int = len(EMOTIONS)) -> nn.Module:
    """Make the recipe's network with fresh weights, or ImageNet's if it says ``pretrained``.

    Raises
    ------
    ValueError
        There is no network of that name, or it does not fit the rest of the recipe.
    """
    if recipe.net in NETS:
        return NETS[recipe.net](recipe, classes)
    if recipe.net in zoo_names():
        if recipe.nonspeech_head:
            raise ValueError(
                f"nonspeech_head is {recipe.nonspeech_head}, only net compact has one: set 0"
            )
        return build_zoo_net(recipe, classes)
    raise ValueError(
        f"net is {recipe.net!r}, allowed: {', '.join(NETS)}, or a classification network of "
        f"torchvision: {', '.join(zoo_names())}"
    )
