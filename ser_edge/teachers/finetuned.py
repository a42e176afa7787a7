"""A fine-tuned network as teacher: soft targets of clips, for a network of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ser_edge.config.hardware import Hardware
from ser_edge.config.ssl import SSLRecipe
from ser_edge.metrics import classification
from ser_edge.metrics.classification import ClipPrediction
from ser_edge.provenance import provenance
from ser_edge.runs.inference import CONFIG, METRICS, clip_predictions, load_run_model
from ser_edge.runs.lineage import corpora_of, run_lineage
from ser_edge.runs.record import read_run
from ser_edge.teachers.frozen import check_name, taught_clips
from ser_edge.training.distill import write_soft_targets
from ser_edge.training.fit import Sources, fit


def teach_tuned(
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

    With one part, the run itself says what it hears in them. It has learnt them, so that it says
    little more than their labels, softened. With several, so many further networks are fine-tuned
    by the run's recipe, each without a group of the training speakers, of whom it then speaks;
    they lie in ``RUN/parts-N/part-K``, and where that was broken off it goes on.

    Parameters
    ----------
    run : Path
        A finished run of :func:`ser_edge.training.fit.fit`.
    images, sounds, out, fold, also
        As :func:`ser_edge.teachers.frozen.teach` takes them.
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
    check_name(out)
    if parts < 1:
        raise ValueError(f"parts is {parts}, allowed: 1 or more")
    origin = provenance()
    recipe = SSLRecipe.read(run / CONFIG)
    read_run(run, fold)
    spec, clips = taught_clips(images, fold, recipe.seed, also)
    if spec != recipe.image:
        raise ValueError(f"{images}: rendered as {spec}, {run} wants {recipe.image}")
    names = sorted({clip.speaker for clip in clips})
    if parts > len(names):
        raise ValueError(f"parts is {parts}, there are {len(names)} training speakers")
    if parts == 1:
        networks = {run: frozenset(names)}
    else:
        below = run / f"parts-{parts}"
        networks = {below / f"part-{k + 1}": frozenset(names[k::parts]) for k in range(parts)}
        for folder, without in networks.items():
            if not (folder / METRICS).is_file():
                fit(
                    Sources(images, also=also, sounds=sounds, without=without),
                    folder,
                    recipe,
                    fold,
                    hardware=hardware,
                    resume=True,
                    progress=progress,
                )
    lineages = [run_lineage(folder) for folder in networks]
    said: dict[tuple[str, str], ClipPrediction] = {}
    for (folder, spoken_of), lineage in zip(networks.items(), lineages, strict=True):
        heard = sorted(lineage.speakers & spoken_of)
        if heard and parts > 1:
            raise ValueError(f"{folder}: it heard {heard[0]}, of whom it is to teach; remove it")
        group = [clip for clip in clips if clip.speaker in spoken_of]
        logits = load_run_model(folder, sounds, progress=progress).logits(group)
        for prediction in clip_predictions(logits, group, "train", fold):
            said[prediction.corpus, prediction.utterance] = prediction
    predictions = [said[clip.rows[0].corpus, clip.utterance] for clip in clips]
    record = {
        "teacher": {
            "run": run_lineage(run).name,
            "bundle": recipe.bundle,
            "parts": parts,
            "networks": [lineage.name for lineage in lineages],
        },
        "fold": fold,
        "seed": recipe.seed,
        "clips": len(clips),
        "corpora": sorted(set(corpora_of(clips)).union(*(h.corpora for h in lineages))),
        "speakers": {"train": sorted(set(names).union(*(h.speakers for h in lineages)))},
        "figures": classification.figures(predictions),
        "provenance": origin,
    }
    write_soft_targets(out, clips, torch.tensor([p.logits for p in predictions]), record)
    return record
