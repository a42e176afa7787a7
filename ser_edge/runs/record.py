"""``metrics.json`` of a run or a model folder, and finished runs on disk."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from ser_edge.data.splits import ALL
from ser_edge.files import write_whole
from ser_edge.metrics.classification import ClipPrediction, read_predictions
from ser_edge.runs.inference import METRICS, PREDICTIONS

VERSION: Final = 1
"""Of the form of ``metrics.json``; files that name none are older and are read all the same."""

_OF_A_MODEL: Final = (
    "version", "summary", "calibration", "corpora", "teachers", "gate", "inherited_speakers",
    "parameters", "training_clips", "speakers", "pooled_test", "pooled_test_by_labels", "folds",
    "provenance",
)  # fmt: skip
_OF_A_MODEL_ALONE: Final = frozenset(
    ("summary", "calibration", "pooled_test", "pooled_test_by_labels", "folds")
)
_KINDS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "str": str,
    "bool": bool,
    "int": int,
    "float | None": (int, float, type(None)),
    "str | None": (str, type(None)),
    "tuple[str, ...]": list,
    "tuple[float, ...]": list,
    "tuple[Epoch, ...]": list,
    "Mapping[str, Any]": dict,
    "Mapping[str, Any] | None": (dict, type(None)),
    "Mapping[str, Sequence[str]]": dict,
}
"""What JSON holds for the type of a field."""


@dataclass(frozen=True)
class Epoch:
    """Figures of a training epoch; None where one was not measured."""

    epoch: int
    train_loss: float | None = None
    validation_uar: float | None = None
    validation_nll: float | None = None
    lr: float | None = None
    train_teacher_loss: float | None = None

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Epoch:
        """An entry of a history; figures that are no longer measured are left out."""
        known = {f.name for f in fields(cls)} - {"epoch"}
        found = {n: float(v) for n, v in entry.items() if n in known and v is not None}
        return cls(int(entry["epoch"]), **found)

    def to_dict(self) -> dict[str, Any]:
        """The figures that were measured."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What ``metrics.json`` says of a training run, or of a model folder made of one.

    Attributes
    ----------
    version : int
        Of this form.
    fold : str
        Which division of the clips; empty for a model folder.
    refit_of : str, optional
        Name and hash of the run whose validation speakers this one was trained on as well.
    leaky : bool
        Clips were divided at random: every speaker is in training and in the test.
    figures : mapping
        By part (``validation``, ``test``), as :func:`ser_edge.metrics.classification.figures`.
    weights : str
        Which weights were kept.
    started_from : str, optional
        Name and hash of the run whose weights training started from, or name of the bundle.
    teachers, averaged_with : tuple of str
        Names and hashes of other runs.
    inherited_speakers : tuple of str
        Speakers that only those other runs, or the non-speech head, were trained on.
    speakers : mapping
        Names by part: ``train``, ``validation``, ``test``.
    training_clips : int
    corpora : tuple of str
        All that it was trained on, also by way of other runs.
    gate : mapping, optional
        Of the non-speech head: ``sounds`` and ``speech`` that it was fitted to, and ``told_apart``,
        the share of both that it classifies correctly.
    layer_weights : tuple of float
        Of a speech encoder: how much each layer counts.
    parameters : int
    hardware : mapping
    seconds : float, optional
        Wall clock of the training; None in old records.
    history : tuple of Epoch
    provenance : mapping
        Command, revision, machine and time.
    summary, calibration, pooled_test, pooled_test_by_labels, folds : mapping
        Of a model folder alone: figures of the runs on folds, see :mod:`ser_edge.export.package`.
    """

    version: int = VERSION
    fold: str = ""
    refit_of: str | None = None
    leaky: bool = False
    figures: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    started_from: str | None = None
    teachers: tuple[str, ...] = ()
    averaged_with: tuple[str, ...] = ()
    inherited_speakers: tuple[str, ...] = ()
    speakers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    training_clips: int = 0
    corpora: tuple[str, ...] = ()
    gate: Mapping[str, Any] | None = None
    layer_weights: tuple[float, ...] = ()
    parameters: int = 0
    hardware: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    history: tuple[Epoch, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    pooled_test: Mapping[str, Any] = field(default_factory=dict)
    pooled_test_by_labels: Mapping[str, Any] = field(default_factory=dict)
    folds: Mapping[str, Any] = field(default_factory=dict)

    @property
    def all_speakers(self) -> frozenset[str]:
        """Everybody whose voice is in the weights, also by way of other runs."""
        return frozenset([*self.speakers["train"], *self.inherited_speakers])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as :meth:`write` writes them."""
        values = {f.name: getattr(self, f.name) for f in fields(RunRecord)}
        values["history"] = [epoch.to_dict() for epoch in self.history]
        if self.summary:
            return {name: values[name] for name in _OF_A_MODEL}
        absent = set(_OF_A_MODEL_ALONE)
        absent |= {"gate"} if self.gate is None else set()
        absent |= set() if self.layer_weights else {"layer_weights"}
        return {name: value for name, value in values.items() if name not in absent}

    def write(self, path: Path) -> None:
        """Write the record to a file, whole or not at all."""
        write_whole(path, json.dumps(self.to_dict(), indent=2) + "\n")

    @staticmethod
    def from_dict(values: Any, needs: Collection[str] = ()) -> RunRecord:
        """Build a record from plain values, as JSON gives them; see :meth:`read`."""
        if not isinstance(values, dict):
            raise ValueError("it should be a JSON object")
        version = values.get("version", VERSION)
        if type(version) is not int or not 1 <= version <= VERSION:
            raise ValueError(f"version is {version!r}, this release reads 1 to {VERSION}")
        known = {f.name: str(f.type) for f in fields(RunRecord)}
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"{', '.join(unknown)} is unknown; known: {', '.join(known)}")
        if missing := [name for name in needs if name not in values]:
            raise ValueError(f"{', '.join(missing)} is missing")
        for name, value in values.items():
            if not isinstance(value, _KINDS[known[name]]):
                raise ValueError(f"{name} is {value!r:.80}, it should be {known[name]}")
        made: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        try:
            made["history"] = tuple(map(Epoch.from_dict, values.get("history", ())))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"history holds an entry that is no epoch: {error!r}") from None
        return RunRecord(**made)

    @staticmethod
    def read(path: Path, needs: Collection[str], writer: str = "training") -> RunRecord:
        """Read a ``metrics.json``.

        Parameters
        ----------
        path : Path
        needs : collection of str
            Fields that must be there; others that are missing have their defaults.
        writer : str
            Whose file it should be, for the message.

        Raises
        ------
        ValueError
            The file is missing or damaged, of a later version, or lacks a field; the message names
            file and field.
        """
        try:
            return RunRecord.from_dict(json.loads(path.read_text()), needs)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        except ValueError as error:  # JSON's and Unicode's too
            raise ValueError(f"{path}: not as {writer} writes it: {error}") from None


