"""What a small network makes of classic features: scikit-learn's MLP, honestly divided and not.

It is here for comparison. Nothing is chosen by anything: scikit-learn's defaults, no validation.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from ser_edge.baseline.table import Clip, FeatureTable
from ser_edge.data.splits import ALL, RANDOM, SPEAKERS, VALIDATION_ACTORS, Division, divide
from ser_edge.emotions import EMOTIONS
from ser_edge.labels import Grouping, find_grouping
from ser_edge.markdown import table
from ser_edge.metrics.classification import confusion, uar
from ser_edge.processes import process_pool

Float32 = npt.NDArray[np.float32]
Int = npt.NDArray[np.int64]
Kind: TypeAlias = Literal["random", "folds", "speakers"]

EIGHT: Final = "8"
"""The emotions themselves; other labels are groupings of :mod:`ser_edge.labels`."""

SOLVERS: Final = ("adam", "sgd")

ACTOR_FOLDS: Final = tuple(map(str, VALIDATION_ACTORS))

KINDS: Final[dict[Kind, str]] = {
    "random": "clips at random (LEAKY)",
    "folds": "actors apart, folds",
    "speakers": "speakers apart, at random",
}
"""What identifies a division in a table."""


@dataclass(frozen=True)
class Trial:
    """One training: everything that it depends on besides the table.

    Parameters
    ----------
    labels : str
        ``"8"``, or a grouping by name or file.
    standardised : bool
        Each feature less its mean and divided by its deviation, both of the training clips.
    solver : {"adam", "sgd"}
    fold : str
        As :func:`ser_edge.data.splits.divide` takes it, not ``all``.
    seed : int
        Of the network, and of a division at random.
    hidden : tuple of int
        Sizes of the hidden layers.
    iterations : int
        Epochs at the most.

    Raises
    ------
    ValueError
        If a value is out of range.
    """

    labels: str = EIGHT
    standardised: bool = True
    solver: str = SOLVERS[0]
    fold: str = RANDOM
    seed: int = 0
    hidden: tuple[int, ...] = (100,)
    iterations: int = 500

    def __post_init__(self) -> None:
        if self.solver not in SOLVERS:
            raise ValueError(f"solver is {self.solver!r}, allowed: {', '.join(SOLVERS)}")
        if self.fold == ALL:
            raise ValueError(f"fold {ALL} has nobody to test on")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}, allowed: 0 or more")
        if self.iterations < 1:
            raise ValueError(f"iterations is {self.iterations}, allowed: 1 or more")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden is {self.hidden}, allowed: sizes of 1 or more")

    @property
    def kind(self) -> Kind:
        if self.fold == RANDOM:
            return "random"
        return "speakers" if self.fold == SPEAKERS else "folds"


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Parameters
    ----------
    trial : Trial
    classes : tuple of str
        The labels in the order of ``counts``.
    trained_on : int
        Clips.
    iterations : int
        Epochs that it took.
    converged : bool
        Whether it stopped before they ran out.
    accuracy_in_training : float
        On the clips that it was trained on.
    counts : tuple of tuple of int
        Of the test clips: row the truth, column the prediction.
    """

    trial: Trial
    classes: tuple[str, ...]
    trained_on: int
    iterations: int
    converged: bool
    accuracy_in_training: float
    counts: tuple[tuple[int, ...], ...]

    @property
    def matrix(self) -> Int:
        return np.array(self.counts, dtype=np.int64)

    @property
    def uar(self) -> float:
        return uar(self.matrix)

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.matrix) / self.matrix.sum())

    @property
    def commonest(self) -> float:
        """Accuracy of always saying the test's most common label."""
        return float(self.matrix.sum(axis=1).max() / self.matrix.sum())


@dataclass(frozen=True)
class Summary:
    """Trials that differ in fold and seed alone: means, and how far they are apart.

    ``over_folds`` is the standard deviation of the folds' UAR (each the mean over seeds),
    ``over_seeds`` that of the seeds' UAR (each the mean over folds); 0 where there is one alone.
    """

    labels: str
    standardised: bool
    solver: str
    kind: Kind
    trials: int
    uar: float
    accuracy: float
    commonest: float
    chance: float
    over_folds: float
    over_seeds: float
    accuracy_in_training: float
    not_converged: int


