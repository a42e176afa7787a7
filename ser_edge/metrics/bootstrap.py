"""Two runs on the same clips: how far apart they are, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_edge.data.splits import RANDOM
from ser_edge.emotions import EMOTIONS, emotion_index
from ser_edge.metrics.classification import ClipPrediction, read_predictions

Float64 = npt.NDArray[np.float64]

DRAWS: Final = 2000
CONFIDENCE: Final = 0.95
PREDICTIONS: Final = "predictions.csv"
_DRAWS_AT_ONCE: Final = 100


@dataclass(frozen=True)
class Interval:
    """Where a difference lies in 95 % of the draws."""

    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Difference:
    """A figure of A and of B, 0 to 1.

    ``by_clip`` draws clips, as if every clip were another voice; ``by_speaker`` draws speakers with
    all their clips and is the honest one: the clips of one voice are right or wrong together. It
    is None where there is one speaker alone.
    """

    a: float
    b: float
    by_clip: Interval
    by_speaker: Interval | None

    @property
    def difference(self) -> float:
        """What B has more than A."""
        return self.b - self.a


@dataclass(frozen=True)
class RecallPair:
    """Recall of one emotion in both runs, on so many clips."""

    emotion: str
    clips: int
    a: float
    b: float


@dataclass(frozen=True)
class Scored:
    """The test predictions of a run; ``leaky`` if actors of its test were in its training."""

    name: str
    predictions: tuple[ClipPrediction, ...]
    leaky: bool


@dataclass(frozen=True)
class PairedRuns:
    """Two runs on the clips that both were tested on.

    ``left_out_a`` and ``left_out_b`` count clips that only one of them was tested on. ``only_a``
    and ``only_b`` count clips that only one has right.
    """

    name_a: str
    name_b: str
    leaky_a: bool
    leaky_b: bool
    clips: int
    speakers: int
    left_out_a: int
    left_out_b: int
    uar: Difference
    accuracy: Difference
    recalls: tuple[RecallPair, ...]
    both: int
    only_a: int
    only_b: int
    neither: int


@dataclass(frozen=True)
class _Outcome:
    """A clip's label, speaker, and the share of its predictions that are right."""

    emotion: str
    speaker: str
    right: float


def read_scored(folder: Path, name: str = "") -> Scored:
    """Test predictions of an evaluation, of a single run, or of ``models/<name>``.

    Raises
    ------
    ValueError
        ``predictions.csv`` is missing, is something else, or holds no test clip; the message
        names it.
    """
    path = folder / PREDICTIONS
    predictions = tuple(p for p in read_predictions(path) if p.part == "test")
    if not predictions:
        raise ValueError(f"{path}: no test clip in it; runs of --fold all have none")
    leaky = any(p.fold == RANDOM for p in predictions)
    return Scored(name or folder.name, predictions, leaky)


def read_pair(a: Path, b: Path) -> tuple[Scored, Scored]:
    """Two folders, called by the shortest ends of their paths that differ.

    Raises
    ------
    ValueError
        As :func:`read_scored`.
    """
    parts_a, parts_b = a.resolve().parts, b.resolve().parts
    # A trailing fold-1 says too little alone: runs/a/fold-1 and runs/b/fold-1 are a/fold-1, ...
    length = 1
    while length < min(len(parts_a), len(parts_b)) and parts_a[-length:] == parts_b[-length:]:
        length += 1
    names = ["/".join(parts[-length:]) for parts in (parts_a, parts_b)]
    return read_scored(a, names[0]), read_scored(b, names[1])


def compare(a: Scored, b: Scored, *, draws: int = DRAWS, seed: int = 0) -> PairedRuns:
    """Pair the clips of two runs and draw the intervals (paired bootstrap, Efron 1979).

    Parameters
    ----------
    a, b : Scored
        Clips are paired by corpus and utterance. A clip with several predictions (several seeds)
        counts once, by the share of them that is right.
    draws : int
        Times that clips, and speakers, are drawn with replacement.
    seed : int

    Returns
    -------
    PairedRuns
        Differences are B less A.

    Raises
    ------
    ValueError
        No clip in common, or one with two labels.
    """
    outcomes_a, outcomes_b = _outcomes(a), _outcomes(b)
    common = sorted(outcomes_a.keys() & outcomes_b.keys())
    if not common:
        raise ValueError(f"{a.name} and {b.name}: no test clip in common")
    for key in common:
        labels = outcomes_a[key].emotion, outcomes_b[key].emotion
        if labels[0] != labels[1]:
            raise ValueError(f"{key[1]}: {labels[0]} in {a.name}, {labels[1]} in {b.name}")
    emotion = np.array([emotion_index(outcomes_a[key].emotion) for key in common])
    speaker = np.unique([outcomes_a[key].speaker for key in common], return_inverse=True)[1]
    right_a = np.array([outcomes_a[key].right for key in common])
    right_b = np.array([outcomes_b[key].right for key in common])

    one_hot = np.eye(len(EMOTIONS))[emotion]
    tallies = np.stack([one_hot, one_hot * right_a[:, None], one_hot * right_b[:, None]])
    speakers = int(speaker.max()) + 1
    of_speakers = np.stack([_summed(tally, speaker, speakers) for tally in tallies])
    by_clip = _draw(tallies, draws, seed)
    by_speaker = _draw(of_speakers, draws, seed) if speakers > 1 else None
    whole = tallies.sum(axis=1)
    found = [
        Difference(
            float(figure(whole[0], whole[1])),
            float(figure(whole[0], whole[2])),
            _interval(figure, by_clip),
            None if by_speaker is None else _interval(figure, by_speaker),
        )
        for figure in (_uar, _accuracy)
    ]
    return PairedRuns(
        name_a=a.name,
        name_b=b.name,
        leaky_a=a.leaky,
        leaky_b=b.leaky,
        clips=len(common),
        speakers=speakers,
        left_out_a=len(outcomes_a) - len(common),
        left_out_b=len(outcomes_b) - len(common),
        uar=found[0],
        accuracy=found[1],
        recalls=tuple(
            RecallPair(
                label,
                int(whole[0, i]),
                float(whole[1, i] / whole[0, i]),
                float(whole[2, i] / whole[0, i]),
            )
            for i, label in enumerate(EMOTIONS)
            if whole[0, i]
        ),
        both=int(np.sum((right_a >= 0.5) & (right_b >= 0.5))),
        only_a=int(np.sum((right_a >= 0.5) & (right_b < 0.5))),
        only_b=int(np.sum((right_a < 0.5) & (right_b >= 0.5))),
        neither=int(np.sum((right_a < 0.5) & (right_b < 0.5))),
    )


