"""A fine-tuned speech encoder as teacher: soft targets of clips, for an image network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ser_edge.config.hardware import Hardware
from ser_edge.config.ssl import SSLRecipe
from ser_edge.data.datasets import Clip
from ser_edge.metrics.classification import ClipPrediction
from ser_edge.provenance import provenance
from ser_edge.runs.inference import CONFIG, METRICS, clip_predictions, load_run_model
from ser_edge.runs.lineage import Lineage, run_lineage
from ser_edge.runs.record import read_run
from ser_edge.teachers.frozen import check_csv, student_clips, target_record
from ser_edge.training.distill import write_soft_targets
from ser_edge.training.fit import Sources, fit


def finetuned_targets(
    run: Path,
    images: Path,
    sounds: Sequence[Path],
    out: Path,
    fold: str,
    *,
    also: Sequence[Path] = (),
    parts: int = 1,
    hardware: Hardware | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Write soft targets for the training clips of a fold.

    With one part, the run itself scores them. It was trained on them, so that its scores say little
    more than their labels, softened. With several, so many further networks are fine-tuned by the
    run's recipe, each without a group of the training speakers, whom it then scores; they lie in
    ``RUN/parts-N/part-K``, and are resumed there.

    Parameters
    ----------
    run : Path
        A finished run of a speech encoder.
    images, sounds, out, fold, also
        As :func:`ser_edge.teachers.frozen.frozen_targets` takes them.
    parts : int
        Groups of speakers, each left out once; 1: nobody is.
    hardware : Hardware, optional
    progress : bool
        Show bars.

    Returns
    -------
    dict
        The record; its ``figures`` are those of the targets themselves.

    Raises
    ------
    ValueError
        The run is none of that fold, the file, rendering or recordings are not what is needed, or
        there are too few speakers for so many parts.
    """
    check_csv(out)
    if parts < 1:
        raise ValueError(f"parts is {parts}, allowed: 1 or more")
    origin = provenance()
    recipe = SSLRecipe.read(run / CONFIG)
    read_run(run, fold)
    spec, clips = student_clips(images, fold, recipe.seed, also)
    if spec != recipe.image:
        raise ValueError(f"{images}: rendered as {spec}, {run} wants {recipe.image}")
    names = sorted({clip.speaker for clip in clips})
    networks = _networks(run, names, parts)
    if parts > 1:
        for folder, left_out in networks.items():
            if not (folder / METRICS).is_file():
                sources = Sources(images, also=also, sounds=sounds, without=left_out)
                fit(sources, folder, recipe, fold, hardware=hardware, resume=True,
                    progress=progress)  # fmt: skip
    lineages = [run_lineage(folder) for folder in networks]
    if parts > 1:
        _check_left_out(networks, lineages)
    predictions = _predictions(networks, clips, sounds, fold, progress=progress)
    teacher = {
        "run": run_lineage(run).name,
        "bundle": recipe.bundle,
        "parts": parts,
        "networks": [lineage.name for lineage in lineages],
    }
    record = target_record(teacher, fold, recipe.seed, clips, lineages, predictions)
    record["provenance"] = origin
    write_soft_targets(out, clips, torch.tensor([p.logits for p in predictions]), record)
    return record


def _networks(run: Path, speakers: Sequence[str], parts: int) -> dict[Path, frozenset[str]]:
    """Folders of the networks that score, and whom each scores."""
    if parts > len(speakers):
        raise ValueError(f"parts is {parts}, there are {len(speakers)} training speakers")
    if parts == 1:
        return {run: frozenset(speakers)}
    below = run / f"parts-{parts}"
    return {below / f"part-{k + 1}": frozenset(speakers[k::parts]) for k in range(parts)}


def _check_left_out(networks: Mapping[Path, frozenset[str]], lineages: Sequence[Lineage]) -> None:
    for (folder, scored), lineage in zip(networks.items(), lineages, strict=True):
        if trained_on := sorted(lineage.speakers & scored):
            raise ValueError(
                f"{folder}: it was trained on {trained_on[0]}, whom it is to score; remove it"
            )


def _predictions(
    networks: Mapping[Path, frozenset[str]],
    clips: Sequence[Clip],
    sounds: Sequence[Path],
    fold: str,
    *,
    progress: bool,
) -> list[ClipPrediction]:
    """Of clips in order, each by the network of its speaker."""
    found: dict[tuple[str, str], ClipPrediction] = {}
    for folder, scored in networks.items():
        group = [clip for clip in clips if clip.speaker in scored]
        logits = load_run_model(folder, sounds, progress=progress).logits(group)
        for prediction in clip_predictions(logits, group, "train", fold):
            found[prediction.corpus, prediction.utterance] = prediction
    return [found[clip.rows[0].corpus, clip.utterance] for clip in clips]
