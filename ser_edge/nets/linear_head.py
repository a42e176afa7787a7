"""Features of clips -> classes: multinomial logistic regression, and its cross-fitting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch.nn import functional

from ser_edge.emotions import EMOTIONS

_STEPS: Final = 200


@dataclass(frozen=True)
class LinearHead:
    """``(features - mean) * scale @ weight + bias`` are logits, all ``float64``."""

    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """``float (clips, size)`` -> ``float64 (clips, classes)``."""
        return (features.double() - self.mean) * self.scale @ self.weight + self.bias


def fit_linear(
    values: torch.Tensor,
    scale: torch.Tensor,
    labels: torch.Tensor,
    shares: torch.Tensor,
    l2: float,
    bias_l2: float,
    tolerance: float,
) -> LinearHead:
    """Fit by L-BFGS until no slope is above ``tolerance``; nothing is random.

    Parameters
    ----------
    values, scale : Tensor
        ``float64 (clips, size)``, and what they, less their mean, are multiplied by, ``(size,)``.
    labels, shares : Tensor
        ``int64 (clips,)``: indices of classes; how much a clip of each weighs, ``(classes,)``.
    l2, bias_l2 : float
        Half of them times the squared weights and biases is added to the mean loss.
    """
    mean = values.mean(dim=0)
    standard = (values - mean) * scale
    weight = torch.zeros(values.shape[1], len(shares), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(shares), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_STEPS, tolerance_grad=tolerance, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = l2 * weight.square().sum() + bias_l2 * bias.square().sum()
        value = functional.cross_entropy(standard @ weight + bias, labels, shares) + penalty / 2
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return LinearHead(mean, scale, weight.detach(), bias.detach())


def fit_head(features: torch.Tensor, labels: torch.Tensor, l2: float) -> LinearHead:
    """Emotions of ``float (clips, size)``; ``labels`` and ``l2`` as :func:`fit_linear` says."""
    values = features.double()
    deviation = (values - values.mean(dim=0)).square().mean(dim=0).sqrt()
    scale = torch.where(deviation > 0, 1 / deviation.clamp(min=1e-12), 0.0)
    alike = torch.ones(len(EMOTIONS), dtype=torch.float64)
    # The biases' tiny share keeps an emotion that nobody speaks from falling for ever.
    return fit_linear(values, scale, labels, alike, l2, bias_l2=0.01 * l2, tolerance=1e-6)


def cross_fitted(
    features: torch.Tensor,
    labels: torch.Tensor,
    speakers: Sequence[str],
    l2: float,
    parts: int,
) -> torch.Tensor:
    """Logits of every clip by a head that was not trained on its speaker.

    A head's scores of its own training clips say no more than their labels.

    Parameters
    ----------
    features, labels, l2
        As :func:`fit_head` takes them.
    speakers : sequence of str
        Of each clip.
    parts : int
        Groups of speakers, each left out once; at most as many as there are speakers.

    Returns
    -------
    Tensor
        ``float64 (clips, classes)``.

    Raises
    ------
    ValueError
        There are fewer than two speakers.
    """
    names = sorted(set(speakers))
    if len(names) < 2:
        raise ValueError(f"{len(names)} training speaker: leaving one out needs two or more")
    group = {name: number % min(parts, len(names)) for number, name in enumerate(names)}
    groups = torch.tensor([group[speaker] for speaker in speakers])
    logits = torch.zeros(len(features), len(EMOTIONS), dtype=torch.float64)
    for number in range(min(parts, len(names))):
        out = groups == number
        logits[out] = fit_head(features[~out], labels[~out], l2)(features[out])
    return logits
