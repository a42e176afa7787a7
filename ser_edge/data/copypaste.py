"""CopyPaste (Pappagari et al. 2020, arXiv 2010.14602): two sounds, one after the other.

A clip is lengthened by another of its emotion (SE-CP) or by a neutral one (N-CP), and keeps its
label: an emotion that is heard in a part of the sound is that of the whole. It is done on pictures,
whose silent borders are left out. Partners are looked for in the whole batch of a distributed run.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch

from ser_edge.data.distributed import rank_and_world, whole
from ser_edge.emotions import emotion_index

HEARD_DB: Final = 35.0
"""A frame is heard if its loudest band lies within so much of its picture's loudest point."""

_MARGIN: Final = 2  # frames left of the silence on each side: onsets and decays
_NEUTRAL: Final = emotion_index("neutral")


@dataclass(frozen=True)
class Pasted:
    """What became of a process's rows of a batch.

    Attributes
    ----------
    images : Tensor
        ``float32 (N, 1, n_mels, frames)``.
    labels : Tensor
        ``float32 (N, rows of the whole batch)``: of which rows a row has its emotion, summing to
        1. A neutral partner counts nothing.
    voices : Tensor
        Likewise, which rows are heard for which share of its time.
    """

    images: torch.Tensor
    labels: torch.Tensor
    voices: torch.Tensor


def copypaste(
    images: torch.Tensor, emotions: torch.Tensor, share: float, frames: int, range_db: float
) -> Pasted:
    """Paste a partner before or after some of the clips.

    Parameters
    ----------
    images : Tensor
        ``float32 (N, 1, n_mels, frames)`` grey levels from 0 to 255.
    emotions : Tensor
        ``int64 (N,)``.
    share : float
        Of the clips that get a partner. One that fits nobody stays as it is.
    frames : int
        Width that both must fit into together.
    range_db : float
        dB between 0 and 255.
    """
    n = len(images)
    rank, _ = rank_and_world()
    everybody, emotions = whole(images), whole(emotions)
    total = len(everybody)
    first, last = heard(everybody, range_db)
    length = last - first
    same = emotions[:, None] == emotions
    fits = (length[:, None] + length <= frames) & (length > 0)[:, None] & (length > 0)
    may = (same | (emotions == _NEUTRAL)) & fits
    may.fill_diagonal_(False)
    # Every process draws the same for the whole batch.
    lots = torch.rand(total, total + 2, device=images.device)
    partner = ((1 + lots[:, :total]) * may).argmax(dim=1)
    chosen = (lots[:, total] < share) & may.any(dim=1)
    before = lots[:, total + 1] < 0.5

    everyone = torch.arange(total, device=images.device)
    part = torch.where(chosen, length / (length + length[partner]).clamp(min=1), 1.0)
    voices = torch.zeros(total, total, device=images.device)
    voices[everyone, everyone] = part
    voices[everyone, partner] += 1 - part
    alike = chosen & same[everyone, partner]
    labels = torch.where(alike[:, None], voices, torch.eye(total, device=images.device))

    own = slice(rank * n, (rank + 1) * n)
    result = images.clone()
    plan = torch.stack([chosen, partner, before], dim=1)[own].tolist()
    borders = torch.stack([first, last], dim=1).tolist()
    for row, (wanted, other, other_first) in enumerate(plan):
        if not wanted:
            continue
        pair = (other, rank * n + row) if other_first else (rank * n + row, other)
        cut = [everybody[i, :, :, borders[i][0] : borders[i][1]] for i in pair]
        both = torch.cat(cut, dim=2)
        result[row] = 0
        result[row, :, :, : both.shape[2]] = both
    return Pasted(result, labels[own], voices[own])


def heard(images: torch.Tensor, range_db: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the sound of pictures begins and ends, a little silence left on both sides.

    Returns
    -------
    Tensor, Tensor
        ``int64 (N,)``: first frame, and the one after the last; both 0 where all is black.
    """
    wide = images.shape[3]
    loudest = images.amax(dim=(1, 2))
    least = loudest.amax(dim=1, keepdim=True) - 255.0 * HEARD_DB / range_db
    loud = (loudest >= least) & (loudest > 0)
    place = torch.arange(wide, device=images.device)
    first = torch.where(loud, place, wide).amin(dim=1)
    last = torch.where(loud, place + 1, 0).amax(dim=1)
    first = torch.where(last > 0, (first - _MARGIN).clamp(min=0), 0)
    last = torch.where(last > 0, (last + _MARGIN).clamp(max=wide), 0)
    return first, last
