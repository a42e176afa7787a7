"""What every run begins with and leaves, whatever it trains: clips, checkpoints, whom it heard."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import nn

from ser_edge.config.base import AnyRecipe
from ser_edge.data.datasets import Clip, load_clips
from ser_edge.data.render import Picture, read_rows
from ser_edge.data.splits import Division, apart_from
from ser_edge.emotions import EMOTIONS
from ser_edge.runs.inference import METRICS
from ser_edge.runs.lineage import Lineage
from ser_edge.training.trainer import last_checkpoint


@dataclass(frozen=True)
class Heard:
    """What a run hears: ``voices`` by a gate alone, ``scored`` by part and never in training."""

    training: list[Clip]
    voices: list[Clip]
    scored: dict[str, list[Clip]]

    @property
    def speakers(self) -> set[str]:
        return {clip.speaker for clip in self.training}


def hear(
    images: Path,
    recipe: AnyRecipe,
    division: Division[Picture],
    *,
    also: Sequence[Path] = (),
    gate_speech: Sequence[Path] = (),
) -> Heard:
    """Load what the division lets be heard.

    Parameters
    ----------
    images : Path
        A rendering to the recipe's specification, which was divided.
    recipe : AnyRecipe
    division : Division
    also : sequence of Path
        Further renderings to train on; their clips of speakers who are scored are left out.
    gate_speech : sequence of Path
        Further renderings that a gate alone hears, likewise.

    Raises
    ------
    ValueError
        Nothing is left to train on, or a picture cannot be read.
    """
    wanted = set(recipe.channels.split("+"))
    heard: list[tuple[Path, Sequence[Picture]]] = [(images, division.train)]
    heard += [(i, apart_from(read_rows(i, recipe.image), division)) for i in also]
    training = [
        clip
        for folder, rows in heard
        for clip in load_clips(folder, [r for r in rows if r.channel in wanted], recipe.image)
    ]
    if not training:
        raise ValueError(f"{images}: no clip of {recipe.channels} to train on")
    voices = [
        clip
        for folder in gate_speech
        for clip in load_clips(
            folder, apart_from(read_rows(folder, recipe.image), division), recipe.image
        )
    ]
    scored = {
        part: load_clips(images, rows, recipe.image)
        for part, rows in (("validation", division.validation), ("test", division.test))
        if rows
    }
    return Heard(training, voices, scored)


def fingerprint(fold: str, training: Sequence[Clip], taught_by: Sequence[Lineage]) -> str:
    """What a run that is gone on with must have had as well."""
    lines = [f"{fold} {c.utterance} {c.emotion}" for c in training]
    lines += [teacher.name for teacher in taught_by]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def speaker_record(
    clips: Heard, division: Division[Picture], lineage: Sequence[Lineage]
) -> dict[str, Any]:
    """Speakers and corpora for :class:`ser_edge.runs.record.RunRecord`, inherited ones too."""
    inherited = {s for run in lineage for s in run.speakers}.union(v.speaker for v in clips.voices)
    return {
        "inherited_speakers": tuple(sorted(inherited - clips.speakers)),
        "speakers": {
            "train": sorted(clips.speakers),
            "validation": sorted({row.speaker for row in division.validation}),
            "test": sorted({row.speaker for row in division.test}),
        },
        "training_clips": len(clips.training),
        "corpora": tuple(
            sorted(set(corpora_of(clips.training)).union(*(run.corpora for run in lineage)))
        ),
    }


def corpora_of(clips: Sequence[Clip]) -> list[str]:
    """Names of the corpora that clips are of, sorted."""
    return sorted({clip.rows[0].corpus for clip in clips})


def unfinished(out: Path, recipe: AnyRecipe, data: str, *, resume: bool) -> Path | None:
    """The checkpoint to go on from, if that is wanted and there is one that fits.

    Raises
    ------
    ValueError
        The folder is taken, or its run cannot be gone on with; the message says why.
    """
    if (out / METRICS).exists():
        raise ValueError(f"{out}: a finished run lies there; choose another folder or remove it")
    path = last_checkpoint(out)
    if not path.exists():
        return None
    if not resume:
        raise ValueError(f"{out}: an unfinished run lies there; --resume goes on with it")
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


def class_weights(training: Sequence[Clip], recipe: AnyRecipe) -> torch.Tensor:
    """Weights of the loss; ``balanced`` makes every emotion count the same, mean 1 over clips."""
    counts = np.bincount([clip.emotion for clip in training], minlength=len(EMOTIONS))
    if recipe.class_weights == "none":
        return torch.ones(len(EMOTIONS))
    weights = len(training) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return torch.tensor(np.where(counts > 0, weights, 1.0), dtype=torch.float32)


def saved_weights(net: nn.Module) -> dict[str, torch.Tensor]:
    """Weights as safetensors takes them: on the CPU, each on its own."""
    return {name: value.detach().cpu().contiguous() for name, value in net.state_dict().items()}
