"""The non-speech head: whether a mel image holds speech at all; fitted after the training.

A network that knows eight emotions finds one in a fan, too. Training on sounds that are no speech
as well (outlier exposure, Hendrycks et al. 2019, arXiv 1812.04606) made it worse at emotions
(docs/results/experiments.md). Its pooled features separate speech from the rest well enough for one
linear layer, which is fitted when all else stays as it is: it can change no feature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from ser_edge.config.recipe import Recipe
from ser_edge.data import nonspeech
from ser_edge.data.datasets import Clip
from ser_edge.data.image_augment import add_noise, through_line
from ser_edge.mel.image import UInt8, band_edges
from ser_edge.nets.compact import CompactNet
from ser_edge.nets.linear_head import fit_linear
from ser_edge.runs.lineage import corpora_of

_L2: Final = 1e-3
_SPEECH_WEIGHT: Final = 10.0
"""How much more all speech weighs than all the rest: a fan that passes is better than a voice that
does not. With 1, a head fitted to RAVDESS alone rejected a fifth of nEMO and half of CREMA-D."""

_BATCH: Final = 64
_LINE: Final = 0.5
_NOISE: Final = 0.5
"""Shares of the images that are fitted with another line, and with noise."""


def fit_for(recipe: Recipe, net: nn.Module, speech: Sequence[Clip]) -> dict[str, Any]:
    """Fit the head that a recipe wants, if it wants one.

    Parameters
    ----------
    recipe : Recipe
    net : nn.Module
        Of that recipe.
    speech : sequence of Clip

    Returns
    -------
    dict
        ``gate`` of :class:`ser_edge.runs.record.RunRecord`.
    """
    if not recipe.nonspeech_head:
        return {"sounds": 0, "speech": [], "told_apart": None}
    assert isinstance(net, CompactNet)  # build_net has checked it
    hertz = band_edges(recipe.image)[1:-1].tolist()

    def change(images: torch.Tensor) -> torch.Tensor:
        images = through_line(images, _LINE, hertz, recipe.image.range_db)
        return add_noise(images, _NOISE, recipe.image.range_db)

    others = nonspeech.mel_images(recipe.nonspeech_head, recipe.image, recipe.seed)
    clips = np.concatenate([clip.images for clip in speech])
    correct = fit_nonspeech_head(net, clips, others[:, 0], change, recipe.seed)
    return {"sounds": recipe.nonspeech_head, "speech": corpora_of(speech), "told_apart": correct}


def fit_nonspeech_head(
    net: CompactNet,
    clips: UInt8,
    others: UInt8,
    change: Callable[[torch.Tensor], torch.Tensor],
    seed: int,
) -> float:
    """Fit a network's non-speech head by logistic regression.

    Parameters
    ----------
    net : CompactNet
        With such a head; in evaluation mode afterwards.
    clips, others : ndarray
        ``uint8 (N, n_mels, frames)``: mel images of speech, and of sounds that are none.
    change : callable
        Augmentation, ``float32 (N, 1, n_mels, frames)`` to the same: each image is used as it is
        and changed.
    seed : int
        Of the augmentation.

    Returns
    -------
    float
        Share of all these images that the head then classifies correctly.

    Raises
    ------
    ValueError
        The network has no such head, or one kind of image is missing.
    """
    if net.gate is None:
        raise ValueError("the network has no non-speech head")
    if not len(clips) or not len(others):
        raise ValueError(
            f"a non-speech head is fitted on both: {len(clips)} clips, {len(others)} others"
        )
    net.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        speech, rest = (_features(net, images, change) for images in (clips, others))
    values = torch.cat([speech, rest])
    truth = torch.cat([torch.ones(len(speech)), torch.zeros(len(rest))]).long()
    shares = torch.tensor([1 / len(rest), _SPEECH_WEIGHT / len(speech)], dtype=torch.float64)
    scale = 1 / (values.std(dim=0) + 1e-6)
    # The two classes' weights are plus and minus half the head's: their squares sum to half of its.
    head = fit_linear(values, scale, truth, shares, 2 * _L2, bias_l2=0.0, tolerance=1e-7)
    with torch.no_grad():
        weight = head.weight.diff().T * scale
        net.gate.weight.copy_(weight)
        net.gate.bias.copy_(head.bias.diff() - weight @ head.mean)
    return float((head(values).argmax(dim=1) == truth).double().mean())


def _features(
    net: CompactNet, images: UInt8, change: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Pooled features of images, as they are and changed, ``float64 (2 N, features)``."""
    device = next(net.parameters()).device
    found = []
    for part in np.array_split(images, -(-len(images) // _BATCH)):
        plain = torch.from_numpy(part)[:, None].float()
        for batch in (plain, change(plain)):
            found.append(net.pooled(batch.to(device)).double().cpu())
    return torch.cat(found)