def trials(
    labels: Sequence[str],
    solvers: Sequence[str],
    folds: Sequence[str],
    seeds: Sequence[int],
    base: Trial,
) -> tuple[Trial, ...]:
    """Every combination, with and without standardisation; the rest is as in ``base``.

    Raises
    ------
    ValueError
        A value is out of range, or there are no such labels.
    """
    for name in labels:
        _grouping(name)
    return tuple(
        replace(base, labels=name, standardised=scaled, solver=solver, fold=fold, seed=seed)
        for solver in solvers
        for name in labels
        for scaled in (False, True)
        for fold in folds
        for seed in seeds
    )


def run(
    table: FeatureTable,
    wanted: Sequence[Trial],
    *,
    columns: Sequence[str] = ("*",),
    song: bool = False,
    workers: int | None = None,
    progress: bool = True,
) -> tuple[Outcome, ...]:
    """Train and score every trial.

    Parameters
    ----------
    table : FeatureTable
    wanted : sequence of Trial
    columns : sequence of str
        Patterns such as ``mfcc_*`` of the features that are looked at.
    song : bool
        Train on song as well; it is never scored.
    workers : int, optional
        Processes; one a core if not given, 0 for none but this one.
    progress : bool
        Show a bar.

    Returns
    -------
    tuple of Outcome
        In the order of ``wanted``.

    Raises
    ------
    ValueError
        No column has such a name, the table cannot be divided so, or scikit-learn is not there.
    RuntimeError
        A process was killed.
    """
    _sklearn()
    chosen = _columns(table.names, columns)
    clips = [clip for clip in table.clips if song or clip.channel == "speech"]
    place = {clip: number for number, clip in enumerate(table.clips)}
    divisions: dict[tuple[str, int], tuple[Division[Clip], Float32, Float32]] = {}
    for key in dict.fromkeys((trial.fold, trial.seed) for trial in wanted):
        division = divide(clips, *key)
        parts = (division.train, division.test)  # as copies once a division, not once a trial
        values = [table.values[np.ix_([place[c] for c in part], chosen)] for part in parts]
        divisions[key] = (division, values[0], values[1])
    outcomes: dict[int, Outcome] = {}
    with (
        process_pool(workers) as pool,
        tqdm(total=len(wanted), unit="training", desc="MLP", disable=not progress) as bar,
    ):
        jobs = {}
        for number, trial in enumerate(wanted):
            division, *values = divisions[trial.fold, trial.seed]
            jobs[pool.submit(fit_and_score, trial, *_truths(trial, division), *values)] = number
        for job in as_completed(jobs):
            try:
                outcomes[jobs[job]] = job.result()
            except BrokenProcessPool:
                raise RuntimeError("a process was killed (is there too little memory?)") from None
            bar.update()
    return tuple(outcomes[number] for number in range(len(wanted)))


def fit_and_score(
    trial: Trial,
    classes: tuple[str, ...],
    truth: Int,
    test_truth: Int,
    values: Float32,
    test_values: Float32,
) -> Outcome:
    """Train on one part, score on the other.

    Parameters
    ----------
    trial : Trial
    classes : tuple of str
    truth, test_truth : ndarray
        ``int64 (clips,)``, indices of classes.
    values, test_values : ndarray
        ``float32 (clips, features)``.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier(
        hidden_layer_sizes=trial.hidden,
        solver=trial.solver,
        max_iter=trial.iterations,
        random_state=trial.seed,
    )
    model = make_pipeline(StandardScaler(), network) if trial.standardised else network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is in the outcome
        model.fit(values, truth)
    predicted = np.asarray(model.predict(test_values), dtype=np.int64)
    return Outcome(
        trial=trial,
        classes=classes,
        trained_on=len(truth),
        iterations=int(network.n_iter_),
        converged=network.n_iter_ < trial.iterations,
        accuracy_in_training=float(np.mean(model.predict(values) == truth)),
        counts=tuple(map(tuple, confusion(test_truth, predicted, len(classes)).tolist())),
    )


def summarise(outcomes: Sequence[Outcome]) -> tuple[Summary, ...]:
    """Means over folds and seeds, in the order in which the trials were made."""
    groups: dict[tuple[str, bool, str, Kind], list[Outcome]] = {}
    for outcome in outcomes:
        trial = outcome.trial
        key = (trial.labels, trial.standardised, trial.solver, trial.kind)
        groups.setdefault(key, []).append(outcome)
    return tuple(_summary(group) for group in groups.values())


def markdown(summaries: Sequence[Summary]) -> str:
    """One row for what is asked and how, and three columns for each kind of division."""
    kinds = [kind for kind in KINDS if any(s.kind == kind for s in summaries)]
    rows: dict[tuple[str, str, str], dict[Kind, Summary]] = {}
    for s in summaries:
        features = "standardised" if s.standardised else "as they are"
        rows.setdefault((s.labels, s.solver, features), {})[s.kind] = s
    return _table(kinds, rows)


def to_dict(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Summaries and every training's confusion matrix as plain values, ready for JSON."""

    def rounded(values: dict[str, Any]) -> dict[str, Any]:
        return {k: round(v, 4) if isinstance(v, float) else v for k, v in values.items()}

    return {
        "summaries": [rounded(asdict(summary)) for summary in summarise(outcomes)],
        "trials": [
            rounded(
                {
                    **asdict(o.trial),
                    "uar": o.uar,
                    "accuracy": o.accuracy,
                    "trained_on": o.trained_on,
                    "epochs": o.iterations,
                    "converged": o.converged,
                    "accuracy_in_training": o.accuracy_in_training,
                    "classes": o.classes,
                    "confusion": o.counts,
                }
            )
            for o in outcomes
        ],
    }


