"""Events -> lines of text, one class a format. A new format is a class and a line below."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Protocol

from edge_app.formatting import audacity_line, json_line, score_bar, three_best
from edge_app.results import SILENCE, Event
from ser_edge.emotions import UNKNOWN


class LineFormat(Protocol):
    """How an event is written.

    Attributes
    ----------
    header : str
        The first line of a new file; empty where the format has none.
    """

    header: str

    def line(self, event: Event) -> str:
        """The event as one line, line feed included."""


class TableLines:
    """For people: when, which emotion, a bar, the runner-up."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._width = max(map(len, (*labels, UNKNOWN, SILENCE)))
        self.header = (
            f"{'time':<8}  {'kind':<7}  {'from':>9}    {'to':>9}    "
            f"{'emotion':<{self._width}}  confidence\n"
        )

    def line(self, event: Event) -> str:
        scores = ""
        if event.emotion != SILENCE:  # of which there are no scores
            scores = f"  {score_bar(event.confidence)}  {three_best(event.scores)}"
        return (
            f"{event.time[11:19]:<8}  {event.kind:<7}  {event.start:9.1f} s  {event.end:9.1f} s  "
            f"{event.emotion:<{self._width}}{scores}".rstrip()
            + "\n"
        )


class JsonLines:
    """One JSON object a line, with all of the event."""

    header = ""

    def __init__(self, labels: Sequence[str]) -> None:
        pass

    def line(self, event: Event) -> str:
        return json_line(event.to_dict())


class CsvLines:
    """A header, then a row an event, with a column for each label's score."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = tuple(labels)
        columns = ["kind", "start", "end", "time", "emotion", "confidence"]
        self.header = _csv([*columns, *self._labels, "source", "device", "model"])

    def line(self, event: Event) -> str:
        values = event.to_dict()
        scores = values.pop("scores")
        device = [values.pop(name) for name in ("source", "device", "model")]
        return _csv([*values.values(), *(scores[label] for label in self._labels), *device])


class AudacityLines:
    """Audacity's label track: start, end, emotion (File > Import > Labels)."""

    header = ""

    def __init__(self, labels: Sequence[str]) -> None:
        pass

    def line(self, event: Event) -> str:
        return audacity_line(event.start, event.end, event.emotion)


def _csv(row: Sequence[object]) -> str:
    # A line feed inside of a field would be good CSV, but no longer one line.
    plain = [" ".join(cell.splitlines()) if isinstance(cell, str) else cell for cell in row]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(plain)
    return text.getvalue()


LINE_FORMATS: Final[Mapping[str, Callable[[Sequence[str]], LineFormat]]] = MappingProxyType(
    {"table": TableLines, "jsonl": JsonLines, "csv": CsvLines, "audacity": AudacityLines}
)
"""Format -> function of the labels."""
