"""Finished runs as they lie on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ser_edge.data.splits import ALL
from ser_edge.metrics.classification import ClipPrediction, read_predictions
from ser_edge.runs.inference import METRICS, PREDICTIONS


@dataclass(frozen=True)
class Epoch:
    """What an epoch left: None where a figure was not taken."""

    epoch: int
    train_loss: float | None = None
    validation_uar: float | None = None
    validation_nll: float | None = None
    lr: float | None = None


@dataclass(frozen=True)
class Run:
    """A finished run: ``figures`` by part (``validation``, ``test``), speakers by role.

    ``seconds`` is the wall clock of its fit, None of runs that are too old to say.
    """

    fold: str
    folder: Path
    figures: Mapping[str, Any]
    speakers: Mapping[str, Sequence[str]]
    training_clips: int
    corpora: tuple[str, ...]
    parameters: int
    seconds: float | None
    provenance: Mapping[str, str]
    history: tuple[Epoch, ...]
    predictions: tuple[ClipPrediction, ...]

    def part(self, part: str) -> tuple[ClipPrediction, ...]:
        """Predictions of ``validation`` or ``test``."""
        return tuple(p for p in self.predictions if p.part == part)


def read_run(folder: Path, fold: str) -> Run:
    """A finished run.

    Raises
    ------
    ValueError
        It is unfinished, damaged, or of another fold; the message names the file.
    """
    path = folder / METRICS
    try:
        found = json.loads(path.read_text())
        run = Run(
            fold=str(found["fold"]),
            folder=folder,
            figures=found["figures"],
            speakers=found["speakers"],
            training_clips=int(found["training_clips"]),
            corpora=tuple(found["corpora"]),
            parameters=int(found["parameters"]),
            seconds=_number(found, "seconds"),
            provenance=found["provenance"],
            history=tuple(_epoch(entry) for entry in found.get("history", ())),
            predictions=tuple(read_predictions(folder / PREDICTIONS)),
        )
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path}: not as training writes it: {error}") from None
    if run.fold != fold:
        raise ValueError(f"{folder}: a run of fold {run.fold} lies there, not of fold {fold}")
    if fold != ALL and not run.part("test"):
        raise ValueError(f"{folder / PREDICTIONS}: no test clip in it")
    return run


def _epoch(entry: Mapping[str, Any]) -> Epoch:
    return Epoch(
        int(entry["epoch"]),
        _number(entry, "train_loss"),
        _number(entry, "validation_uar"),
        _number(entry, "validation_nll"),
        _number(entry, "lr"),
    )


def _number(entry: Mapping[str, Any], name: str) -> float | None:
    value = entry.get(name)
    return None if value is None else float(value)


def first_line(error: Exception) -> str:
    """What an error says, short enough for a list of problems."""
    return str(error).split("\n")[0] or type(error).__name__
