"""Heads of the compact network: recurrent layers and attention over the moments of a mel image.

They all stand on the features of :class:`~ser_edge.nets.compact.CompactNet`, so two of these
networks differ in their heads alone. Whatever a head does, OpenVINO 2022.3 must read it: recurrent
layers become its ``LSTMSequence`` and ``GRUSequence`` (opset 5), attention is written out. Today's
converter would make one ``ScaledDotProductAttention`` (opset 13) of the usual order of products, so
:class:`_MultiHead` works on columns: the same figures, and nothing to fuse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import torch
from torch import nn

from ser_edge.config.recipe import Recipe
from ser_edge.nets.compact import Head, build_compact

HIDDEN: Final = 64
"""State of a recurrent layer, each way."""

ATTENTION_HEADS: Final = 4


def build_bilstm(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's CNN, then a bidirectional LSTM."""
    return build_compact(recipe, classes, _bilstm)


def build_bigru(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's CNN, then a bidirectional GRU."""
    return build_compact(recipe, classes, _bigru)


def build_bilstm_bigru_attention(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's CNN, a bidirectional LSTM, a bidirectional GRU, moments weighed by attention."""
    return build_compact(recipe, classes, _bilstm_bigru_attention)


def build_multihead_bilstm_bigru(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's CNN, multi-head attention, a bidirectional LSTM, a bidirectional GRU."""
    return build_compact(recipe, classes, _multihead_bilstm_bigru)


def _bilstm(channels: int) -> Head:
    return _Sequence([_BothWays(nn.LSTM, channels)], _MeanAndMax())


def _bigru(channels: int) -> Head:
    return _Sequence([_BothWays(nn.GRU, channels)], _MeanAndMax())


def _bilstm_bigru_attention(channels: int) -> Head:
    layers = [_BothWays(nn.LSTM, channels), _BothWays(nn.GRU, 2 * HIDDEN)]
    return _Sequence(layers, _Weighed())


def _multihead_bilstm_bigru(channels: int) -> Head:
    layers = [
        _MultiHead(channels),
        _BothWays(nn.LSTM, channels),
        _BothWays(nn.GRU, 2 * HIDDEN),
    ]
    return _Sequence(layers, _MeanAndMax())


class _BothWays(nn.Module):
    """A recurrent layer that reads the moments forwards and backwards.

    Takes ``(N, moments, inputs)``, gives ``(N, moments, 2 * HIDDEN)``.
    """

    def __init__(self, layer: type[nn.LSTM] | type[nn.GRU], inputs: int) -> None:
        super().__init__()
        self.layer = layer(inputs, HIDDEN, batch_first=True, bidirectional=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layer(x)[0]
        return result


class _MultiHead(nn.Module):
    """Self-attention beside a shortcut, then layer normalisation; the shape stays.

    Vaswani et al. 2017, arXiv 1706.03762. It knows no places: the layers behind it read in order.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.join = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels)
        self._scale = 1 / math.sqrt(channels // ATTENTION_HEADS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            layer(x).chunk(ATTENTION_HEADS, dim=2) for layer in (self.query, self.key, self.value)
        )
        attended = []
        for q, k, v in zip(query, key, value, strict=True):
            # Column t: how much each moment matters to moment t. Rows would be fused, see above.
            weights = torch.softmax(torch.matmul(k * self._scale, q.transpose(1, 2)), dim=1)
            attended.append(torch.matmul(v.transpose(1, 2), weights))
        joined = self.join(torch.cat(attended, dim=1).transpose(1, 2))
        result: torch.Tensor = self.norm(x + joined)
        return result


class _MeanAndMax(nn.Module):
    """``(N, moments, 2 * HIDDEN)`` -> ``(N, features)``: mean and maximum of the moments."""

    features: Final = 4 * HIDDEN

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x.mean(dim=1), x.amax(dim=1)], dim=1)


class _Weighed(nn.Module):
    """``(N, moments, 2 * HIDDEN)`` -> ``(N, features)``: a mean whose weights are learned.

    Bahdanau et al. 2014, arXiv 1409.0473; one weight a moment.
    """

    features: Final = 2 * HIDDEN

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Linear(2 * HIDDEN, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * torch.softmax(self.weigh(x), dim=1)).sum(dim=1)


class _Sequence(Head):
    """Layers over the moments of feature maps, then a pooling of the moments."""

    def __init__(self, layers: Sequence[nn.Module], pool: _MeanAndMax | _Weighed) -> None:
        super().__init__(pool.features)
        self.layers = nn.Sequential(*layers)
        self.pool = pool

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        moments = x[:, :, 0].transpose(1, 2)  # the bands are summed already
        result: torch.Tensor = self.pool(self.layers(moments))
        return result