def to_dict(difference: Difference) -> dict[str, Any]:
    """Plain values, ready for JSON."""

    def ends(interval: Interval | None) -> list[float] | None:
        return None if interval is None else [round(interval.low, 4), round(interval.high, 4)]

    return {
        "a": round(difference.a, 4),
        "b": round(difference.b, 4),
        "difference": round(difference.difference, 4),
        "interval_by_clip": ends(difference.by_clip),
        "interval_by_speaker": ends(difference.by_speaker),
    }


def verdict(difference: Difference) -> str:
    """The interval by speaker -> a short conclusion."""
    interval = difference.by_speaker
    if interval is None:
        return "one speaker alone: the result says nothing about other voices"
    if not interval.is_clear:
        return "no clear difference"
    return "B is better" if difference.difference > 0 else "A is better"


def table(runs: PairedRuns) -> str:
    """The comparison as text for a terminal."""

    def span(interval: Interval | None) -> str:
        return "one speaker" if interval is None else f"{interval.low:+.3f} to {interval.high:+.3f}"

    lines = [
        f"A: {runs.name_a}{' (LEAKY: random split)' if runs.leaky_a else ''}",
        f"B: {runs.name_b}{' (LEAKY: random split)' if runs.leaky_b else ''}",
        f"{runs.clips} test clips of {runs.speakers} speakers in common; left out: "
        f"{runs.left_out_a} only in A, {runs.left_out_b} only in B",
        "",
        f"{'':<10} {'A':>6} {'B':>6} {'B - A':>7}   {'95 % by speaker':<18} 95 % by clip",
    ]
    lines += [
        f"{name:<10} {d.a:6.3f} {d.b:6.3f} {d.difference:+7.3f}   {span(d.by_speaker):<18} "
        f"{span(d.by_clip)}"
        for name, d in (("UAR", runs.uar), ("accuracy", runs.accuracy))
    ]
    lines += [
        f"UAR: {verdict(runs.uar)} (by speaker, {DRAWS} draws; clips of one voice go together, "
        "so the interval by clip is too narrow)",
        "",
        f"{'recall':<10} {'A':>6} {'B':>6} {'B - A':>7}   clips",
        *(
            f"{r.emotion:<10} {r.a:6.3f} {r.b:6.3f} {r.b - r.a:+7.3f}   {r.clips}"
            for r in runs.recalls
        ),
        "",
        f"right: both {runs.both}, only A {runs.only_a}, only B {runs.only_b}, "
        f"neither {runs.neither}",
    ]
    return "\n".join(lines)


def _outcomes(scored: Scored) -> dict[tuple[str, str], _Outcome]:
    groups: dict[tuple[str, str], list[ClipPrediction]] = {}
    for prediction in scored.predictions:
        groups.setdefault((prediction.corpus, prediction.utterance), []).append(prediction)
    return {
        key: _Outcome(
            group[0].emotion,
            group[0].speaker,
            float(np.mean([p.predicted == p.emotion for p in group])),
        )
        for key, group in groups.items()
    }


def _summed(tally: Float64, group: npt.NDArray[np.intp], groups: int) -> Float64:
    """Rows of a tally added up by group: ``(groups, classes)``."""
    result = np.zeros((groups, tally.shape[1]))
    np.add.at(result, group, tally)
    return result


def _draw(tallies: Float64, draws: int, seed: int) -> Float64:
    """Tallies ``(3, units, classes)`` -> those of each draw of units, ``(3, draws, classes)``."""
    random = np.random.default_rng(seed)
    units = tallies.shape[1]
    parts = []
    for first in range(0, draws, _DRAWS_AT_ONCE):
        count = min(_DRAWS_AT_ONCE, draws - first)
        times = random.multinomial(units, np.full(units, 1 / units), size=count)
        parts.append(times.astype(np.float64) @ tallies)
    return np.concatenate(parts, axis=1)


def _uar(clips: Float64, right: Float64) -> Float64:
    """Mean recall of the classes that occur, over the last axis."""
    there = clips > 0
    recalls = np.where(there, right / np.maximum(clips, 1), 0.0)
    return np.asarray(recalls.sum(axis=-1) / there.sum(axis=-1))


def _accuracy(clips: Float64, right: Float64) -> Float64:
    return np.asarray(right.sum(axis=-1) / clips.sum(axis=-1))


def _interval(figure: Any, drawn: Float64) -> Interval:
    differences = figure(drawn[0], drawn[2]) - figure(drawn[0], drawn[1])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return Interval(float(low), float(high))
