"""Corpora whose file names say everything: a pattern, its allowed values, and what they mean."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, cast

from ser_edge.audio.files import AUDIO_SUFFIXES, files_below
from ser_edge.corpora.base import (
    Channel,
    Corpus,
    Intensity,
    OtherEmotionError,
    Problem,
    Utterance,
)

Fields: TypeAlias = "Mapping[str, str]"
"""Group of the pattern -> what the file name has there."""


@dataclass(frozen=True, kw_only=True)
class NamedCorpus(Corpus):
    """A corpus whose labels are in its file names.

    Templates such as ``"sentence {number}"`` are filled in with the pattern's groups.

    Parameters
    ----------
    pattern : str
        Regular expression of a whole file name without its suffix; its groups are named after
        what they say and one of them is ``emotion``.
    form : str
        The pattern in words, as ``speaker and emotion like EB0_anger``.
    values : mapping
        Group -> its allowed values; where these are a mapping, what they stand for. Of the group
        that is the speaker these are ``sexes``, of ``emotion`` the corpus's codes.
    speaker : str
        Name of the speaker's group.
    statement, repetition, intensity, channel, language, clip : str
        Templates; ``clip`` (the utterance's name) and ``language`` are the file's stem and the
        corpus's first language if empty.
    folder : str
        If the searched folder has a folder of this name, only that is searched.
    misspelt : mapping
        File names as published -> as they should be.
    resolve : callable, optional
        File, groups -> groups, where a name alone does not say everything, or contradicts its
        folder; a ``ValueError`` says so in one clause.
    """

    pattern: str
    form: str
    values: Mapping[str, Collection[str]] = field(default_factory=dict)
    speaker: str = "speaker"
    statement: str = ""
    repetition: str = "1"
    intensity: str = "unknown"
    channel: str = "speech"
    language: str = ""
    clip: str = ""
    folder: str = ""
    misspelt: Mapping[str, str] = field(default_factory=dict)
    resolve: Callable[[Path, Fields], Fields] | None = None

    def parse(self, path: Path) -> Utterance:
        """One file's name -> its utterance.

        Raises
        ------
        OtherEmotionError
            Its emotion is none of our eight.
        ValueError
            The name breaks the scheme; the message has the field and its allowed values.
        """
        stem = self.misspelt.get(path.stem, path.stem)
        found = re.fullmatch(self.pattern, stem, re.ASCII)
        if found is None:
            raise ValueError(f"its name is not {self.form}")
        fields: Fields = {group: value or "" for group, value in found.groupdict().items()}
        if self.resolve is not None:
            fields = self.resolve(path, fields)
        meaning = {group: self._meaning(group, value) for group, value in fields.items()}
        speaker = fields[self.speaker]
        return Utterance(
            path=path,
            corpus=self.name,
            speaker=f"{self.name}-{speaker.lower()}",
            sex=self.sexes[speaker],
            emotion=meaning["emotion"],
            intensity=cast(Intensity, self.intensity.format_map(meaning)),
            statement=self.statement.format_map(meaning),
            repetition=int(self.repetition.format_map(meaning)),
            channel=cast(Channel, self.channel.format_map(meaning)),
            name=self.clip.format_map(fields) or path.stem,
            language=self.language.format_map(meaning) or self.languages[0],
        )

    def find(self, root: Path) -> Iterator[Utterance | Problem]:
        """Every sound file below a folder: an utterance, or why it is none."""
        inside = root / self.folder
        for path in files_below(inside if inside.is_dir() else root, AUDIO_SUFFIXES):
            try:
                yield self.parse(path)
            except OtherEmotionError as error:
                yield Problem(path, str(error), "emotion", error.emotion)
            except ValueError as error:
                yield Problem(path, str(error))

    def _meaning(self, group: str, value: str) -> str:
        """What a group's value stands for, once it is known to be an allowed one."""
        if group == "emotion":
            return self._emotion(value)
        if group == self.speaker:
            check(group, value, self.sexes)
            return value
        allowed = self.values.get(group)
        if allowed is None:
            return value
        check(group, value, allowed)
        return allowed[value] if isinstance(allowed, Mapping) else value

    def _emotion(self, code: str) -> str:
        if code in self.other_emotions:
            raise OtherEmotionError(self.other_emotions[code])
        check("emotion", code, [*self.emotions, *self.other_emotions])
        return self.emotions[code]


def numbers(first: int, last: int, digits: int = 1) -> tuple[str, ...]:
    """``numbers(8, 10, 2)`` -> ``("08", "09", "10")``."""
    return tuple(f"{number:0{digits}d}" for number in range(first, last + 1))


def check(what: str, value: str, allowed: Collection[str]) -> None:
    """Raise a ``ValueError`` that names the allowed values unless ``value`` is one of them."""
    if value in allowed:
        return
    known = list(allowed)
    run = known[0].isdecimal() and known == list(
        numbers(int(known[0]), int(known[-1]), len(known[0]))
    )
    span = f"{known[0]} to {known[-1]}" if run and len(known) > 1 else ", ".join(known)
    raise ValueError(f"its {what.replace('_', ' ')} is {value}, allowed: {span}")
