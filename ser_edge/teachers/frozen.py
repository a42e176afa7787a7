"""A frozen speech encoder with a linear head as teacher: soft targets of the training clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ser_edge.data.datasets import Clip, load_clips, load_sounds
from ser_edge.data.render import read_index, read_rows
from ser_edge.data.splits import divide, without_held_out
from ser_edge.mel.spec import MelImageSpec
from ser_edge.metrics import classification
from ser_edge.metrics.classification import ClipPrediction
from ser_edge.nets.linear_head import cross_fitted
from ser_edge.nets.ssl_bundles import MEAN, Bundle, clip_features, load_bundle
from ser_edge.provenance import provenance
from ser_edge.runs.inference import clip_predictions
from ser_edge.runs.lineage import Lineage, corpora_of
from ser_edge.training.distill import write_soft_targets


@dataclass(frozen=True)
class HeadOptions:
    """How the head is made.

    ``layer`` is a number from 1 up or ``mean``; ``parts`` the groups of speakers, each left out
    once; ``seed`` that of a division at random, which must be the student's.
    """

    layer: str = MEAN
    l2: float = 0.01
    parts: int = 10
    seed: int = 1

    def __post_init__(self) -> None:
        for name, ok, allowed in (
            ("l2", self.l2 > 0, "above 0"),
            ("parts", self.parts >= 2, "2 or more"),
        ):
            if not ok:
                raise ValueError(f"{name} is {getattr(self, name)!r}, allowed: {allowed}")


def frozen_targets(
    bundle: Bundle,
    name: str,
    images: Path,
    sounds: Sequence[Path],
    out: Path,
    fold: str,
    *,
    also: Sequence[Path] = (),
    options: HeadOptions | None = None,
    device: str = "cpu",
    progress: bool = True,
) -> dict[str, Any]:
    """Write soft targets for the training clips of a fold.

    The head is trained on nobody who is scored in the fold, and no clip's targets come from a head
    that was trained on its speaker.

    Parameters
    ----------
    bundle : Bundle
    name : str
        Its name, for the record.
    images : Path
        What ``scripts/render.py`` wrote: says which clips there are.
    sounds : sequence of Path
        Folders with the recordings.
    out : Path
        A CSV file; its record is written beside it, as JSON.
    fold : str
        One of :data:`ser_edge.data.splits.FOLDS`.
    also : sequence of Path
        Further renderings that will be trained on.
    options : HeadOptions, optional
    device : str
        Where the network computes.
    progress : bool
        Show bars.

    Returns
    -------
    dict
        The record; its ``figures`` are those of the targets themselves, on held-out speakers.

    Raises
    ------
    ValueError
        The name of the file, the rendering, the recordings or the weights are not what is needed.
    """
    options = options or HeadOptions()
    check_csv(out)
    origin = provenance()
    spec, clips = student_clips(images, fold, options.seed, also)
    speakers = [clip.speaker for clip in clips]
    net = load_bundle(bundle, name)
    recordings = load_sounds(sounds, clips, spec, progress=progress)
    features = clip_features(
        net,
        bundle.sample_rate,
        recordings,
        spec.sample_rate,
        options.layer,
        device=device,
        progress=progress,
    )
    labels = torch.tensor([clip.emotion for clip in clips])
    logits = cross_fitted(features, labels, speakers, options.l2, options.parts)
    windows = torch.repeat_interleave(logits, torch.tensor([len(c.rows) for c in clips]), dim=0)
    predictions = clip_predictions(windows.numpy(), clips, "train", fold)
    teacher = {
        "bundle": name,
        "layer": options.layer,
        "l2": options.l2,
        "parts": min(options.parts, len(set(speakers))),
        "features": features.shape[1],
    }
    record = target_record(teacher, fold, options.seed, clips, (), predictions)
    record["provenance"] = origin
    write_soft_targets(out, clips, logits, record)
    return record


def target_record(
    teacher: dict[str, Any],
    fold: str,
    seed: int,
    clips: Sequence[Clip],
    lineages: Sequence[Lineage],
    predictions: Sequence[ClipPrediction],
) -> dict[str, Any]:
    """What is written beside soft targets: teacher, and whom it was trained on."""
    speakers = {clip.speaker for clip in clips}.union(*(known.speakers for known in lineages))
    corpora = set(corpora_of(clips)).union(*(known.corpora for known in lineages))
    return {
        "teacher": teacher,
        "fold": fold,
        "seed": seed,
        "clips": len(clips),
        "corpora": sorted(corpora),
        "speakers": {"train": sorted(speakers)},
        "figures": classification.figures(predictions),
    }


def student_clips(
    images: Path, fold: str, seed: int, also: Sequence[Path]
) -> tuple[MelImageSpec, list[Clip]]:
    """The clips that a student of a fold may be trained on, song too, and the specification.

    Raises
    ------
    ValueError
        A rendering is none, or of another specification than the first.
    """
    spec, rows = read_index(images)
    division = divide(rows, fold, seed)
    parts = [(images, division.train)]
    parts += [(extra, tuple(without_held_out(read_rows(extra, spec), division))) for extra in also]
    return spec, [clip for folder, rows in parts for clip in load_clips(folder, rows, spec)]


def check_csv(out: Path) -> None:
    """Check the name of a file of soft targets.

    Raises
    ------
    ValueError
        It does not end in ``.csv``.
    """
    if out.suffix != ".csv":
        raise ValueError(f"{out}: soft targets are written to a file that ends in .csv")
