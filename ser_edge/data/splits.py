"""Folds: what is trained on, validated on, tested on.

Folds 1 to 5 are actor-disjoint. Their test actors are EmoBox's (Ma et al., Interspeech 2024,
``data/ravdess/fold_1..6``); the validation actors, a man and a woman a fold, are this project's
choice. A random division of clips is here to show what it does to a figure, and for people who
train on one voice that is the one to be recognised.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Generic, Protocol, TypeVar

EMOBOX_TEST_ACTORS: Final[Mapping[int, tuple[int, ...]]] = MappingProxyType(
    {
        1: (1, 11, 20, 21),
        2: (4, 10, 12, 14),
        3: (8, 9, 19, 23),
        4: (3, 5, 7, 24),
        5: (2, 15, 16, 18),
        6: (6, 13, 17, 22),
    }
)

VALIDATION_ACTORS: Final[Mapping[int, tuple[int, ...]]] = MappingProxyType(
    {1: (9, 10), 2: (3, 2), 3: (5, 12), 4: (1, 16), 5: (7, 20)}
)

FINAL_TEST_FOLD: Final = 6
"""Its actors are reserved: they are never trained on, whatever is asked for."""

ALL: Final = "all"
"""Train on everybody but fold 6's actors: for a model that ships."""

RANDOM: Final = "random"
"""Divide clips at random. Leaky: each speaker is in training and in the test."""

SPEAKERS: Final = "speakers"
"""Divide speakers at random: for corpora that have no folds of their own."""

FOLDS: Final = (*map(str, VALIDATION_ACTORS), ALL, RANDOM, SPEAKERS)

TEST_SHARE: Final = 0.2
VALIDATION_SHARE: Final = 0.1

_COPIES: Final = frozenset({"03-01-03-01-02-02-07"})
"""Published twice, byte for byte, as another repetition: no random division may hold both."""


class SplitRow(Protocol):
    """What a division needs to know of a clip or of a part of it."""

    @property
    def corpus(self) -> str: ...
    @property
    def utterance(self) -> str: ...
    @property
    def speaker(self) -> str: ...
    @property
    def emotion(self) -> str: ...
    @property
    def channel(self) -> str: ...


T = TypeVar("T", bound=SplitRow)


@dataclass(frozen=True)
class Division(Generic[T]):
    """What is trained on, and the speech that is scored: empty where a fold has no such part."""

    train: tuple[T, ...]
    validation: tuple[T, ...]
    test: tuple[T, ...]


@dataclass(frozen=True)
class Split:
    """Speakers by what they are used for; no speaker is in two of the three."""

    train: frozenset[str]
    validation: frozenset[str]
    test: frozenset[str]


def divide(rows: Sequence[T], fold: str, seed: int, *, refit: bool = False) -> Division[T]:
    """Divide what there is of a rendering for one fold.

    Parameters
    ----------
    rows : sequence
        Rows of an index, say; all of an utterance stay together.
    fold : str
        One of :data:`FOLDS`.
    seed : int
        Of the divisions at random.
    refit : bool
        Train on whom a recipe is chosen by as well, once it is: there is no validation then.

    Returns
    -------
    Division
        Song is trained on alone, never scored (the protocol scores speech).

    Raises
    ------
    ValueError
        If there is no such fold, or a part would be empty.
    """
    if fold not in FOLDS:
        raise ValueError(f"fold is {fold!r}, allowed: {', '.join(FOLDS)}")
    if refit and fold == ALL:
        raise ValueError(f"fold {ALL} holds nobody back whom a refit could train on as well")
    if fold == RANDOM:
        if refit:
            raise ValueError(f"fold {RANDOM} is no fold to refit: its figure is not for choosing")
        return _divide_clips(rows, seed)
    split = split_speakers({row.speaker for row in rows}, fold, seed)
    if refit:
        split = Split(split.train | split.validation, frozenset(), split.test)
    return Division(
        tuple(row for row in rows if row.speaker in split.train),
        tuple(r for r in rows if r.speaker in split.validation and r.channel == "speech"),
        tuple(r for r in rows if r.speaker in split.test and r.channel == "speech"),
    )


