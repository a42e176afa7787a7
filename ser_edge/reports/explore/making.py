"""Files -> pages: what the commands of ``scripts/explore.py`` do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from tqdm import tqdm

from ser_edge.audio.base import AudioError, Float32
from ser_edge.audio.decode import load
from ser_edge.audio.files import files_below, sound_suffixes
from ser_edge.corpora import CORPORA, Utterance
from ser_edge.corpora.inspection import inspect
from ser_edge.mel.spec import MelImageSpec
from ser_edge.provenance import provenance
from ser_edge.reports.explore import drawing
from ser_edge.reports.explore.sentence import same_sentence
from ser_edge.reports.explore.voice import Voice, look, measure

if TYPE_CHECKING:
    from ser_edge.config.recipe import Recipe

MOST_OTHERS: Final = 8
"""Other voices that babble is made of; from all over the folder."""


@dataclass(frozen=True)
class Made:
    """A page; ``problems`` says what could not be shown and why, a sentence each; ``failed``
    whether something of it is broken rather than not there."""

    page: str
    problems: tuple[str, ...] = ()
    failed: bool = False


def augmentations(
    path: Path, recipe: Recipe, *, others: Path | None = None, seed: int = 1, progress: bool = True
) -> Made:
    """The page of a clip under every augmentation.

    Parameters
    ----------
    path : Path
        A sound.
    recipe : Recipe
        Its values are named, its image is drawn.
    others : Path, optional
        Folder of other voices; the clip's own if not given.
    seed : int
    progress : bool
        Show a bar.

    Raises
    ------
    ValueError
        The clip cannot be read (an ``AudioError``) or is silent; there is no such folder.
    """
    from ser_edge.reports.explore.augmentations import STEPS, tour  # torch

    rate = recipe.image.sample_rate
    clip = _load(path, rate)
    voices, problems = _others(path, path.parent if others is None else others, rate)
    with tqdm(total=STEPS, unit="", desc="drawing", disable=not progress) as bar:

        def advance(title: str) -> None:
            bar.set_postfix_str(title)
            bar.update()

        found = tour(clip, voices, recipe, seed=seed, progress=advance)
    if found.left_out:
        problems.append(f"left out for want of other voices (--others): {found.left_out}")
    return Made(drawing.tour_page(found, recipe, path.name, seed, provenance()), tuple(problems))


def clip(path: Path) -> Made:
    """The page of one sound.

    Raises
    ------
    ValueError
        It cannot be read (an ``AudioError``) or is silent, or librosa is not installed.
    """
    spec = MelImageSpec()
    waveform = _load(path, spec.sample_rate)
    part = drawing.shortened(waveform, spec.sample_rate)
    try:
        views = look(part, spec)
    except ValueError as error:
        raise _named(path, error) from None
    seconds = len(waveform) / spec.sample_rate
    return Made(drawing.clip_page(views, path.name, seconds, provenance()))


def corpus(
    name: str,
    folder: Path,
    *,
    speaker: str = "",
    statement: str = "",
    workers: int = 1,
    progress: bool = True,
) -> Made:
    """The page of a corpus.

    Parameters
    ----------
    name : str
        In the registry.
    folder : Path
    speaker, statement : str
        As :func:`same_sentence` takes them.
    workers : int
        Threads that read.
    progress : bool
        Show a bar.

    Raises
    ------
    ValueError
        No such folder, no recording of that corpus, speaker or sentence; no librosa.
    """
    scan = CORPORA[name].scan(folder)
    if not scan.utterances:
        raise ValueError(f"{folder}: no {name} recording in it")
    chosen = same_sentence(scan.utterances, speaker, statement)
    spoken, problems = _spoken(chosen, MelImageSpec(), progress=progress)
    found = inspect(name, folder, scan, workers=workers, progress=progress)
    problems += [f"unreadable: {problem}" for problem in found.unreadable]
    page = drawing.corpus_page(found, CORPORA[name], spoken, provenance())
    return Made(page, tuple(problems), bool(problems))


def _spoken(
    chosen: Sequence[Utterance], spec: MelImageSpec, *, progress: bool
) -> tuple[list[tuple[Utterance, Voice]], list[str]]:
    spoken, problems = [], []
    for utterance in tqdm(chosen, unit="voice", desc="measuring", disable=not progress):
        try:
            waveform = _load(utterance.path, spec.sample_rate)
            part = drawing.shortened(waveform, spec.sample_rate)
            spoken.append((utterance, measure(part, spec)))
        except AudioError as error:
            problems.append(str(error))
    return spoken, problems


def _load(path: Path, rate: int) -> Float32:
    """A sound that is not silent."""
    waveform = load(path, rate)
    if not np.any(waveform):
        raise AudioError(str(path), "it is silent, there is nothing to see")
    return waveform


def _named(path: Path, error: ValueError) -> ValueError:
    return error if str(path) in str(error) else type(error)(f"{path}: {error}")


def _others(path: Path, folder: Path, rate: int) -> tuple[list[Float32], list[str]]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    found = [p for p in files_below(folder, sound_suffixes()) if not p.samefile(path)]
    places = np.linspace(0, len(found) - 1, min(MOST_OTHERS, len(found))).round().astype(int)
    voices, problems = [], []
    for place in places.tolist():
        try:
            voices.append(_load(found[place], rate))
        except AudioError as error:
            problems.append(f"not among the other voices: {error}")
    return voices, problems
