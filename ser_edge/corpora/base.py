"""What every corpus gives: utterances with their speaker and emotion, and a list of odd files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Literal, TypeAlias

from ser_edge.audio.files import AUDIO_SUFFIXES, files_below
from ser_edge.corpora.download import Archive
from ser_edge.emotions import CORPUS_EMOTIONS, WITHOUT_PLACE

Sex: TypeAlias = Literal["female", "male", "unknown"]
Intensity: TypeAlias = Literal["normal", "strong", "unknown"]


@dataclass(frozen=True)
class Utterance:
    """One recording and what its corpus says of it.

    Parameters
    ----------
    path : Path
        The sound file.
    corpus : str
        Name in the registry.
    speaker : str
        Unique over all corpora, as ``ravdess-07``.
    sex : {"female", "male", "unknown"}
    emotion : str
        One of :data:`ser_edge.emotions.EMOTIONS`.
    intensity : {"normal", "strong", "unknown"}
        Unknown where the corpus asked its speakers for none.
    statement : str
        What is said.
    repetition : int
        From 1.
    channel : {"speech", "song"}
        Vocal channel.
    name : str
        Unique in the corpus; the file's stem if not given.
    language : str
        What is spoken, ISO 639-1 as ``en``; empty if unknown.
    """

    path: Path
    corpus: str
    speaker: str
    sex: Sex
    emotion: str
    intensity: Intensity
    statement: str
    repetition: int
    channel: Literal["speech", "song"]
    name: str = ""
    language: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.stem)


ProblemKind: TypeAlias = Literal["name", "copy", "emotion", "fault"]


@dataclass(frozen=True)
class Problem:
    """A file that was left out, and why.

    Parameters
    ----------
    path : Path
    cause : str
        One clause.
    kind : {"name", "copy", "emotion", "fault"}
        Its name (or label) breaks the scheme; its name came before; its emotion is none of our
        eight; its corpus published it broken.
    emotion : str
        Of kind ``emotion``: which, as ``boredom``.
    """

    path: Path
    cause: str
    kind: ProblemKind = "name"
    emotion: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}"


@dataclass(frozen=True)
class Scan:
    """What a folder holds of a corpus, both parts sorted by path."""

    utterances: tuple[Utterance, ...]
    problems: tuple[Problem, ...]

    @property
    def without_place(self) -> Mapping[str, int]:
        """Clips of each emotion that is none of our eight."""
        return Counter(p.emotion for p in self.problems if p.kind == "emotion")


class NoPlaceError(ValueError):
    """A clip's emotion is none of our eight; ``emotion`` is its English name."""

    def __init__(self, emotion: str) -> None:
        super().__init__(f"its emotion is {emotion}, which is none of the eight")
        self.emotion = emotion


Parser: TypeAlias = "Callable[[Path], Utterance]"
"""File -> utterance; a ``ValueError`` says in one clause how the name breaks the scheme."""


@dataclass(frozen=True)
class Corpus:
    """How a corpus is found on disk and fetched, what it is, and what may be done with it.

    Parameters
    ----------
    scan : callable
        Folder -> :class:`Scan`; raises ``ValueError`` if there is no such folder. Where names say
        all, :func:`scan_names` with the corpus's parser.
    licence, citation : str
    languages : tuple of str
        ISO 639-1; empty if unknown.
    archives : tuple of Archive
        What ``scripts/download.py`` fetches; empty where the corpus has to be asked for.
    ships_weights : bool
        Whether weights trained on it may be given away. False where the licence allows no
        derivatives or research alone: experiments may use the corpus, shipped weights may not.
    faults : mapping
        Names of recordings that are published broken -> why they are left out.
    clips, speakers : int
        As published, faults included; 0 where there is no such number.
    """

    scan: Callable[[Path], Scan]
    licence: str
    citation: str
    languages: tuple[str, ...]
    archives: tuple[Archive, ...] = ()
    ships_weights: bool = True
    faults: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    clips: int = 0
    speakers: int = 0


def emotion_of(corpus: str, code: str, field: str = "emotion") -> str:
    """A corpus's code for an emotion -> ours.

    Raises
    ------
    NoPlaceError
        The corpus has that emotion, we have none like it.
    ValueError
        The corpus has no such code; the message names the allowed ones.
    """
    known, others = CORPUS_EMOTIONS[corpus], WITHOUT_PLACE.get(corpus, {})
    if code in others:
        raise NoPlaceError(others[code])
    if code not in known:
        raise ValueError(f"its {field} is {code}, allowed: {', '.join([*known, *others])}")
    return known[code]


_NO_FAULTS: Mapping[str, str] = MappingProxyType({})


def scan_names(root: Path, parse: Parser, faults: Mapping[str, str] = _NO_FAULTS) -> Scan:
    """Find a corpus whose labels are in its file names, in any layout.

    A name that occurs twice (the copy of RAVDESS on Kaggle holds every file twice) counts once.

    Parameters
    ----------
    root : Path
        Searched through.
    parse : callable
    faults : mapping
        As of :class:`Corpus`.

    Raises
    ------
    ValueError
        If ``root`` is not a folder.
    """
    if not root.is_dir():
        raise ValueError(f"{root}: there is no such folder")
    utterances: dict[str, Utterance] = {}
    problems: list[Problem] = []
    for path in files_below(root, AUDIO_SUFFIXES):
        try:
            utterance = parse(path)
        except NoPlaceError as error:
            problems.append(Problem(path, str(error), "emotion", error.emotion))
            continue
        except ValueError as error:
            problems.append(Problem(path, str(error)))
            continue
        first = utterances.get(utterance.name)
        if first is not None:
            problems.append(Problem(path, f"its name is that of {first.path}", "copy"))
        elif utterance.name in faults:
            problems.append(Problem(path, faults[utterance.name], "fault"))
        else:
            utterances[utterance.name] = utterance
    found = sorted(utterances.values(), key=lambda utterance: utterance.path)
    return Scan(tuple(found), tuple(problems))
