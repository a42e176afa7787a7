"""Finished runs of experiments -> a Markdown table that is kept in a document."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from ser_edge.experiments.plan import REFIT, Experiment, runs_of
from ser_edge.markdown import documents, table
from ser_edge.runs.record import Run, read_run

TABLE: Final = "experiments"
BEGIN, END = documents.markers(TABLE)

NOTE: Final = (
    "Choices were made on the validation columns alone; the test columns were written down and "
    "not used for them.\nUAR is the mean ± SD (n - 1) over folds, where a fold is the mean of its "
    "seeds; NLL is the same mean, without\ntemperature. The last epoch is scored. Hours are wall "
    "clock of all fits of the row."
)

_COLUMNS: Final = (
    "stage", "experiment", "what changed", "folds", "seeds", "validation UAR", "validation NLL",
    "test UAR", "parameters (M)", "hours",
)  # fmt: skip
_NOTHING: Final = "-"


@dataclass(frozen=True)
class Figure:
    """One figure over folds: ``sd`` is None of a single fold."""

    mean: float
    sd: float | None

    def __str__(self) -> str:
        return f"{self.mean:.3f}" + ("" if self.sd is None else f" ± {self.sd:.3f}")


@dataclass(frozen=True)
class Row:
    """An experiment and those of its runs that are finished."""

    experiment: Experiment
    runs: tuple[Run, ...]

    @property
    def wanted(self) -> int:
        """Number of runs when all is done."""
        return len(self.experiment.folds) * len(self.experiment.seeds)

    @property
    def hours(self) -> float | None:
        """Of all finished runs; None where one does not say."""
        seconds = [run.seconds for run in self.runs if run.seconds is not None]
        return sum(seconds) / 3600 if len(seconds) == len(self.runs) else None

    def figure(self, part: str, name: str) -> Figure | None:
        """A figure of ``validation`` or ``test``; None where no run has that part."""
        by_fold: dict[str, list[float]] = defaultdict(list)
        for run in self.runs:
            if part in run.figures:
                by_fold[run.fold].append(float(run.figures[part][name]))
        if not by_fold:
            return None
        values = [float(np.mean(seeds)) for seeds in by_fold.values()]
        sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
        return Figure(float(np.mean(values)), sd)


def read_rows(experiments: Sequence[Experiment], out: Path) -> list[Row]:
    """Experiments with their finished runs.

    Raises
    ------
    ValueError
        A finished run is damaged or of another fold.
    """
    runs: dict[str, list[Run]] = {experiment.name: [] for experiment in experiments}
    for run in runs_of(experiments, out):
        if run.finished:
            runs[run.experiment.name].append(read_run(run.folder, run.fold))
    return [Row(experiment, tuple(runs[experiment.name])) for experiment in experiments]


def markdown(rows: Iterable[Row]) -> str:
    """The table, a row an experiment, with what has to be said of it above."""
    return NOTE + "\n\n" + table(_COLUMNS, map(_cells, rows))


def _cells(row: Row) -> tuple[str, ...]:
    experiment = row.experiment
    head = (
        experiment.stage,
        experiment.name,
        experiment.what,
        _NOTHING if experiment.not_run else ", ".join(experiment.folds),
        _NOTHING if experiment.not_run else ", ".join(map(str, experiment.seeds)),
    )
    empty = (_NOTHING,) * (len(_COLUMNS) - len(head) - 1)
    if experiment.not_run is not None:
        return (*head, experiment.not_run, *empty)
    if len(row.runs) < row.wanted:
        return (*head, f"{len(row.runs)} of {row.wanted} runs done", *empty)
    # A refit keeps the validation predictions of the run before it: not its own figures.
    uar, nll = (
        None if REFIT in experiment.networks else row.figure("validation", name)
        for name in ("uar", "nll")
    )
    return (
        *head,
        _shown(uar),
        _NOTHING if nll is None else f"{nll.mean:.3f}",
        _shown(row.figure("test", "uar")),
        f"{row.runs[0].parameters / 1e6:.2f}",
        _NOTHING if row.hours is None else f"{row.hours:.2f}",
    )


def _shown(figure: Figure | None) -> str:
    return _NOTHING if figure is None else str(figure)