def without_held_out(rows: Iterable[T], division: Division[T]) -> list[T]:
    """What may be trained on beside a division: nobody who is scored in it or reserved."""
    held_out = held_out_speakers(division)
    return [row for row in rows if row.speaker not in held_out]


def held_out_speakers(division: Division[T]) -> frozenset[str]:
    """Who is scored in a division or reserved for the final test: nobody is trained on them."""
    scored = {row.speaker for row in (*division.validation, *division.test)}
    return _reserved() | scored


def _divide_clips(rows: Sequence[T], seed: int) -> Division[T]:
    """At random by clip, emotion by emotion; fold 6's actors are in no part here either."""
    reserved = _reserved()
    allowed = [r for r in rows if r.speaker not in reserved and r.utterance not in _COPIES]
    by_emotion: dict[str, set[tuple[str, str]]] = {}
    for row in allowed:
        if row.channel == "speech":
            by_emotion.setdefault(row.emotion, set()).add((row.corpus, row.utterance))
    test: set[tuple[str, str]] = set()
    validation: set[tuple[str, str]] = set()
    shuffled = random.Random(seed)
    for emotion in sorted(by_emotion):
        names = sorted(by_emotion[emotion])
        if len(names) < 3:
            raise ValueError(
                f"fold {RANDOM}: {len(names)} clips of {emotion}, there should be 3 or more to "
                "train, validate and test on"
            )
        shuffled.shuffle(names)
        tested = max(1, round(TEST_SHARE * len(names)))
        test.update(names[:tested])
        validation.update(names[tested : tested + max(1, round(VALIDATION_SHARE * len(names)))])
    if not by_emotion:
        raise ValueError(f"fold {RANDOM}: no speech to divide")
    return Division(
        tuple(r for r in allowed if (r.corpus, r.utterance) not in test | validation),
        tuple(r for r in allowed if (r.corpus, r.utterance) in validation),
        tuple(r for r in allowed if (r.corpus, r.utterance) in test),
    )


def split_speakers(speakers: Iterable[str], fold: str, seed: int = 0) -> Split:
    """Divide speakers.

    Parameters
    ----------
    speakers : iterable of str
        As in :class:`ser_edge.corpora.Utterance`. Speakers of other corpora than RAVDESS are
        training speakers.
    fold : str
        ``1`` to ``5``, ``all`` or ``speakers``.
    seed : int
        Of ``speakers``.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        If there is no such fold, or nobody is left to train, validate or test on.
    """
    present = frozenset(speakers)
    reserved = _reserved()
    if fold == SPEAKERS:
        names = sorted(present - reserved)
        random.Random(seed).shuffle(names)
        tested = max(1, round(TEST_SHARE * len(names)))
        validated = tested + max(1, round(VALIDATION_SHARE * len(names)))
        test, validation = frozenset(names[:tested]), frozenset(names[tested:validated])
    elif fold == ALL:
        test = validation = frozenset()
    else:
        if not fold.isdecimal() or int(fold) not in VALIDATION_ACTORS:
            allowed = ", ".join([*map(str, VALIDATION_ACTORS), ALL, SPEAKERS])
            raise ValueError(f"fold is {fold!r}, allowed: {allowed} (6 is the final test)")
        test = present & {_speaker(actor) for actor in EMOBOX_TEST_ACTORS[int(fold)]}
        validation = present & {_speaker(actor) for actor in VALIDATION_ACTORS[int(fold)]}
    train = present - test - validation - reserved
    for role, chosen, wanted in (
        ("train", train, True),
        ("validate", validation, fold != ALL),
        ("test", test, fold != ALL),
    ):
        if wanted and not chosen:
            raise ValueError(f"fold {fold}: no speaker to {role} on among {len(present)} speakers")
    return Split(train, validation, test)


def _reserved() -> frozenset[str]:
    return frozenset(_speaker(actor) for actor in EMOBOX_TEST_ACTORS[FINAL_TEST_FOLD])


def _speaker(actor: int) -> str:
    return f"ravdess-{actor:02d}"