@dataclass(frozen=True, kw_only=True)
class Run(RunRecord):
    """A finished run: its record, its folder and its predictions."""

    folder: Path
    predictions: tuple[ClipPrediction, ...]

    def part(self, part: str) -> tuple[ClipPrediction, ...]:
        """Predictions of ``validation`` or ``test``."""
        return tuple(p for p in self.predictions if p.part == part)


_OF_A_RUN: Final = (
    "fold", "figures", "speakers", "training_clips", "corpora", "parameters", "provenance",
)  # fmt: skip


def read_run_record(folder: Path) -> RunRecord:
    """The record of a finished run.

    Raises
    ------
    ValueError
        As :meth:`RunRecord.read`.
    """
    return RunRecord.read(folder / METRICS, _OF_A_RUN)


def read_run(folder: Path, fold: str) -> Run:
    """A finished run of a fold.

    Raises
    ------
    ValueError
        It is unfinished, damaged, or of another fold; the message names the file.
    """
    record = read_run_record(folder)
    values = {f.name: getattr(record, f.name) for f in fields(RunRecord)}
    run = Run(**values, folder=folder, predictions=tuple(read_predictions(folder / PREDICTIONS)))
    if run.fold != fold:
        raise ValueError(f"{folder}: a run of fold {run.fold} lies there, not of fold {fold}")
    if fold != ALL and not run.part("test"):
        raise ValueError(f"{folder / PREDICTIONS}: no test clip in it")
    return run


def first_line(error: Exception) -> str:
    """First line of an error's message, for a list of problems."""
    return str(error).split("\n")[0] or type(error).__name__