def _summary(group: Sequence[Outcome]) -> Summary:
    trial = group[0].trial
    return Summary(
        labels=trial.labels,
        standardised=trial.standardised,
        solver=trial.solver,
        kind=trial.kind,
        trials=len(group),
        uar=float(np.mean([o.uar for o in group])),
        accuracy=float(np.mean([o.accuracy for o in group])),
        commonest=float(np.mean([o.commonest for o in group])),
        chance=float(np.mean([1 / np.count_nonzero(o.matrix.sum(axis=1)) for o in group])),
        over_folds=_apart(group, [o.trial.fold for o in group]),
        over_seeds=_apart(group, [o.trial.seed for o in group]),
        accuracy_in_training=float(np.mean([o.accuracy_in_training for o in group])),
        not_converged=sum(not o.converged for o in group),
    )


def _table(kinds: Sequence[Kind], rows: dict[tuple[str, str, str], dict[Kind, Summary]]) -> str:
    heads = ["emotions", "solver", "features", "always the commonest"]
    for kind in kinds:
        heads += [f"{KINDS[kind]}: UAR", "SD", "accuracy"]
    lines = []
    for (labels, solver, features), by_kind in rows.items():
        cells = [labels, solver, features]
        # Two divisions need not have the same test clips; where they differ, the first is reported.
        cells.append(f"{next(iter(by_kind.values())).commonest:.3f}")
        for kind in kinds:
            s = by_kind.get(kind)
            if s is None:
                cells += ["", "", ""]
            else:
                spread = s.over_folds if kind == "folds" else s.over_seeds
                cells += [f"{s.uar:.3f}", f"{spread:.3f}", f"{s.accuracy:.3f}"]
        lines.append(cells)
    return table(heads, lines, "lllr")


def _apart(group: Sequence[Outcome], by: Sequence[object]) -> float:
    """Standard deviation (n - 1) of the mean UAR of each value of ``by``."""
    means = [
        np.mean([o.uar for o, other in zip(group, by, strict=True) if other == value])
        for value in dict.fromkeys(by)
    ]
    return float(np.std(means, ddof=1)) if len(means) > 1 else 0.0


def _truths(trial: Trial, division: Division[Any]) -> tuple[tuple[str, ...], Int, Int]:
    """The classes, and the index of every training and test clip's class."""
    grouping = _grouping(trial.labels)
    classes = EMOTIONS if grouping is None else grouping.names
    index = EMOTIONS.index if grouping is None else grouping.index
    train, test = (
        np.array([index(clip.emotion) for clip in part], dtype=np.int64)
        for part in (division.train, division.test)
    )
    if len(np.unique(train)) < 2:
        raise ValueError(f"fold {trial.fold}: fewer than two emotions to train on")
    return classes, train, test


def _grouping(labels: str) -> Grouping | None:
    return None if labels == EIGHT else find_grouping(labels)


def _columns(names: Sequence[str], patterns: Sequence[str]) -> list[int]:
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(f"no column is called {pattern!r}, the first is {names[0]}")
    return [n for n, name in enumerate(names) if any(fnmatchcase(name, p) for p in patterns)]


def _sklearn() -> None:
    try:
        import sklearn  # noqa: F401
    except ImportError:
        raise ValueError(
            "the baseline needs scikit-learn: pip install 'ser-edge[features]'"
        ) from None
