"""One model on several corpora -> a Markdown table that is kept in a document."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ser_edge.emotions import EMOTIONS
from ser_edge.evaluation.crosscorpus import Crossing
from ser_edge.markdown import table
from ser_edge.runs.inference import METRICS, WEIGHTS
from ser_edge.runs.record import RunRecord

TABLE: Final = "crosscorpus"

NOTE: Final = (
    "UAR (shared): the highest score among the emotions that the corpus has; UAR (eight): among\n"
    "all eight, as the edge app answers: an emotion that the corpus lacks is wrong. Chance is\n"
    "the UAR of guessing, commonest the accuracy of always answering the most common emotion."
)

_FEW: Final = 30
"""Recalls on fewer clips are put in parentheses."""


@dataclass(frozen=True)
class _Row:
    """A corpus: ``recall`` is by emotion, of the shared labels; ``clips`` as well."""

    corpus: str
    speakers: int
    clips: dict[str, int]
    uar: float
    uar_of_eight: float
    accuracy: float
    recall: dict[str, float]


def markdown(model: Path, crossings: Sequence[Crossing]) -> str:
    """The figures of one model folder on every rendering, its own folds in the first row.

    Parameters
    ----------
    model : Path
        As ``scripts/package_model.py`` writes it.
    crossings : sequence of Crossing
        Of that model.

    Raises
    ------
    ValueError
        ``metrics.json`` is no model's, or a crossing is another model's.
    """
    others = [c.trained.folder for c in crossings if c.trained.folder != model]
    if others:
        raise ValueError(f"{others[0]}: the table is one model's, of {model}")
    record = _record(model)
    rows = [_own(record), *map(_row, crossings)]
    recalls = f"Recall by emotion, of the shared ones; in parentheses on fewer than {_FEW} clips:"
    parts = [_about(model, record), _figures(rows), NOTE, recalls, _recalls(rows)]
    return "\n\n".join(parts)


def check_model(model: Path) -> None:
    """Check a model folder before the evaluation, which takes minutes.

    Raises
    ------
    ValueError
        As :func:`markdown`.
    """
    if not (model / WEIGHTS).is_file():
        raise ValueError(f"{model}: the table is of a model folder: no {WEIGHTS} in it")
    _record(model)


def _about(model: Path, record: RunRecord) -> str:
    voices = sorted(set((record.gate or {}).get("speech", ())) - set(record.corpora))
    head = f", its nonspeech head on {', '.join(voices)} too, without labels" if voices else ""
    return (
        f"`{model.name}`, trained on {', '.join(record.corpora)}{head}. The row of "
        f"{record.corpora[0]} is the mean of its folds: networks of the same recipe, the "
        "tested speakers held out."
    )


def _figures(rows: Sequence[_Row]) -> str:
    return table(
        (
            *("corpus", "clips", "speakers", "emotions", "chance", "UAR (shared)", "UAR (eight)"),
            *("accuracy (shared)", "commonest"),
        ),
        [
            (
                row.corpus,
                f"{(clips := sum(row.clips.values())):,}",
                row.speakers,
                len(row.clips),
                f"{1 / len(row.clips):.3f}",
                f"**{row.uar:.3f}**",
                f"{row.uar_of_eight:.3f}",
                f"{row.accuracy:.3f}",
                f"{max(row.clips.values()) / clips:.3f}",
            )
            for row in rows
        ],
    )


def _recalls(rows: Sequence[_Row]) -> str:
    return table(
        ("corpus", *EMOTIONS),
        [(row.corpus, *(_recall(row, emotion) for emotion in EMOTIONS)) for row in rows],
    )


def _recall(row: _Row, emotion: str) -> str:
    clips = row.clips.get(emotion, 0)
    if not clips:
        return "-"
    recall = f"{row.recall[emotion]:.2f}"
    return recall if clips >= _FEW else f"({recall}, {clips})"


def _row(crossing: Crossing) -> _Row:
    clips = Counter(p.emotion for p in crossing.predictions)
    return _Row(
        ", ".join(crossing.corpora),
        crossing.speakers,
        {emotion: clips[emotion] for emotion in crossing.labels},
        crossing.shared.uar,
        crossing.of_all.uar,
        crossing.shared.accuracy,
        dict(crossing.shared.recall),
    )


def _own(record: RunRecord) -> _Row:
    pooled = record.pooled_test
    speakers = {s for fold in record.folds.values() for s in fold["speakers"]["test"]}
    mean = record.summary["uar_mean"]
    return _Row(
        f"{record.corpora[0]}, by folds",
        len(speakers),
        {e: sum(row) for e, row in zip(EMOTIONS, pooled["confusion"], strict=True) if sum(row)},
        mean,
        mean,
        pooled["accuracy"],
        pooled["recall"],
    )


def _record(model: Path) -> RunRecord:
    needs = ("corpora", "pooled_test", "folds", "summary")
    return RunRecord.read(model / METRICS, needs, "scripts/package_model.py")
