"""Random numbers for a batch that is divided among processes.

Every process of a distributed run draws the numbers of the whole batch from the same generator
state and keeps the rows of its own share. Two processes then see what one process would have seen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import distributed


def rank_and_world() -> tuple[int, int]:
    """Number of this process and of all processes; ``(0, 1)`` outside a distributed run."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def rows(draw: Callable[[int], torch.Tensor], n: int) -> torch.Tensor:
    """Draw for the whole batch, keep this process's rows.

    Parameters
    ----------
    draw : callable
        Number of rows -> tensor of so many rows, from torch's default generator.
    n : int
        Rows of this process; every process has as many.

    Returns
    -------
    Tensor
        ``(n, ...)``.
    """
    rank, world = rank_and_world()
    return draw(n * world)[rank * n : (rank + 1) * n]


def whole(values: torch.Tensor) -> torch.Tensor:
    """The rows of all processes, ``(world * n, ...)``; no gradient goes through it."""
    _, world = rank_and_world()
    if world == 1:
        return values
    parts = [torch.empty_like(values) for _ in range(world)]
    distributed.all_gather(parts, values.contiguous())
    return torch.cat(parts)


def uniform(n: int, low: float, high: float, device: torch.device) -> torch.Tensor:
    """``float32 (n,)`` from ``low`` to ``high``, one number a row of the batch."""
    return rows(lambda count: torch.rand(count, device=device), n) * (high - low) + low


class Some:
    """Some rows of a batch, drawn at random, and random numbers for them alone.

    As :func:`rows`, but nothing is drawn for the rows that were not chosen: noise
    for a whole batch would cost more than what is done with it.

    Parameters
    ----------
    n : int
        Rows of this process.
    share : float
        Probability of each row.
    device : device

    Attributes
    ----------
    index : Tensor
        ``int64 (chosen,)``: the rows chosen in this process.
    """

    def __init__(self, n: int, share: float, device: torch.device) -> None:
        rank, world = rank_and_world()
        chosen = (torch.rand(n * world, device=device) < share).nonzero()[:, 0]
        here = (chosen >= rank * n) & (chosen < (rank + 1) * n)
        self.index = chosen[here] - rank * n
        self._all, self._before = len(chosen), int((chosen < rank * n).sum())

    @property
    def anywhere(self) -> bool:
        """Whether a row was chosen in any process."""
        return self._all > 0

    def rows(self, draw: Callable[[int], torch.Tensor]) -> torch.Tensor:
        """Draw for the rows chosen in all processes, keep those of this one: ``(chosen, ...)``."""
        return draw(self._all)[self._before : self._before + len(self.index)]

    def uniform(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """``float32 (chosen, *shape)`` from ``low`` to ``high``."""
        device = self.index.device
        return self.rows(lambda n: torch.rand(n, *shape, device=device)) * (high - low) + low
