"""Coarser labels: groups of the eight emotions, published ones and a user's own.

A grouping puts every emotion into exactly one group, and a group's score is the sum of its
emotions' scores. So the scores still sum to 1, and nothing has to be trained again.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from ser_edge.commandline.arguments import did_you_mean
from ser_edge.decision import Decision
from ser_edge.emotions import EMOTIONS, UNKNOWN

OTHER: Final = "other"
"""Group of the emotions that a published set of classes lacks."""

RESERVED: Final = (
    UNKNOWN, "file", "emotion", "confidence", "duration", "device", "model", "profile", "error",
)  # fmt: skip
"""Names that answers use as keys or CSV columns."""

_FILE_BYTES: Final = 100_000  # a sound given by mistake is not read to its end
_EXAMPLE: Final = "negative: sad angry fearful disgust"


@dataclass(frozen=True)
class Group:
    """A coarser label and its emotions, each one of :data:`ser_edge.emotions.EMOTIONS`."""

    name: str
    emotions: tuple[str, ...]


def _check(group: Group, before: Sequence[Group]) -> None:
    """Raise ValueError unless a group can stand after the others."""
    if not group.name or not group.name.isprintable():
        raise ValueError(f"a group is called {group.name!r}, it needs a name that can be printed")
    if group.name in RESERVED:
        raise ValueError(
            f"a group is called {group.name!r}, which means something else in an answer"
        )
    if group.name in [other.name for other in before]:
        raise ValueError(f"there are two groups {group.name!r}")
    if not group.emotions:
        raise ValueError(f"group {group.name!r} has no emotion")
    for number, emotion in enumerate(group.emotions):
        if emotion not in EMOTIONS:
            raise ValueError(f"{emotion[:60]!r} is none of {', '.join(EMOTIONS)}")
        if emotion in group.emotions[:number]:
            raise ValueError(f"{emotion!r} is twice in group {group.name!r}")
        for other in before:
            if emotion in other.emotions:
                raise ValueError(f"{emotion!r} is in group {other.name!r} already")


def _check_whole(what: str, groups: Sequence[Group]) -> None:
    """Raise ValueError unless all eight emotions are there, in two groups or more."""
    there = {emotion for group in groups for emotion in group.emotions}
    missing = [emotion for emotion in EMOTIONS if emotion not in there]
    if missing:
        raise ValueError(f"{what}: in no group: {', '.join(missing)}")
    if len(groups) < 2:
        raise ValueError(f"{what}: one group alone leaves nothing to classify")


@dataclass(frozen=True)
class Grouping:
    """The eight emotions, divided into groups.

    Parameters
    ----------
    name : str
        What it is called: one of :data:`GROUPINGS`, or a file.
    groups : tuple of Group
        In the order in which scores are given; every emotion is in exactly one of them.

    Raises
    ------
    ValueError
        Fewer than two groups, a group without a name or without an emotion, a name given twice or
        needed for something else, or an emotion that is unknown, missing or in two groups.
    """

    name: str
    groups: tuple[Group, ...]

    def __post_init__(self) -> None:
        for number, group in enumerate(self.groups):
            try:
                _check(group, self.groups[:number])
            except ValueError as error:
                raise ValueError(f"labels {self.name}: {error}") from None
        _check_whole(f"labels {self.name}", self.groups)

    @property
    def names(self) -> tuple[str, ...]:
        """The coarser labels in their order."""
        return tuple(group.name for group in self.groups)

    def index(self, emotion: str) -> int:
        """Position of the group that an emotion belongs to.

        Raises
        ------
        ValueError
            If ``emotion`` is none of the eight.
        """
        for number, group in enumerate(self.groups):
            if emotion in group.emotions:
                return number
        raise ValueError(f"emotion {emotion!r} is none of {', '.join(EMOTIONS)}")

    def regroup(self, decision: Decision, labels: Sequence[str] = EMOTIONS) -> Decision:
        """An answer in the model's labels -> the same answer in these groups.

        Parameters
        ----------
        decision : Decision
            From :func:`ser_edge.decision.decide`.
        labels : sequence of str
            What its scores belong to, each one of the eight.

        Returns
        -------
        Decision
            ``scores`` are the sums, in the order of :attr:`names`, and ``confidence`` the highest
            of them. "unknown" stays "unknown": the threshold was fitted on the highest of the
            eight scores, and a sum is always higher. So whether a clip is unknown does not depend
            on the grouping, and silence stays unknown where the groups are of unequal size.

        Raises
        ------
        ValueError
            If a label is none of the eight.
        """
        sums = np.zeros(len(self.groups))
        for label, score in zip(labels, decision.scores, strict=True):
            sums[self.index(label)] += score
        best = int(sums.argmax())
        emotion = UNKNOWN if decision.emotion == UNKNOWN else self.groups[best].name
        return Decision(emotion, float(sums[best]), tuple(sums.tolist()))


_NEGATIVE: Final = Group("negative", ("sad", "angry", "fearful", "disgust"))
_BASELINE: Final = Group("neutral", ("neutral", "calm"))


def _alone(*emotions: str) -> tuple[Group, ...]:
    return tuple(Group(emotion, (emotion,)) for emotion in emotions)


GROUPINGS: Final[Mapping[str, Grouping]] = MappingProxyType(
    {
        grouping.name: grouping
        for grouping in (
            # Ekman's six and neutral, the classes of SAVEE (Haq & Jackson 2009) and TESS
            # (Pichora-Fuller & Dupuis 2020). RAVDESS has two baselines, neutral and calm
            # (Livingstone & Russo 2018); they are joined, as is usual beside other corpora.
            Grouping(
                "7",
                (_BASELINE, *_alone("happy", "sad", "angry", "fearful", "disgust", "surprised")),
            ),
            # The classes of CREMA-D (Cao et al. 2014, doi 10.1109/TAFFC.2014.2336244), which has
            # no surprise.
            Grouping(
                "6",
                (
                    _BASELINE,
                    *_alone("happy", "sad", "angry", "fearful", "disgust"),
                    Group(OTHER, ("surprised",)),
                ),
            ),
            # The four of IEMOCAP (Busso et al. 2008) that are usually reported, as in SUPERB (Yang
            # et al. 2021). There happy takes in "excited", which RAVDESS lacks; IEMOCAP's surprise
            # is left out, and so it is here.
            Grouping(
                "4",
                (
                    _BASELINE,
                    *_alone("happy", "sad", "angry"),
                    Group(OTHER, ("fearful", "disgust", "surprised")),
                ),
            ),
            # The negative emotions joined: they are what is mixed up most, and what is asked for
            # where one wants to know only that somebody sounds unhappy.
            Grouping("negative", (_NEGATIVE, *_alone("neutral", "calm", "happy", "surprised"))),
            # Negative and positive as in Schuller et al. 2010 (doi 10.1109/T-AFFC.2010.8), who
            # count surprise as positive; the two baselines are neither.
            Grouping("valence", (_NEGATIVE, _BASELINE, Group("positive", ("happy", "surprised")))),
        )
    }
)
"""Published groupings by name: ``7``, ``6``, ``4``, ``negative``, ``valence``."""


def find_grouping(labels: str | os.PathLike[str]) -> Grouping:
    """A grouping by its name, or from a file.

    Parameters
    ----------
    labels : str or path
        One of :data:`GROUPINGS`, or a text file as :func:`parse_grouping` reads it. A file that is
        called as a grouping is written ``./7``.

    Returns
    -------
    Grouping

    Raises
    ------
    ValueError
        Neither of both, or a file that is no grouping; the message names the file and the line.
    """
    name = os.fsdecode(labels)
    if name in GROUPINGS:
        return GROUPINGS[name]
    try:
        with open(name, "rb") as file:
            content = file.read(_FILE_BYTES + 1)
    except (FileNotFoundError, ValueError):  # the latter: a NUL in the name
        raise ValueError(
            f"labels are {name!r}, allowed: {', '.join(GROUPINGS)}, or a file of lines such as "
            f"{_EXAMPLE!r}{did_you_mean(name, GROUPINGS)}"
        ) from None
    except OSError as error:
        raise ValueError(f"labels {name}: {error.strerror or error}") from None
    try:
        text = content.decode("utf-8-sig")  # Windows' editors put a mark before it
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or len(content) > _FILE_BYTES:
        raise ValueError(f"labels {name}: it is no text of lines such as {_EXAMPLE!r}")
    return parse_grouping(text, name)


def parse_grouping(text: str, name: str) -> Grouping:
    """Read a grouping from lines such as ``negative: sad angry fearful disgust``.

    Parameters
    ----------
    text : str
        A line a group: its name, a colon, its emotions with spaces or commas between. Every one of
        the eight emotions stands in exactly one line. Empty lines and what follows ``#`` are
        ignored.
    name : str
        Name used in error messages.

    Returns
    -------
    Grouping

    Raises
    ------
    ValueError
        A line that is none, names an emotion that is unknown or was there before, or a group that
        was; or emotions that stand in no line. The message names the line.
    """
    groups: list[Group] = []
    for number, line in enumerate(text.splitlines(), 1):
        content = line.split("#")[0].strip()
        if not content:
            continue
        try:
            label, colon, emotions = content.partition(":")
            if not colon:
                raise ValueError(f"{content[:60]!r} should be like {_EXAMPLE!r}")
            found = tuple(emotions.replace(",", " ").lower().split())
            group = Group(label.strip(), found)
            _check(group, groups)
        except ValueError as error:
            raise ValueError(f"labels {name}, line {number}: {error}") from None
        groups.append(group)
    _check_whole(f"labels {name}", groups)
    return Grouping(name, tuple(groups))
