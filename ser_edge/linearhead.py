"""Features of clips -> emotions: multinomial logistic regression, and its cross-fitting."""

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


def fit_head(features: torch.Tensor, labels: torch.Tensor, l2: float) -> LinearHead:
    """Fit by L-BFGS; nothing is random.

    Parameters
    ----------
    features : Tensor
        ``float (clips, size)``; each is standardised.
    labels : Tensor
        ``int64 (clips,)``: indices of emotions.
    l2 : float
        Half of it times the squared weights is added to the mean loss.
    """
    values = features.double()
    mean = values.mean(dim=0)
    deviation = (values - mean).square().mean(dim=0).sqrt()
    scale = torch.where(deviation > 0, 1 / deviation.clamp(min=1e-12), 0.0)
    standard = (values - mean) * scale
    weight = torch.zeros(values.shape[1], len(EMOTIONS), dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(EMOTIONS), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=_STEPS, tolerance_grad=1e-6, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        # The biases' tiny share keeps an emotion that nobody speaks from falling for ever.
        penalty = weight.square().sum() + 0.01 * bias.square().sum()
        value = functional.cross_entropy(standard @ weight + bias, labels) + l2 / 2 * penalty
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    return LinearHead(mean, scale, weight.detach(), bias.detach())


def cross_fitted(
    features: torch.Tensor,
    labels: torch.Tensor,
    speakers: Sequence[str],
    l2: float,
    parts: int,
) -> torch.Tensor:
    """Logits of every clip by a head that has never heard its speaker.

    A head's own training clips it knows by heart: its scores of them say no more than their labels.

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
