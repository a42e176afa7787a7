"""Networks by name. A new one is a file beside this one and a line in :data:`NETS`.

Every network takes ``float32 (N, 1, n_mels, frames)`` grey levels from 0 to 255 and gives
``(N, classes)`` logits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from torch import nn

from ser_edge.nets.compact import CompactNet

NETS: Final[Mapping[str, Callable[[int, int, float, float], nn.Module]]] = MappingProxyType(
    {
        "compact": CompactNet,
    }
)
"""Name -> function of (classes, n_mels, width, dropout)."""


def build_net(name: str, classes: int, n_mels: int, width: float, dropout: float) -> nn.Module:
    """Make a network with fresh weights.

    Raises
    ------
    ValueError
        If there is no network of that name.
    """
    if name not in NETS:
        raise ValueError(f"net is {name!r}, allowed: {', '.join(NETS)}")
    return NETS[name](classes, n_mels, width, dropout)
