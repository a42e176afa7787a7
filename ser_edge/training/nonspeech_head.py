"""The gate: whether a picture holds speech at all, fitted after the network has learnt emotions.

A network that knows eight emotions finds one in a fan, too. Teaching it the sounds that are no
speech as it learns (outlier exposure, Hendrycks et al. 2019, arXiv 1812.04606) made it hear worse
(docs/results/experiments.md). Its pooled features tell speech from the rest well enough for one
linear layer, which is fitted when all else stays as it is: it can change no feature.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import torch

from ser_edge.mel.image import UInt8
from ser_edge.nets.compact import CompactNet
from ser_edge.nets.linear_head import fit_linear

_L2: Final = 1e-3
_SPEECH_WEIGHS: Final = 10.0
"""How much more all speech weighs than all the rest: better a fan let in than a voice turned away.

With 1, a gate fitted to RAVDESS alone turned away a fifth of nEMO and half of CREMA-D."""

_BATCH: Final = 64


def fit_gate(
    net: CompactNet,
    clips: UInt8,
    others: UInt8,
    change: Callable[[torch.Tensor], torch.Tensor],
    seed: int,
) -> float:
    """Fit the network's gate by logistic regression.

    Parameters
    ----------
    net : CompactNet
        With a gate; in evaluation mode afterwards.
    clips, others : ndarray
        ``uint8 (N, n_mels, frames)``: pictures of speech, and of sounds that are none.
    change : callable
        Augmentation, ``float32 (N, 1, n_mels, frames)`` to the same: each picture is heard as it is
        and changed.
    seed : int
        Of the augmentation.

    Returns
    -------
    float
        Share of all these pictures that the gate then tells rightly.

    Raises
    ------
    ValueError
        The network has no gate, or one kind is missing.
    """
    if net.gate is None:
        raise ValueError("the network has no gate")
    if not len(clips) or not len(others):
        raise ValueError(f"a gate is fitted on both: {len(clips)} clips, {len(others)} others")
    net.eval()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        speech, rest = (_features(net, pictures, change) for pictures in (clips, others))
    values = torch.cat([speech, rest])
    truth = torch.cat([torch.ones(len(speech)), torch.zeros(len(rest))]).long()
    shares = torch.tensor([1 / len(rest), _SPEECH_WEIGHS / len(speech)], dtype=torch.float64)
    scale = 1 / (values.std(dim=0) + 1e-6)
    # The two classes' weights are plus and minus half the gate's: their squares sum to half of its.
    head = fit_linear(values, scale, truth, shares, 2 * _L2, bias_l2=0.0, tolerance=1e-7)
    with torch.no_grad():
        weight = head.weight.diff().T * scale
        net.gate.weight.copy_(weight)
        net.gate.bias.copy_(head.bias.diff() - weight @ head.mean)
    return float((head(values).argmax(dim=1) == truth).double().mean())


def _features(
    net: CompactNet, pictures: UInt8, change: Callable[[torch.Tensor], torch.Tensor]
) -> torch.Tensor:
    """Pooled features of pictures, as they are and changed, ``float64 (2 N, features)``."""
    device = next(net.parameters()).device
    found = []
    for part in np.array_split(pictures, -(-len(pictures) // _BATCH)):
        plain = torch.from_numpy(part)[:, None].float()
        for heard in (plain, change(plain)):
            found.append(net.pooled(heard.to(device)).double().cpu())
    return torch.cat(found)
