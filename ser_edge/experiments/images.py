"""Planned runs -> the mel images that they are trained on, rendered where they are missing."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from tqdm import tqdm

from ser_edge.corpora import CORPORA, Problem
from ser_edge.data.render import read_index, render
from ser_edge.experiments.plan import PlannedRun
from ser_edge.mel.spec import MelImageSpec

Rendering: TypeAlias = tuple[str, MelImageSpec]
"""A corpus and the specification of its mel images."""


def make_images(
    runs: Iterable[PlannedRun], data: Path, images: Path, *, progress: bool = True
) -> tuple[dict[Rendering, Path], list[Problem]]:
    """Render what runs need and is not rendered yet.

    Parameters
    ----------
    runs : iterable of PlannedRun
    data : Path
        A folder for each corpus.
    images : Path
        Renderings: ``<corpus>`` where it has the right specification, else ``<corpus>-<digest>``.
    progress : bool
        Show a bar for each rendering.

    Returns
    -------
    dict
        Rendering -> its folder.
    list of Problem
        Recordings that could not be rendered.

    Raises
    ------
    ValueError
        The recordings of a corpus are needed and not there; nothing is rendered then.
    """
    folders: dict[Rendering, Path] = {}
    missing: list[Rendering] = []
    for run in runs:
        experiment = run.experiment
        for corpus in (*experiment.corpora, *experiment.speech):
            rendering = (corpus, experiment.recipe.image)
            if rendering not in folders:
                folders[rendering] = _folder(rendering, images)
                if not _is_rendered(folders[rendering], rendering[1]):
                    missing.append(rendering)
            waveforms = experiment.recipe.sound.any and corpus in experiment.corpora
            if (waveforms or rendering in missing) and not (data / corpus).is_dir():
                raise ValueError(f"{data / corpus}: {run} needs it, there is no such folder")
    problems: list[Problem] = []
    for corpus, spec in missing:
        scan = CORPORA[corpus].scan(data / corpus)
        if not scan.utterances:
            raise ValueError(f"{data / corpus}: no {corpus} recording in it")
        if progress:
            tqdm.write(f"{folders[corpus, spec]}: rendering {corpus}", file=sys.stderr)
        report = render(scan.utterances, folders[corpus, spec], spec, progress=progress)
        problems += report.problems
    return folders, problems


def _folder(rendering: Rendering, images: Path) -> Path:
    corpus, spec = rendering
    if _is_rendered(images / corpus, spec):
        return images / corpus
    return images / f"{corpus}-{hashlib.sha256(spec.to_json().encode()).hexdigest()[:8]}"


def _is_rendered(folder: Path, spec: MelImageSpec) -> bool:
    """Whether a whole rendering of a specification lies there; its index is written last."""
    try:
        return read_index(folder)[0] == spec
    except ValueError:
        return False
