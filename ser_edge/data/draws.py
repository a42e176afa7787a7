"""Random numbers for the rows of a batch, from torch's generator of its device."""

from __future__ import annotations

import torch


def uniform(n: int, low: float, high: float, device: torch.device) -> torch.Tensor:
    """``float32 (n,)`` from ``low`` to ``high``, one number a row."""
    return torch.rand(n, device=device) * (high - low) + low


class Chosen:
    """Some rows of a batch, chosen at random, and random numbers for them alone.

    Parameters
    ----------
    n : int
        Rows of the batch.
    share : float
        Probability of each row.
    device : device

    Attributes
    ----------
    index : Tensor
        ``int64 (chosen,)``.
    """

    def __init__(self, n: int, share: float, device: torch.device) -> None:
        self.index = (torch.rand(n, device=device) < share).nonzero()[:, 0]

    def __len__(self) -> int:
        return len(self.index)

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """``float32 (chosen, *shape)`` from ``low`` to ``high``."""
        return torch.rand(len(self), *shape, device=self.index.device) * (high - low) + low
