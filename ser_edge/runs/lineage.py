"""What weights and soft targets were trained on, and the check that nothing of it is scored."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ser_edge.data.datasets import Clip
from ser_edge.data.render import MelImageRow
from ser_edge.data.splits import RANDOM, Division, held_out_speakers
from ser_edge.metrics.classification import read_predictions
from ser_edge.runs.inference import METRICS, PREDICTIONS, WEIGHTS
from ser_edge.runs.record import RunRecord

_NEEDS: Final = ("corpora", "speakers")


@dataclass(frozen=True)
class Lineage:
    """Where weights or soft targets come from.

    Attributes
    ----------
    name : str
        Of the folder or file, and the sha256 of its content.
    corpora : frozenset of str
        Trained on, also by way of its own teachers.
    speakers : frozenset of str
        Likewise.
    held_back : frozenset of str
        Utterances that a run on clips divided at random was not trained on; empty for all others.
    """

    name: str
    corpora: frozenset[str]
    speakers: frozenset[str]
    held_back: frozenset[str] = frozenset()


@dataclass(frozen=True)
class HeldOut:
    """What nothing that a run builds on may have been trained on.

    Attributes
    ----------
    speakers : frozenset of str
        Scored, or reserved for the final test.
    clips : frozenset of str
        Utterances that are scored, where clips are divided at random. Their speakers are trained on
        all the same (that is the leak which such a run is there to show), they are not.
    """

    speakers: frozenset[str]
    clips: frozenset[str] = frozenset()


def held_out_by(division: Division[MelImageRow], fold: str) -> HeldOut:
    """A division -> what no other network that a run on it builds on may be trained on."""
    speakers = held_out_speakers(division)
    if fold != RANDOM:
        return HeldOut(speakers)
    scored = (*division.validation, *division.test)
    return HeldOut(
        speakers - {row.speaker for row in scored}, frozenset(row.utterance for row in scored)
    )


def run_lineage(folder: Path) -> Lineage:
    """A run or a model folder -> its lineage.

    Raises
    ------
    ValueError
        It is no finished run, or does not say what it was trained on; the message names the file.
    """
    record = RunRecord.read(folder / METRICS, _NEEDS)
    held_back: frozenset[str] = frozenset()
    if record.leaky:
        held_back = frozenset(p.utterance for p in read_predictions(folder / PREDICTIONS))
    name = _name_and_hash(folder.name, folder / WEIGHTS)
    return Lineage(name, frozenset(record.corpora), _speakers(record, folder / METRICS), held_back)


def file_lineage(path: Path, record: Path) -> Lineage:
    """A file of soft targets and the JSON beside it -> its lineage.

    Raises
    ------
    ValueError
        A file is missing, or ``record`` lacks ``corpora`` or ``speakers``; the message names it.
    """
    try:
        values = json.loads(record.read_text())
        found = RunRecord.from_dict({name: values[name] for name in _NEEDS})
    except OSError as error:
        raise ValueError(f"{record}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{record}: it does not say on which corpora and speakers it was trained: {error!r}"
        ) from None
    corpora, speakers = frozenset(found.corpora), _speakers(found, record)
    return Lineage(_name_and_hash(path.name, path), corpora, speakers)


def _speakers(record: RunRecord, path: Path) -> frozenset[str]:
    if "train" not in record.speakers:
        raise ValueError(f"{path}: speakers does not say who was trained on: train is missing")
    return record.all_speakers


def _name_and_hash(name: str, content: Path) -> str:
    try:
        return f"{name} {hashlib.sha256(content.read_bytes()).hexdigest()}"
    except OSError as error:
        raise ValueError(f"{content}: {error.strerror}") from None


def check_no_leakage(path: Path, lineage: Lineage, held_out: HeldOut) -> None:
    """Check that what a run builds on was not trained on what the run is scored on.

    Otherwise a teacher, or weights to average with, would carry the test speakers' voices into the
    run. Where clips are divided at random, the same clips must have been held back.

    Parameters
    ----------
    path : Path
        Named in the message.
    lineage : Lineage
    held_out : HeldOut

    Raises
    ------
    ValueError
        It was trained on some of that; the message names them.
    """
    trained_on = sorted(lineage.speakers & held_out.speakers)
    if trained_on:
        raise ValueError(
            f"{path}: it would leak: it was trained on {', '.join(trained_on)}, who are held out "
            "in this run; take one that was trained for the same fold"
        )
    if not held_out.clips <= lineage.held_back:
        count = len(held_out.clips - lineage.held_back)
        raise ValueError(
            f"{path}: it would leak: {count} clips that this run is scored on may be among those "
            "it was trained on; take one of the same division at random (fold and seed)"
        )


def speaker_record(
    division: Division[MelImageRow],
    training: Sequence[Clip],
    head_speech: Sequence[Clip],
    lineages: Sequence[Lineage],
) -> dict[str, Any]:
    """Speakers and corpora of a :class:`ser_edge.runs.record.RunRecord`, inherited ones too.

    Parameters
    ----------
    division : Division
    training, head_speech : sequence of Clip
        Trained on, and what the non-speech head alone is fitted to.
    lineages : sequence of Lineage
        Of the networks that the run builds on.
    """
    speakers = {clip.speaker for clip in training}
    inherited = {speaker for run in lineages for speaker in run.speakers}
    inherited |= {clip.speaker for clip in head_speech}
    corpora = set(corpora_of(training)).union(*(run.corpora for run in lineages))
    return {
        "inherited_speakers": tuple(sorted(inherited - speakers)),
        "speakers": {
            "train": sorted(speakers),
            "validation": sorted({row.speaker for row in division.validation}),
            "test": sorted({row.speaker for row in division.test}),
        },
        "training_clips": len(training),
        "corpora": tuple(sorted(corpora)),
    }


def corpora_of(clips: Sequence[Clip]) -> list[str]:
    """Names of the corpora of clips, sorted."""
    return sorted({clip.rows[0].corpus for clip in clips})
