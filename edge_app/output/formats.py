"""Answers, errors and events as text: one class a format.

A new format is a subclass of :class:`OutputFormat` and an entry in :data:`FORMATS`.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, TextIO

from edge_app.formatting import bar, clock
from edge_app.results import SILENCE, Event, Prediction, Segment
from ser_edge.emotions import UNKNOWN

if TYPE_CHECKING:
    from edge_app.language.annotations import Annotations

_BAR: Final = 20  # characters of a full bar


class OutputFormat(ABC):
    """Answers, errors and events as text, each ending in a line feed.

    Parameters
    ----------
    labels : sequence of str
        The model's, in their order.
    fields : sequence of str
        Annotation fields of each answer (:attr:`edge_app.language.annotations.Annotator.fields`).

    Attributes
    ----------
    single_file : bool
        The format does not name files: it is for the answer of one file, without annotations.
    answers_header, events_header : str
        First line of a new output, for answers and for events; empty where there is none.
    """

    single_file = False
    answers_header = events_header = ""

    def __init__(self, labels: Sequence[str], fields: Sequence[str] = ()) -> None:
        self._labels = tuple(labels)
        self._fields = tuple(fields)

    @abstractmethod
    def answer(self, prediction: Prediction, annotations: Annotations | None = None) -> str:
        """The answer for one file, with its annotations if there are any."""

    @abstractmethod
    def error(self, file: str, message: str) -> str:
        """The error of one file; empty where the format cannot express errors."""

    @abstractmethod
    def event(self, event: Event) -> str:
        """The event as exactly one line."""


class JsonLines(OutputFormat):
    """One JSON object a line: the answer, ``{"file", "error"}``, or the event."""

    def answer(self, prediction: Prediction, annotations: Annotations | None = None) -> str:
        extra = {} if annotations is None else annotations.to_dict()
        return self._line({**prediction.to_dict(), **extra})

    def error(self, file: str, message: str) -> str:
        return self._line({"file": file, "error": message})

    def event(self, event: Event) -> str:
        return self._line(event.to_dict())

    @staticmethod
    def _line(values: Mapping[str, object]) -> str:
        return json.dumps(values, allow_nan=False) + "\n"


class Csv(OutputFormat):
    """A header, then a row for each file or event. Windows and segments are left out."""

    def __init__(self, labels: Sequence[str], fields: Sequence[str] = ()) -> None:
        super().__init__(labels, fields)
        device = ("device", "model")
        self.answers_header = self._row(
            "file", "emotion", "confidence", *self._labels,
            "duration", *device, "profile", "error", *self._fields,
        )  # fmt: skip
        self.events_header = self._row(
            "kind", "start", "end", "time", "emotion", "confidence", *self._labels,
            "source", *device,
        )  # fmt: skip

    def answer(self, prediction: Prediction, annotations: Annotations | None = None) -> str:
        values = prediction.to_dict()
        extra = {} if annotations is None else annotations.to_dict()
        return self._row(
            *(values[name] for name in ("file", "emotion", "confidence")),
            *(values["scores"][label] for label in self._labels),
            *(values[name] for name in ("duration", "device", "model")),
            values["profile"] or "",
            "",
            *(extra[field] or "" for field in self._fields),
        )

    def error(self, file: str, message: str) -> str:
        scores = [""] * len(self._labels)
        return self._row(
            file, "", "", *scores, "", "", "", "", message, *([""] * len(self._fields))
        )

    def event(self, event: Event) -> str:
        values = event.to_dict()
        scores = values.pop("scores")
        device = [values.pop(name) for name in ("source", "device", "model")]
        row = [*values.values(), *(scores[label] for label in self._labels), *device]
        # A line feed within a field is valid CSV, but an event must be one line.
        return self._row(
            *(" ".join(cell.splitlines()) if isinstance(cell, str) else cell for cell in row)
        )

    @staticmethod
    def _row(*cells: object) -> str:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow(cells)
        return text.getvalue()


class Table(OutputFormat):
    """For people: one line with a bar and the best three labels; below it segments, annotations."""

    def __init__(self, labels: Sequence[str], fields: Sequence[str] = ()) -> None:
        super().__init__(labels, fields)
        self._width = max(map(len, (*labels, UNKNOWN)))
        self.answers_header = (
            f"{'emotion':<{self._width}}  {'confidence':<{_BAR + 5}}  {'length':>9}  file\n"
        )
        self.events_header = (
            f"{'time':<8}  {'kind':<7}  {'from':>9}    {'to':>9}    "
            f"{'emotion':<{self._width}}  confidence\n"
        )

    def answer(self, prediction: Prediction, annotations: Annotations | None = None) -> str:
        lines = [
            f"{prediction.emotion:<{self._width}}  {_score_bar(prediction.confidence)}  "
            f"{prediction.duration:7.1f} s  {prediction.file}  {_best_three(prediction.scores)}"
        ]
        if len(prediction.windows) > 1:
            for segment in prediction.segments:
                line = f"  {clock(segment.start)} to {clock(segment.end)}  "
                if segment.emotion == SILENCE:
                    line += SILENCE
                else:
                    line += f"{segment.emotion:<{self._width}}  {segment.confidence:4.0%}"
                lines.append(line)
        if annotations is not None:
            lines += self._annotations(annotations)
        return "".join(f"{line}\n" for line in lines)

    def error(self, file: str, message: str) -> str:
        return f"{'error':<{self._width}}  {message}\n"

    def event(self, event: Event) -> str:
        line = (
            f"{event.time[11:19]:<8}  {event.kind:<7}  {event.start:9.1f} s  {event.end:9.1f} s  "
            f"{event.emotion:<{self._width}}"
        )
        if event.emotion != SILENCE:  # silence has no scores
            line += f"  {_score_bar(event.confidence)}  {_best_three(event.scores)}"
        return line.rstrip() + "\n"

    def _annotations(self, annotations: Annotations) -> list[str]:
        values = annotations.to_dict()
        lines = []
        for field, if_empty in (("transcription", "nobody speaks"), ("interpretation", "")):
            if field in values and values[field] is None:
                lines.append(f"  {field}: none: {values[f'{field}_reason']}")
            elif field in values:
                # Line feeds in the text would look like further answers.
                lines.append(f"  {field}: {' '.join(values[field].split()) or if_empty}")
        return lines


class Audacity(OutputFormat):
    """Label track of Audacity (File > Import > Labels): start and end in seconds, emotion."""

    single_file = True

    def answer(self, prediction: Prediction, annotations: Annotations | None = None) -> str:
        return "".join(map(self._line, prediction.segments))

    def error(self, file: str, message: str) -> str:
        return ""

    def event(self, event: Event) -> str:
        return self._line(event)

    @staticmethod
    def _line(part: Segment | Event) -> str:
        return f"{part.start:.6f}\t{part.end:.6f}\t{' '.join(part.emotion.split())}\n"


FORMATS: Final[Mapping[str, type[OutputFormat]]] = MappingProxyType(
    {"table": Table, "jsonl": JsonLines, "csv": Csv, "audacity": Audacity}
)
"""Name of a format -> its class."""


class AnswerWriter:
    """Writes answers and errors to a text stream at once, the header first.

    Parameters
    ----------
    out : text stream
    form : OutputFormat
    """

    def __init__(self, out: TextIO, form: OutputFormat) -> None:
        self._out = out
        self._form = form
        out.write(form.answers_header)

    def answer(self, prediction: Prediction, annotations: Annotations | None = None) -> None:
        """Write one answer."""
        self._write(self._form.answer(prediction, annotations))

    def error(self, file: str, message: str) -> None:
        """Write one error; to standard error where the format cannot express it."""
        text = self._form.error(file, message)
        if text:
            self._write(text)
        else:
            print(f"error: {message}", file=sys.stderr)

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()


def _score_bar(score: float) -> str:
    """``"########............  38%"``."""
    return f"{bar(score, _BAR)} {score:4.0%}"


def _best_three(scores: Mapping[str, float]) -> str:
    """``"(angry 38%, neutral 27%, disgust 10%)"``."""
    ranked = sorted(scores.items(), key=lambda item: -item[1])[:3]
    return "(" + ", ".join(f"{label} {score:.0%}" for label, score in ranked) + ")"
