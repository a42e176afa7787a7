"""Our own small residual network for mel images.

Only layers that OpenVINO's opsets up to 10 hold and a Neural Compute Stick runs: convolution,
batch normalisation, ReLU, mean, maximum, matrix product.
"""

from __future__ import annotations

import torch
from torch import nn

from ser_edge.recipe import Recipe


def build_compact(recipe: Recipe, classes: int) -> nn.Module:
    """The recipe's :class:`CompactNet`.

    Raises
    ------
    ValueError
        The recipe asks for what only torchvision's networks have.
    """
    for name, value, only in (
        ("pretrained", recipe.pretrained, False),
        ("input_size", recipe.input_size, 0),
        ("input_channels", recipe.input_channels, 1),
    ):
        if value != only:
            raise ValueError(f"{name} is {value}, net compact takes only {only}")
    return CompactNet(classes, recipe.image.n_mels, recipe.width, recipe.dropout)


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


class CompactNet(nn.Module):
    """Mel image -> logits.

    Parameters
    ----------
    classes : int
    n_mels : int
        Bands of the picture.
    width : float
        Multiplier of the channels 24, 32, 64, 160.
    dropout : float
        Share of the pooled features that is dropped in training.

    Notes
    -----
    Takes ``float32 (N, 1, n_mels, frames)`` grey levels from 0 to 255 and scales them itself, so
    the IR can take the picture's bytes as they are. Gives ``float32 (N, classes)``.
    """

    def __init__(self, classes: int, n_mels: int, width: float = 1.0, dropout: float = 0.3) -> None:
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
        # Where on the band axis something lies says much (pitch, formants): a learnt sum over the
        # bands, not a mean.
        rows = -(-n_mels // 2 ** (1 + len(stages)))
        layers += [
            nn.Conv2d(inputs, inputs, (rows, 1), bias=False),
            nn.BatchNorm2d(inputs),
            nn.ReLU(inplace=True),
        ]
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(2 * inputs, classes)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        # Grey levels of speech pictures average about 60 with a deviation of about 60.
        x = self.features((image - 60.0) * (1.0 / 60.0))
        x = torch.cat([x.mean(dim=(2, 3)), x.amax(dim=(2, 3))], dim=1)
        logits: torch.Tensor = self.classify(self.dropout(x))
        return logits
