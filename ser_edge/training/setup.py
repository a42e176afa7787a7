"""What a run is trained on and scored on, and the checkpoint that it is resumed from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml

from ser_edge.config.base import BaseRecipe
from ser_edge.data.datasets import Clip, load_clips
from ser_edge.data.render import MelImageRow, read_rows
from ser_edge.data.splits import Division, without_held_out
from ser_edge.emotions import EMOTIONS
from ser_edge.runs.inference import METRICS
from ser_edge.runs.lineage import Lineage
from ser_edge.training.trainer import last_checkpoint


@dataclass(frozen=True)
class SplitClips:
    """The clips of a run: for ``training``, for the non-speech head alone, ``scored`` by part."""

    training: list[Clip]
    nonspeech_head: list[Clip]
    scored: dict[str, list[Clip]]


def load_split(
    images: Path,
    recipe: BaseRecipe,
    division: Division[MelImageRow],
    *,
    also: Sequence[Path] = (),
    head_speech: Sequence[Path] = (),
    without: frozenset[str] = frozenset(),
) -> SplitClips:
    """A division of a rendering -> its clips.

    ``also`` are further renderings to train on, ``head_speech`` for the non-speech head; their
    clips of held-out speakers are left out, as are the training speakers of ``without``.

    Raises
    ------
    ValueError
        Nothing is left to train on, or a mel image cannot be read.
    """

    def beside(folders: Sequence[Path]) -> list[tuple[Path, Sequence[MelImageRow]]]:
        return [(f, without_held_out(read_rows(f, recipe.image), division)) for f in folders]

    wanted = set(recipe.channels.split("+"))
    training = [
        clip
        for folder, rows in [(images, division.train), *beside(also)]
        for clip in load_clips(folder, [r for r in rows if r.channel in wanted], recipe.image)
        if clip.speaker not in without
    ]
    if not training:
        left_out = f" (left out: {len(without)} speakers)" if without else ""
        raise ValueError(f"{images}: no clip of {recipe.channels} to train on{left_out}")
    head = [c for f, rows in beside(head_speech) for c in load_clips(f, rows, recipe.image)]
    scored = {
        part: load_clips(images, rows, recipe.image)
        for part, rows in (("validation", division.validation), ("test", division.test))
        if rows
    }
    return SplitClips(training, head, scored)


def fingerprint(fold: str, training: Sequence[Clip], teachers: Sequence[Lineage]) -> str:
    """Hash of what must be the same when a run is resumed, beside its recipe."""
    lines = [f"{fold} {c.utterance} {c.emotion}" for c in training]
    lines += [teacher.name for teacher in teachers]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def find_checkpoint(out: Path, recipe: BaseRecipe, data: str, *, resume: bool) -> Path | None:
    """The checkpoint to resume from; None if a run begins anew.

    Raises
    ------
    ValueError
        The folder is taken, or its run cannot be resumed; the message says why.
    """
    if (out / METRICS).exists():
        raise ValueError(f"{out}: a finished run lies there; choose another folder or remove it")
    path = last_checkpoint(out)
    if not path.exists():
        return None
    if not resume:
        raise ValueError(f"{out}: an unfinished run lies there; --resume resumes it")
    try:
        held = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
        before, data_before = type(recipe).from_dict(yaml.safe_load(held["recipe"])), held["data"]
    except Exception as error:  # whatever a damaged file makes torch raise
        raise ValueError(f"{path}: no checkpoint of this program: {error}") from None
    other = recipe.differences(before) + (["seed"] if recipe.seed != before.seed else [])
    if other:
        raise ValueError(f"{out}: its unfinished run has other {', '.join(other)}")
    if data != data_before:
        raise ValueError(
            f"{out}: its unfinished run was trained on other clips or another fold, or by "
            "other teachers"
        )
    return path


def class_weights(training: Sequence[Clip], recipe: BaseRecipe) -> torch.Tensor:
    """Weights of the loss; ``balanced`` makes every emotion count the same, mean 1 over clips."""
    counts = np.bincount([clip.emotion for clip in training], minlength=len(EMOTIONS))
    if recipe.class_weights == "none":
        return torch.ones(len(EMOTIONS))
    weights = len(training) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.tensor(np.where(counts > 0, weights, 1.0), dtype=torch.float32)
