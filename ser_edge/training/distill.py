"""Knowledge distillation: from trained networks, or from soft targets in a file.

Hinton, Vinyals & Dean 2015, arXiv 1503.02531: the student learns the softened scores of an
ensemble. Beyer et al. 2021, arXiv 2106.05237: the teacher must see exactly the augmented image that
the student sees, not the clean one.

Soft targets are logits of clips: ``<name>.csv`` has a row a clip; ``<name>.json`` beside it says
which teacher made them, trained on which speakers.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn
from torch.nn import functional

from ser_edge.config.recipe import Recipe
from ser_edge.data.datasets import Clip
from ser_edge.emotions import EMOTIONS
from ser_edge.files import write_whole
from ser_edge.runs.inference import load_net
from ser_edge.runs.lineage import HeldOut, Lineage, check_no_leakage, file_lineage, run_lineage

_KEYS: Final = ("corpus", "utterance")


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
    """Mean Kullback-Leibler divergence of the student's softened scores from the teacher's.

    Times the square of the temperature, so that gradients keep their size at every temperature
    (Hinton et al. 2015, section 2).

    Parameters
    ----------
    logits : Tensor
        The student's, ``(N, classes)``.
    taught : Tensor
        Softened scores, ``float32 (N, classes)``.
    temperature : float
    """
    own = functional.log_softmax(logits.float() / temperature, dim=1)
    return functional.kl_div(own, taught, reduction="batchmean") * temperature**2


@dataclass(frozen=True)
class AuxiliaryTargets:
    """What is learnt beside the labels: from teachers, or from soft targets in a file.

    Attributes
    ----------
    teachers : Teachers, optional
        Get the mel images that are trained on, before noise, babble or a telephone was added.
    soft : Tensor, optional
        Softened scores of the training clips by their numbers, ``float32 (clips, classes)``.
    lineages : tuple of Lineage
        Of the teachers, or of the file.
    """

    teachers: Teachers | None = None
    soft: torch.Tensor | None = None
    lineages: tuple[Lineage, ...] = ()


def auxiliary_targets(
    recipe: Recipe,
    training: Sequence[Clip],
    teachers: Sequence[Path],
    soft_targets: Path | None,
    held_out: HeldOut,
) -> AuxiliaryTargets:
    """Runs or model folders, or a file -> what they teach the training clips.

    Parameters
    ----------
    recipe : Recipe
        The student's.
    training : sequence of Clip
    teachers : sequence of Path
    soft_targets : Path, optional
    held_out : HeldOut
        What no teacher may have been trained on.

    Raises
    ------
    ValueError
        They do not fit to one another or to the recipe, or would leak; the message names which.
    """
    given = bool(teachers) or soft_targets is not None
    if teachers and soft_targets is not None:
        raise ValueError("teachers and a file of soft targets: only one of the two can teach")
    if recipe.distill and not given:
        raise ValueError(
            f"distill is {recipe.distill}, but there is neither a teacher nor a file of soft "
            "targets; without them it should be 0 (configs/compact-stages.yaml with "
            "scripts/experiments.py trains the teachers first)"
        )
    if not recipe.distill and given:
        raise ValueError("distill is 0, with a teacher it should be above 0 to 1")
    if teachers:
        loaded = [_load_teacher(folder, recipe, held_out) for folder in teachers]
        nets = [net for net, _ in loaded]
        lineages = tuple(lineage for _, lineage in loaded)
        return AuxiliaryTargets(Teachers(nets, recipe.distill_temperature), None, lineages)
    if soft_targets is None:
        return AuxiliaryTargets()
    targets = read_soft_targets(soft_targets)
    check_no_leakage(soft_targets, targets.lineage, held_out)
    soft = soften(targets.of(training), recipe.distill_temperature)
    return AuxiliaryTargets(None, soft, (targets.lineage,))


@torch.no_grad()
def _load_teacher(folder: Path, student: Recipe, held_out: HeldOut) -> tuple[nn.Module, Lineage]:
    recipe, net = load_net(folder)
    if recipe.image != student.image:
        raise ValueError(
            f"{folder}: as a teacher it reads mel images of {recipe.image}, the recipe wants "
            f"{student.image}"
        )
    lineage = run_lineage(folder)
    check_no_leakage(folder, lineage, held_out)
    shape = (student.image.n_mels, student.training_frames)
    try:  # networks that resize their image take one width alone
        net(torch.zeros(1, 1, *shape))
    except RuntimeError as error:
        raise ValueError(
            f"{folder}: as a teacher it does not take mel images of {shape[0]} x {shape[1]}, as "
            f"the recipe's crop makes them ({str(error).splitlines()[0]})"
        ) from None
    return net, lineage


@dataclass(frozen=True)
class SoftTargets:
    """Logits by corpus and utterance, and what went into them."""

    path: Path
    logits: Mapping[tuple[str, str], tuple[float, ...]]
    lineage: Lineage

    def of(self, clips: Sequence[Clip]) -> torch.Tensor:
        """Logits of clips in order, ``float32 (clips, classes)``.

        Raises
        ------
        ValueError
            There are none for some of the clips.
        """
        keys = [(clip.rows[0].corpus, clip.utterance) for clip in clips]
        missing = [
            utterance for corpus, utterance in keys if (corpus, utterance) not in self.logits
        ]
        if missing:
            raise ValueError(
                f"{self.path}: no targets for {len(missing)} of {len(clips)} training clips, the "
                f"first {missing[0]}; was it made for the same fold and renderings?"
            )
        return torch.tensor([self.logits[key] for key in keys])


def record_of(path: Path) -> Path:
    """Where the JSON beside a file of soft targets lies."""
    return path.with_suffix(".json")


def write_soft_targets(
    path: Path, clips: Sequence[Clip], logits: torch.Tensor, record: Mapping[str, Any]
) -> None:
    """Write soft targets and, beside them, what is known of them.

    Parameters
    ----------
    path : Path
        A CSV file.
    clips : sequence of Clip
    logits : Tensor
        ``float (clips, classes)``.
    record : mapping
        Plain values, with what :func:`ser_edge.runs.lineage.file_lineage` wants.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*_KEYS, *EMOTIONS])
    for clip, row in zip(clips, logits.tolist(), strict=True):
        writer.writerow([clip.rows[0].corpus, clip.utterance, *(f"{value:.5f}" for value in row)])
    write_whole(record_of(path), json.dumps(record, indent=2) + "\n")
    write_whole(path, buffer.getvalue())


def read_soft_targets(path: Path) -> SoftTargets:
    """Read what :func:`write_soft_targets` wrote.

    Raises
    ------
    ValueError
        A file is missing or is no such file; the message names it.
    """
    logits: dict[tuple[str, str], tuple[float, ...]] = {}
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(file)
            if list(reader.fieldnames or ()) != [*_KEYS, *EMOTIONS]:
                raise ValueError(
                    f"{path}: its columns should be {', '.join((*_KEYS, *EMOTIONS))}; "
                    "scripts/teach.py makes such files"
                )
            for row in reader:
                try:
                    values = tuple(float(row[emotion]) for emotion in EMOTIONS)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{path}: line {reader.line_num}: {error}") from None
                logits[row["corpus"], row["utterance"]] = values
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    return SoftTargets(path, logits, file_lineage(path, record_of(path)))
