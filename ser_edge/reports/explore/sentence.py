"""The same sentence, by the same speaker, in every emotion that a corpus has of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ser_edge.corpora.base import Utterance
from ser_edge.emotions import emotion_index

_CLEAREST: Final = ("strong", "unknown", "normal")  # of several intensities


def same_sentence(
    utterances: Sequence[Utterance], speaker: str = "", statement: str = ""
) -> tuple[Utterance, ...]:
    """One utterance an emotion, in the order of the emotions.

    Parameters
    ----------
    utterances : sequence of Utterance
    speaker : str
        Its name, or how it ends (``07`` of ``ravdess-07``); the one with most emotions if empty.
    statement : str
        How it begins, in any case; the one with most emotions if empty.

    Returns
    -------
    tuple of Utterance
        Spoken ones go before sung ones, strong intensity before normal. Empty where nobody says
        anything in two emotions, or where it is not known what is said.

    Raises
    ------
    ValueError
        No such speaker or statement; the message names those that there are.
    """
    found = [u for u in utterances if u.statement]
    if speaker:
        names = sorted({u.speaker for u in utterances})
        found = [u for u in found if u.speaker == speaker or u.speaker.endswith(f"-{speaker}")]
        if not found:
            raise ValueError(f"speaker is {speaker}, allowed: {_some(names)}")
    if statement:
        said = sorted({u.statement for u in found})
        found = [u for u in found if u.statement.lower().startswith(statement.lower())]
        if not found:
            raise ValueError(f"sentence is {statement}, allowed: {_some(said) or 'none is known'}")
    groups: dict[tuple[bool, str, str], dict[str, Utterance]] = {}
    for u in sorted(found, key=lambda u: (_CLEAREST.index(u.intensity), u.repetition, u.name)):
        groups.setdefault((u.channel == "song", u.speaker, u.statement), {}).setdefault(
            u.emotion, u
        )
    if not groups:
        return ()
    best = min(groups, key=lambda key: (-len(groups[key]), key))
    if len(groups[best]) < 2:
        return ()
    return tuple(sorted(groups[best].values(), key=lambda u: emotion_index(u.emotion)))


def _some(names: Sequence[str], shown: int = 12) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
