"""Finished networks that teach another one: knowledge distillation.

Hinton, Vinyals & Dean 2015, arXiv 1503.02531: the pupil learns the softened scores of an ensemble.
Beyer et al. 2021, arXiv 2106.05237: the teacher must see exactly the augmented and mixed picture
that the pupil sees, not the clean one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ser_edge.mel.image import MelImageSpec
from ser_edge.runs.inference import load_net
from ser_edge.runs.lineage import HeldOut, Lineage, check_no_leakage, run_lineage


class Teachers:
    """Networks in evaluation mode whose mean scores are taught.

    No ``nn.Module``, and the same object in every copy of what holds it: its networks are not
    trained, not averaged and not in a checkpoint.

    Parameters
    ----------
    nets : sequence of nn.Module
    temperature : float
        What logits are divided by.
    """

    def __init__(self, nets: Sequence[nn.Module], temperature: float) -> None:
        # A third faster on a CPU in this layout.
        self._nets = [
            net.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            for net in nets
        ]
        self._temperature = temperature

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Teachers:
        return self

    @torch.no_grad()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """Mean of the networks' softened scores, ``float32 (N, classes)``."""
        scores = [
            soften(net.to(images.device)(images), self._temperature)  # moves the first time alone
            for net in self._nets
        ]
        return torch.stack(scores).mean(dim=0)


def soften(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Scores of logits that are divided by a temperature, in full precision."""
    return functional.softmax(logits.float() / temperature, dim=1)


def distance(logits: torch.Tensor, taught: torch.Tensor, temperature: float) -> torch.Tensor:
    """Mean Kullback-Leibler divergence of the pupil's softened scores from the teacher's.

    Times the square of the temperature, so that gradients keep their size at every temperature
    (Hinton et al. 2015, section 2).

    Parameters
    ----------
    logits : Tensor
        The pupil's, ``(N, classes)``.
    taught : Tensor
        Softened scores, ``float32 (N, classes)``.
    temperature : float
    """
    own = functional.log_softmax(logits.float() / temperature, dim=1)
    return functional.kl_div(own, taught, reduction="batchmean") * temperature**2


def load_teachers(
    folders: Sequence[Path],
    spec: MelImageSpec,
    frames: int,
    temperature: float,
    held_out: HeldOut,
) -> tuple[Teachers, list[Lineage]]:
    """Load runs or model folders as teachers.

    Parameters
    ----------
    folders : sequence of Path
    spec : MelImageSpec
        The pupil's.
    frames : int
        Width of the pictures that the pupil is trained on.
    temperature : float
    held_out : HeldOut
        What no teacher may have been trained on.

    Raises
    ------
    ValueError
        A folder is no finished run, reads other pictures, or would leak; the message names it.
    """
    nets, lineages = [], []
    for folder in folders:
        recipe, net = load_net(folder)
        if recipe.image != spec:
            raise ValueError(
                f"{folder}: as a teacher it reads pictures of {recipe.image}, the recipe wants "
                f"{spec}"
            )
        lineage = run_lineage(folder)
        check_no_leakage(folder, lineage, held_out)
        _try(net, folder, spec.n_mels, frames)
        nets.append(net)
        lineages.append(lineage)
    return Teachers(nets, temperature), lineages


@torch.no_grad()
def _try(net: nn.Module, folder: Path, n_mels: int, frames: int) -> None:
    """Networks that resize their picture take one width alone."""
    try:
        net(torch.zeros(1, 1, n_mels, frames))
    except RuntimeError as error:
        raise ValueError(
            f"{folder}: as a teacher it does not take pictures of {n_mels} x {frames}, as the "
            f"recipe's crop makes them ({str(error).splitlines()[0]})"
        ) from None
