"""Answers -> text on a stream, one writer a format. A new format is a class and a line below."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final, Protocol, TextIO

from edge_app.answers import Prediction


class Sink(Protocol):
    """Takes answers and errors one by one; nothing is held back until the end."""

    def answer(self, prediction: Prediction) -> None:
        """Write one answer."""

    def error(self, file: str, message: str) -> None:
        """Write that one sound failed."""


class JsonLines:
    """One JSON object a line: the answer, or ``{"file", "error"}``."""

    def __init__(self, out: TextIO, labels: tuple[str, ...]) -> None:
        self._out = out

    def answer(self, prediction: Prediction) -> None:
        self._write(prediction.to_dict())

    def error(self, file: str, message: str) -> None:
        self._write({"file": file, "error": message})

    def _write(self, values: Mapping[str, object]) -> None:
        print(json.dumps(values, allow_nan=False), file=self._out, flush=True)


class Csv:
    """A header, then a row a sound; windows are left out, errors have a column."""

    def __init__(self, out: TextIO, labels: tuple[str, ...]) -> None:
        self._out = out
        self._labels = labels
        self._writer = csv.writer(out, lineterminator="\n")
        columns = ["file", "emotion", "confidence", *labels]
        self._writer.writerow([*columns, "duration", "device", "model", "profile", "error"])

    def answer(self, prediction: Prediction) -> None:
        values = prediction.to_dict()
        self._write(
            [values["file"], values["emotion"], values["confidence"]]
            + [values["scores"][label] for label in self._labels]
            + [values["duration"], values["device"], values["model"], values["profile"] or "", ""]
        )

    def error(self, file: str, message: str) -> None:
        self._write([file, "", "", *("" for _ in self._labels), "", "", "", "", message])

    def _write(self, row: list[object]) -> None:
        self._writer.writerow(row)
        self._out.flush()


class Table:
    """For people: a line a sound, with a bar and the runner-up."""

    _BAR = 20

    def __init__(self, out: TextIO, labels: tuple[str, ...]) -> None:
        self._out = out
        self._width = max(map(len, (*labels, "unknown")))
        self._begun = False

    def answer(self, prediction: Prediction) -> None:
        self._head()
        ranked = sorted(prediction.scores.items(), key=lambda item: -item[1])
        filled = round(prediction.confidence * self._BAR)
        bar = "#" * filled + "." * (self._BAR - filled)
        others = ", ".join(f"{label} {score:.0%}" for label, score in ranked[:3])
        print(
            f"{prediction.emotion:<{self._width}}  {bar} {prediction.confidence:4.0%}  "
            f"{prediction.duration:7.1f} s  {prediction.file}  ({others})",
            file=self._out,
            flush=True,
        )

    def error(self, file: str, message: str) -> None:
        self._head()
        print(f"{'error':<{self._width}}  {message}", file=self._out, flush=True)

    def _head(self) -> None:
        if not self._begun:
            self._begun = True
            print(
                f"{'emotion':<{self._width}}  {'confidence':<{self._BAR + 5}}  {'length':>9}  file",
                file=self._out,
            )


SINKS: Final[Mapping[str, Callable[[TextIO, tuple[str, ...]], Sink]]] = MappingProxyType(
    {"table": Table, "jsonl": JsonLines, "csv": Csv}
)
"""Format -> function of (stream, labels)."""
