"""What every corpus gives: utterances with their speaker and emotion, and a list of odd files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from ser_edge.corpora.download import Archive

Sex: TypeAlias = Literal["female", "male", "unknown"]
Intensity: TypeAlias = Literal["normal", "strong", "unknown"]
Channel: TypeAlias = Literal["speech", "song"]
ProblemKind: TypeAlias = Literal["name", "copy", "emotion", "fault"]


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
    channel: Channel
    name: str = ""
    language: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.path.stem)


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

    @classmethod
    def of(cls, found: Iterable[Utterance | Problem], faults: Mapping[str, str]) -> Scan:
        """Sort what was found; leave out copies (a name that came before) and ``faults``."""
        utterances: dict[str, Utterance] = {}
        problems: list[Problem] = []
        for item in found:
            if isinstance(item, Problem):
                problems.append(item)
            elif item.name in utterances:
                cause = f"its name is that of {utterances[item.name].path}"
                problems.append(Problem(item.path, cause, "copy"))
            elif item.name in faults:
                problems.append(Problem(item.path, faults[item.name], "fault"))
            else:
                utterances[item.name] = item
        return cls(
            tuple(sorted(utterances.values(), key=lambda utterance: utterance.path)),
            tuple(sorted(problems, key=lambda problem: problem.path)),
        )

    @property
    def other_emotions(self) -> Mapping[str, int]:
        """Clips of each emotion that is none of our eight."""
        return Counter(p.emotion for p in self.problems if p.kind == "emotion")


class OtherEmotionError(ValueError):
    """A clip's emotion is none of our eight; ``emotion`` is its English name."""

    def __init__(self, emotion: str) -> None:
        super().__init__(f"its emotion is {emotion}, which is none of the eight")
        self.emotion = emotion


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """What a corpus is, and what may be done with it.

    Subclasses find it on disk: :class:`ser_edge.corpora.scheme.NamedCorpus` by the names of its
    files, :class:`ser_edge.corpora.own.OwnRecordings` by folders or a table.

    Parameters
    ----------
    name : str
        As in the registry.
    licence, citation : str
    languages : tuple of str
        ISO 639-1; empty if unknown.
    emotions : mapping
        The corpus's code -> one of :data:`ser_edge.emotions.EMOTIONS`.
    other_emotions : mapping
        The corpus's code -> an emotion that is none of our eight: left out.
    archives : tuple of Archive
        What ``scripts/download.py`` fetches; empty where the corpus has to be asked for.
    ships_weights : bool
        Whether weights trained on it may be given away. False where the licence allows no
        derivatives or research alone: experiments may use the corpus, shipped weights may not.
    faults : mapping
        Names of recordings that are published broken -> why they are left out.
    clips : int
        As published, faults included; 0 where there is no such number.
    sexes : mapping
        Every speaker, as file names call them, -> "female" or "male"; empty if unknown.
    """

    name: str
    licence: str
    citation: str
    languages: tuple[str, ...]
    emotions: Mapping[str, str]
    other_emotions: Mapping[str, str] = field(default_factory=dict)
    archives: tuple[Archive, ...] = ()
    ships_weights: bool = True
    faults: Mapping[str, str] = field(default_factory=dict)
    clips: int = 0
    sexes: Mapping[str, Sex] = field(default_factory=dict)

    @property
    def speakers(self) -> int:
        """How many there are; 0 if unknown."""
        return len(self.sexes)

    def scan(self, root: Path) -> Scan:
        """Find the corpus's recordings below a folder, in any layout.

        Raises
        ------
        ValueError
            ``root`` is not a folder.
        """
        if not root.is_dir():
            raise ValueError(f"{root}: there is no such folder")
        return Scan.of(self.find(root), self.faults)

    def find(self, root: Path) -> Iterable[Utterance | Problem]:
        """Every sound file below a folder that exists: an utterance, or why it is none."""
        raise NotImplementedError
