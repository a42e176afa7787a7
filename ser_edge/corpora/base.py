"""What every corpus gives: utterances with their speaker and emotion, and a list of odd files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from ser_edge.audio import AUDIO_SUFFIXES, files_below


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
    intensity : {"normal", "strong"}
    statement : str
        What is said.
    repetition : int
        From 1.
    channel : {"speech", "song"}
        Vocal channel.
    name : str
        Unique in the corpus; the file's stem if not given.
    """

    path: Path
    corpus: str
    speaker: str
    sex: Literal["female", "male", "unknown"]
    emotion: str
    intensity: Literal["normal", "strong"]
    statement: str
    repetition: int
    channel: Literal["speech", "song"]
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.stem)


@dataclass(frozen=True)
class Problem:
    """A file that was left out, and why."""

    path: Path
    cause: str

    def __str__(self) -> str:
        return f"{self.path}: {self.cause}"


@dataclass(frozen=True)
class Scan:
    """What a folder holds of a corpus, both parts sorted by path."""

    utterances: tuple[Utterance, ...]
    problems: tuple[Problem, ...]


Parser: TypeAlias = "Callable[[Path], Utterance]"
"""File -> utterance; a ``ValueError`` says in one clause how the name breaks the scheme."""


def scan_names(root: Path, parse: Parser) -> Scan:
    """Find a corpus whose labels are in its file names, in any layout.

    A name that occurs twice (the copy of RAVDESS on Kaggle holds every file twice) counts once.

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
        first = utterances.get(path.stem)
        if first is not None:
            problems.append(Problem(path, f"its name is that of {first.path}"))
            continue
        try:
            utterances[path.stem] = parse(path)
        except ValueError as error:
            problems.append(Problem(path, str(error)))
    found = sorted(utterances.values(), key=lambda utterance: utterance.path)
    return Scan(tuple(found), tuple(problems))
