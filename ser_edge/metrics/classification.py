"""Predictions -> figures. Everything is computed from logits a clip, which are kept as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_edge.decision import Calibration, decide, pool, softmax
from ser_edge.emotions import EMOTIONS, UNKNOWN, emotion_index
from ser_edge.labels import GROUPINGS, OTHER, Grouping

Float64 = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

ECE_BINS: Final = 15


@dataclass(frozen=True)
class Answered:
    """The test clips with threshold: what is "unknown", and how good the other answers are."""

    unknown: int
    unknown_share: float
    uar_of_answered: float
    accuracy_of_answered: float


@dataclass(frozen=True)
class GroupFigures:
    """UAR on coarser labels (:mod:`ser_edge.labels`).

    Parameters
    ----------
    labels : str
        Name of the grouping.
    groups : tuple of str
        The groups that occur among the clips.
    clips : int
    uar, accuracy : float
        Of the group with the highest summed score, without threshold; 0 to 1.
    chance : float
        UAR of guessing: one by the number of groups.
    commonest : float
        Accuracy of always answering the most common group.
    uar_without_other : float or None
        UAR where clips of the group "other" are left out and its score is not looked at: what a
        published figure for these classes means. None where there is no such group.
    """

    labels: str
    groups: tuple[str, ...]
    clips: int
    uar: float
    accuracy: float
    chance: float
    commonest: float
    uar_without_other: float | None


@dataclass(frozen=True)
class ClipPrediction:
    """One clip's truth and the network's logits (before temperature)."""

    part: str
    fold: str
    utterance: str
    corpus: str
    speaker: str
    sex: str
    intensity: str
    emotion: str
    logits: tuple[float, ...]

    @property
    def predicted(self) -> str:
        return EMOTIONS[int(np.argmax(self.logits))]


def pool_windows(
    window_logits: npt.ArrayLike, windows_per_clip: Sequence[int], weights: Sequence[float]
) -> Float64:
    """Logits of windows in order -> logits of clips, as the edge pools them.

    Parameters
    ----------
    window_logits : array_like
        ``(windows, classes)``.
    windows_per_clip : sequence of int
        Sums to the number of windows.
    weights : sequence of float
        Share of speech of each window.

    Returns
    -------
    ndarray
        ``float64 (clips, classes)``.
    """
    logits = np.asarray(window_logits, dtype=np.float64)
    ends = np.cumsum(windows_per_clip)
    share = np.asarray(weights)
    return np.stack(
        [
            pool(logits[end - count : end], share[end - count : end])
            for end, count in zip(ends, windows_per_clip, strict=True)
        ]
    )


def confusion(truth: Int, predicted: Int, classes: int = len(EMOTIONS)) -> Int:
    """Counts, row the truth, column the prediction."""
    matrix = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(matrix, (truth, predicted), 1)
    return matrix


def uar(matrix: Int) -> float:
    """Unweighted average recall over the classes that occur."""
    counts = matrix.sum(axis=1)
    return float(np.mean(np.diag(matrix)[counts > 0] / counts[counts > 0]))


def macro_f1(matrix: Int) -> float:
    """F1, averaged over the classes that occur or are predicted."""
    sums = matrix.sum(axis=0) + matrix.sum(axis=1)
    return float(np.mean(2 * np.diag(matrix)[sums > 0] / sums[sums > 0]))


def expected_calibration_error(scores: Float64, truth: Int, bins: int = ECE_BINS) -> float:
    """ECE of the highest score, equal-width bins (Guo et al. 2017, arXiv 1706.04599)."""
    confidence = scores.max(axis=1)
    correct = scores.argmax(axis=1) == truth
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    return float(
        sum(
            abs(correct[which == b].mean() - confidence[which == b].mean()) * np.mean(which == b)
            for b in np.unique(which)
        )
    )


def negative_log_likelihood(scores: Float64, truth: Int) -> float:
    """Mean of -ln(score of the truth)."""
    picked = scores[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(picked, 1e-12)).mean())


def figures(predictions: Sequence[ClipPrediction], temperature: float = 1.0) -> dict[str, Any]:
    """All figures of the protocol on one set of clips.

    Returns
    -------
    dict
        ``clips``, ``uar``, ``accuracy``, ``macro_f1``, ``ece``, ``nll``, ``confusion`` (rows the
        truth), ``recall`` by emotion, ``uar_by_sex``, ``uar_by_intensity``.

    Raises
    ------
    ValueError
        If there is no prediction.
    """
    if not predictions:
        raise ValueError("no prediction to compute figures from")
    truth = np.array([emotion_index(p.emotion) for p in predictions])
    scores = softmax(np.array([p.logits for p in predictions]), temperature)
    predicted = scores.argmax(axis=1)
    matrix = confusion(truth, predicted)

    def by(attribute: str) -> dict[str, float]:
        values = np.array([getattr(p, attribute) for p in predictions])
        return {
            str(value): round(uar(confusion(truth[values == value], predicted[values == value])), 4)
            for value in np.unique(values)
        }

    counts = matrix.sum(axis=1)
    return {
        "clips": len(predictions),
        "uar": round(uar(matrix), 4),
        "accuracy": round(float(np.mean(truth == predicted)), 4),
        "macro_f1": round(macro_f1(matrix), 4),
        "ece": round(expected_calibration_error(scores, truth), 4),
        "nll": round(negative_log_likelihood(scores, truth), 4),
        "recall": {
            emotion: round(float(matrix[i, i] / counts[i]), 4)
            for i, emotion in enumerate(EMOTIONS)
            if counts[i]
        },
        "uar_by_sex": by("sex"),
        "uar_by_intensity": by("intensity"),
        "confusion": matrix.tolist(),
    }


def group_figures(
    predictions: Sequence[ClipPrediction],
    temperature: float = 1.0,
    groupings: Iterable[Grouping] = tuple(GROUPINGS.values()),
) -> tuple[GroupFigures, ...]:
    """Figures of coarser labels, summed from the eight scores as the edge app sums them.

    Parameters
    ----------
    predictions : sequence of ClipPrediction
    temperature : float
        It weighs one high score against several small ones, so sums depend on it.
    groupings : iterable of Grouping

    Returns
    -------
    tuple of GroupFigures
        One a grouping.

    Raises
    ------
    ValueError
        If there is no prediction.
    """
    if not predictions:
        raise ValueError("no prediction to compute figures from")
    scores = softmax(np.array([p.logits for p in predictions]), temperature)
    found = []
    for grouping in groupings:
        members = np.array([grouping.index(emotion) for emotion in EMOTIONS])
        sums = scores @ np.eye(len(grouping.groups))[members]
        truth = members[[emotion_index(p.emotion) for p in predictions]]
        matrix = confusion(truth, sums.argmax(axis=1), len(grouping.groups))
        counts = matrix.sum(axis=1)
        found.append(
            GroupFigures(
                labels=grouping.name,
                groups=tuple(n for n, c in zip(grouping.names, counts, strict=True) if c),
                clips=len(predictions),
                uar=round(uar(matrix), 4),
                accuracy=round(float(np.trace(matrix) / len(predictions)), 4),
                chance=round(1 / int(np.sum(counts > 0)), 4),
                commonest=round(float(counts.max() / len(predictions)), 4),
                uar_without_other=_uar_without_other(grouping, truth, sums),
            )
        )
    return tuple(found)


def _uar_without_other(grouping: Grouping, truth: Int, sums: Float64) -> float | None:
    if OTHER not in grouping.names:
        return None
    other = grouping.names.index(OTHER)
    named = truth != other
    if not named.any():
        return None
    predicted = np.where(np.arange(sums.shape[1]) == other, -1.0, sums).argmax(axis=1)
    return round(uar(confusion(truth[named], predicted[named], sums.shape[1])), 4)


def by_labels(figures: Iterable[GroupFigures]) -> dict[str, dict[str, Any]]:
    """Name of the grouping -> its figures as plain values, ready for JSON."""
    plain = {}
    for found in figures:
        values = asdict(found)
        plain[values.pop("labels")] = values | {"groups": list(found.groups)}
    return plain


def answered(predictions: Sequence[ClipPrediction], calibration: Calibration) -> Answered:
    """What the threshold does to test clips."""
    decided = [decide(p.logits, calibration).emotion for p in predictions]
    sure = [p for p, emotion in zip(predictions, decided, strict=True) if emotion != UNKNOWN]
    found = figures(sure) if sure else {"uar": 0.0, "accuracy": 0.0}
    unknown = len(predictions) - len(sure)
    return Answered(unknown, unknown / len(predictions), found["uar"], found["accuracy"])


_LOGIT: Final = "logit_"


def predictions_csv(predictions: Iterable[ClipPrediction]) -> str:
    """Predictions as CSV text, one column a logit."""
    names = [f.name for f in fields(ClipPrediction) if f.name != "logits"]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*names, "predicted", *(_LOGIT + emotion for emotion in EMOTIONS)])
    for prediction in predictions:
        values = asdict(prediction)
        writer.writerow(
            [
                *(values[name] for name in names),
                prediction.predicted,
                *(f"{logit:.5f}" for logit in prediction.logits),
            ]
        )
    return buffer.getvalue()


def read_predictions(path: Path) -> list[ClipPrediction]:
    """Read what :func:`predictions_csv` wrote.

    Raises
    ------
    ValueError
        The file is missing or has other columns or values; the message names it.
    """
    names = [f.name for f in fields(ClipPrediction) if f.name != "logits"]
    try:
        with open(path, newline="") as file:
            return [
                ClipPrediction(
                    **{name: row[name] for name in names},
                    logits=tuple(float(row[_LOGIT + emotion]) for emotion in EMOTIONS),
                )
                for row in csv.DictReader(file)
            ]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path}: not predictions as training writes them: {error}") from None
