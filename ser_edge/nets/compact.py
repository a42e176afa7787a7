"""Our own small residual network for mel images.

Only layers that OpenVINO's opsets up to 10 hold and a Neural Compute Stick runs: convolution,
batch normalisation, ReLU, mean, maximum, matrix product.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from ser_edge.config.recipe import Recipe


class Head(nn.Module):
    """What makes ``(N, features)`` of the feature maps ``(N, channels, 1, moments)``.

    Parameters
    ----------
    features : int
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.features = features


def build_compact(
    recipe: Recipe, classes: int, head: Callable[[int], Head] | None = None
) -> nn.Module:
    """The recipe's :class:`CompactNet`, with another head (:mod:`ser_edge.nets.heads`) or its own.

    Raises
    ------
    ValueError
        The recipe asks for what only torchvision's networks have, or for attention where another
        head pools.
    """
    for name, value, only in (
        ("pretrained", recipe.pretrained, False),
        ("input_size", recipe.input_size, 0),
        ("input_channels", recipe.input_channels, 1),
        ("attention", recipe.attention and head is not None, False),
    ):
        if value != only:
            raise ValueError(f"{name} is {value}, net {recipe.net} takes only {only}")
    return CompactNet(
        classes,
        recipe.image.n_mels,
        recipe.width,
        recipe.dropout,
        attention=recipe.attention,
        nonspeech_head=recipe.nonspeech_head > 0,
        head=head,
    )


NONSPEECH_HEAD: Final = "gate."
"""What the names of the non-speech head's weights begin with."""

_OPEN: Final = 10.0  # the sigmoid of it is 0.99995


class _Residual(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut (He et al. 2015, arXiv 1512.03385)."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class _Attention(nn.Module):
    """Mean over time in which every channel weighs the moments itself.

    The pooling of ECAPA-TDNN (Desplanques et al. 2020, arXiv 2005.07143) without its deviation,
    whose squares do not fit 16-bit floats.
    """

    def __init__(self, channels: int, hidden: int = 32) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x * torch.softmax(self.weigh(x), dim=3)).sum(dim=(2, 3))


class CompactNet(nn.Module):
    """Mel image -> logits.

    Parameters
    ----------
    classes : int
    n_mels : int
        Bands of the mel image.
    width : float
        Multiplier of the channels 24, 32, 64, 160.
    dropout : float
        Share of the pooled features that is dropped in training.
    attention : bool
        Moments are weighed by attention, not equally, before they are averaged.
    nonspeech_head : bool
        One linear layer on the pooled features whose sigmoid multiplies the logits, so that without
        speech all scores are the same. It multiplies by 1 until
        :func:`ser_edge.training.nonspeech_head.fit_nonspeech_head` has fitted it.
    head : callable, optional
        Number of channels -> what pools the feature maps in place of mean (or attention) and
        maximum.

    Notes
    -----
    Takes ``float32 (N, 1, n_mels, frames)`` grey levels from 0 to 255 and scales them itself, so
    the IR can take the image's bytes as they are. Gives ``float32 (N, classes)``.
    """

    def __init__(
        self,
        classes: int,
        n_mels: int,
        width: float = 1.0,
        dropout: float = 0.3,
        *,
        attention: bool = False,
        nonspeech_head: bool = False,
        head: Callable[[int], Head] | None = None,
    ) -> None:
        super().__init__()
        stem, *stages = (max(8, round(channels * width / 8) * 8) for channels in (24, 32, 64, 160))
        layers: list[nn.Module] = [
            nn.Conv2d(1, stem, 3, 2, 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(inplace=True),
        ]
        inputs = stem
        for outputs, blocks in zip(stages, (1, 2, 1), strict=True):
            for block in range(blocks):
                layers.append(_Residual(inputs, outputs, 2 if block == 0 else 1))
                inputs = outputs
        # Where on the band axis something lies says much (pitch, formants): a learned sum over the
        # bands, not a mean.
        rows = -(-n_mels // 2 ** (1 + len(stages)))
        layers += [
            nn.Conv2d(inputs, inputs, (rows, 1), bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
        ]
        self.features = nn.Sequential(*layers)
        self.attention = _Attention(inputs) if attention else None
        self.head = head(inputs) if head is not None else None
        pooled = 2 * inputs if self.head is None else self.head.features
        self.gate = _open_head(pooled) if nonspeech_head else None
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(pooled, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        pooled = self.pooled(image)
        logits: torch.Tensor = self.classify(self.dropout(pooled))
        return logits if self.gate is None else logits * torch.sigmoid(self.gate(pooled))

    def pooled(self, image: torch.Tensor) -> torch.Tensor:
        """Features of whole images, ``(N, features)``, before any is dropped."""
        # Grey levels of speech images average about 60 with a deviation of about 60.
        x = (image - 60.0) * (1.0 / 60.0)
        x = self.features(x)
        if self.head is not None:
            found: torch.Tensor = self.head(x)
            return found
        mean = x.mean(dim=(2, 3)) if self.attention is None else self.attention(x)
        return torch.cat([mean, x.amax(dim=(2, 3))], dim=1)


def _open_head(features: int) -> nn.Linear:
    """A non-speech head that multiplies by 1 and is not trained with the rest."""
    head = nn.Linear(features, 1)
    nn.init.zeros_(head.weight)
    nn.init.constant_(head.bias, _OPEN)
    return head.requires_grad_(False)
