"""Answers -> text on a stream, one writer a format. A new format is a class and a line below.

Events have no files and no errors; :mod:`edge_app.output.event_formats` writes them.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO, TypeAlias

from edge_app.formatting import BAR, audacity_line, clock, json_line, score_bar, three_best
from edge_app.results import SILENCE, Prediction
from ser_edge.emotions import UNKNOWN

if TYPE_CHECKING:
    from edge_app.language.annotations import Words


class Sink(Protocol):
    """Takes answers and errors one by one; nothing is held back until the end."""

    def answer(self, prediction: Prediction, words: Words | None = None) -> None:
        """Write one answer, and the words beside it where they were asked for."""

    def error(self, file: str, message: str) -> None:
        """Write that one sound failed."""


class JsonLines:
    """One JSON object a line: the answer, or ``{"file", "error"}``."""

    def __init__(self, out: TextIO, labels: tuple[str, ...], fields: tuple[str, ...] = ()) -> None:
        self._out = out

    def answer(self, prediction: Prediction, words: Words | None = None) -> None:
        self._write({**prediction.to_dict(), **({} if words is None else words.to_dict())})

    def error(self, file: str, message: str) -> None:
        self._write({"file": file, "error": message})

    def _write(self, values: Mapping[str, object]) -> None:
        self._out.write(json_line(values))
        self._out.flush()


class Csv:
    """A header, then a row a sound; windows are left out, errors have a column."""

    def __init__(self, out: TextIO, labels: tuple[str, ...], fields: tuple[str, ...] = ()) -> None:
        self._out = out
        self._labels = labels
        self._fields = fields
        self._writer = csv.writer(out, lineterminator="\n")
        columns = ["file", "emotion", "confidence", *labels]
        self._writer.writerow(
            [*columns, "duration", "device", "model", "profile", "error", *fields]
        )

    def answer(self, prediction: Prediction, words: Words | None = None) -> None:
        values = prediction.to_dict()
        told = {} if words is None else words.to_dict()
        self._write(
            [values["file"], values["emotion"], values["confidence"]]
            + [values["scores"][label] for label in self._labels]
            + [values["duration"], values["device"], values["model"], values["profile"] or "", ""]
            + [told[field] or "" for field in self._fields]
        )

    def error(self, file: str, message: str) -> None:
        empty = ["" for _ in self._fields]
        self._write([file, "", "", *("" for _ in self._labels), "", "", "", "", message, *empty])

    def _write(self, row: list[object]) -> None:
        self._writer.writerow(row)
        self._out.flush()


class Table:
    """For people: a line a sound, with a bar and the runner-up; of a long one also its segments."""

    def __init__(self, out: TextIO, labels: tuple[str, ...], fields: tuple[str, ...] = ()) -> None:
        self._out = out
        self._width = max(map(len, (*labels, UNKNOWN)))
        self._begun = False

    def answer(self, prediction: Prediction, words: Words | None = None) -> None:
        self._head()
        print(
            f"{prediction.emotion:<{self._width}}  {score_bar(prediction.confidence)}  "
            f"{prediction.duration:7.1f} s  {prediction.file}  {three_best(prediction.scores)}",
            file=self._out,
            flush=True,
        )
        if len(prediction.windows) > 1:
            for part in prediction.segments:
                heard = f"  {clock(part.start)} to {clock(part.end)}  "
                if part.emotion == SILENCE:
                    heard += SILENCE
                else:
                    heard += f"{part.emotion:<{self._width}}  {part.confidence:4.0%}"
                print(heard, file=self._out)
        if words is not None:
            self._tell(words.to_dict())
        self._out.flush()

    def error(self, file: str, message: str) -> None:
        self._head()
        print(f"{'error':<{self._width}}  {message}", file=self._out, flush=True)

    def _tell(self, told: Mapping[str, Any]) -> None:
        for field, nothing in (("transcription", "nobody speaks"), ("interpretation", "")):
            if field in told:
                # A model's line breaks would look like further answers.
                text = None if told[field] is None else " ".join(told[field].split())
                said = f"none: {told[f'{field}_reason']}" if text is None else text or nothing
                print(f"  {field}: {said}", file=self._out)

    def _head(self) -> None:
        if not self._begun:
            self._begun = True
            print(
                f"{'emotion':<{self._width}}  {'confidence':<{BAR + 5}}  {'length':>9}  file",
                file=self._out,
            )


class Audacity:
    """Audacity's label track of one sound. Errors, for which it has no place, go to stderr."""

    def __init__(self, out: TextIO, labels: tuple[str, ...], fields: tuple[str, ...] = ()) -> None:
        self._out = out

    def answer(self, prediction: Prediction, words: Words | None = None) -> None:
        for part in prediction.segments:
            self._out.write(audacity_line(part.start, part.end, part.emotion))
        self._out.flush()

    def error(self, file: str, message: str) -> None:
        print(f"error: {message}", file=sys.stderr)


MakeSink: TypeAlias = Callable[[TextIO, tuple[str, ...], tuple[str, ...]], Sink]
"""Of a stream, labels, and the fields of the words beside an answer."""

SINKS: Final[Mapping[str, MakeSink]] = MappingProxyType(
    {"table": Table, "jsonl": JsonLines, "csv": Csv, "audacity": Audacity}
)
"""Format -> function that makes it."""

ONE_SOUND: Final = frozenset({"audacity"})
"""Formats that do not say which sound an answer is for, and have no place for words."""
