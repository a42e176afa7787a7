"""What a run takes over from networks that were trained before it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

from ser_edge.metrics.classification import read_predictions
from ser_edge.runs.inference import METRICS, PREDICTIONS, WEIGHTS


@dataclass(frozen=True)
class Heritage:
    """Where weights or soft targets come from.

    ``name`` is that of the folder or file and the sha256 of what is in it; ``speakers`` are all
    whose voices went into it, also through its own teachers. ``held_back`` are the utterances that
    a run on clips divided at random did not hear; empty for all others.
    """

    name: str
    corpora: frozenset[str]
    speakers: frozenset[str]
    held_back: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Unheard:
    """What a network that a run takes over from must not have heard.

    Parameters
    ----------
    speakers : frozenset of str
        Who is scored or kept apart.
    clips : frozenset of str
        Utterances that are scored, where clips were divided at random: their speakers are heard
        all the same (that is the leak which such a run is there to show), they are not.
    """

    speakers: frozenset[str]
    clips: frozenset[str] = frozenset()


def heritage_of_run(folder: Path) -> Heritage:
    """That of a run or a model folder.

    Raises
    ------
    ValueError
        It is no finished run, or does not say what it was trained on; the message names the file.
    """
    found = read_heritage(folder / METRICS, folder.name, folder / WEIGHTS)
    if not json.loads((folder / METRICS).read_text()).get("leaky"):
        return found
    scored = read_predictions(folder / PREDICTIONS)
    return replace(found, held_back=frozenset(p.utterance for p in scored))


def read_heritage(record: Path, name: str, content: Path) -> Heritage:
    """What a JSON record says of the content of another file.

    Parameters
    ----------
    record : Path
        With ``corpora``, ``speakers.train`` and, if there are any, ``inherited_speakers``.
    name : str
    content : Path
        What the sha256 is of.

    Raises
    ------
    ValueError
        As :func:`heritage_of_run`.
    """
    try:
        values = json.loads(record.read_text())
        speakers = {*values["speakers"]["train"], *values.get("inherited_speakers", ())}
        corpora = frozenset(values["corpora"])
    except OSError as error:
        raise ValueError(f"{record}: {error.strerror}") from None
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{record}: it does not say on which corpora and speakers it was trained: {error!r}"
        ) from None
    return Heritage(name_and_hash(name, content), corpora, frozenset(speakers))


def name_and_hash(name: str, content: Path) -> str:
    """``name sha256``."""
    try:
        return f"{name} {hashlib.sha256(content.read_bytes()).hexdigest()}"
    except OSError as error:
        raise ValueError(f"{content}: {error.strerror}") from None


def refuse_leak(path: Path, heritage: Heritage, unheard: Unheard) -> None:
    """See to it that a teacher, or weights to average with, has heard nobody who is scored.

    Either would carry the test speakers' voices into the run. Where clips are divided at random, it
    must have held back the same clips.

    Parameters
    ----------
    path : Path
        Named in the message.
    heritage : Heritage
    unheard : Unheard

    Raises
    ------
    ValueError
        It has heard some of that; the message names them.
    """
    heard = sorted(heritage.speakers & unheard.speakers)
    if heard:
        raise ValueError(
            f"{path}: it would leak: it was trained on {', '.join(heard)}, whom this "
            "run is scored on or keeps apart; take one that was trained for the same fold"
        )
    if not unheard.clips <= heritage.held_back:
        count = len(unheard.clips - heritage.held_back)
        raise ValueError(
            f"{path}: it would leak: {count} clips that this run is scored on may be among those "
            "it was trained on; take one of the same division at random (fold and seed)"
        )
