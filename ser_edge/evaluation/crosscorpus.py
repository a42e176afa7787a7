"""A trained network on a corpus that it was not trained on, over the labels that both have.

Corpora differ in their emotions: RAVDESS has calm, nEMO has neither calm nor disgust. So a clip
counts if training had its emotion, and is scored twice: by the highest score among the shared
labels, which says how well they are distinguished, and among all eight, which is what the edge app
answers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from ser_edge.corpora import CORPORA
from ser_edge.data.datasets import load_clips
from ser_edge.data.render import MelImageRow, read_rows
from ser_edge.data.splits import Division, without_held_out
from ser_edge.emotions import EMOTIONS, emotion_index
from ser_edge.files import write_whole
from ser_edge.metrics import classification
from ser_edge.metrics.classification import ClipPrediction, predictions_csv
from ser_edge.provenance import provenance
from ser_edge.runs.inference import (
    METRICS,
    PREDICTIONS,
    WEIGHTS,
    RunModel,
    clip_predictions,
    load_run_model,
)
from ser_edge.runs.record import RunRecord

FIGURES: Final = "crosscorpus.json"

SONG: Final = "of song"
IN_TRAINING: Final = "of speakers in training or validation"
FINAL_TEST: Final = "of actors held out for the final test"
NOT_SHARED: Final = "of emotions that training did not have"


@dataclass(frozen=True)
class Figures:
    """On the clips of one crossing; ``recall`` by emotion."""

    uar: float
    accuracy: float
    macro_f1: float
    recall: Mapping[str, float]


@dataclass(frozen=True)
class Trained:
    """What a run or model was trained on; ``speakers`` include those of validation."""

    folder: Path
    corpora: tuple[str, ...]
    emotions: tuple[str, ...]
    speakers: frozenset[str]


@dataclass(frozen=True)
class Crossing:
    """A network on the clips of one rendering.

    Parameters
    ----------
    trained : Trained
    images : Path
        The rendering.
    corpora : tuple of str
        Whose clips were scored.
    labels : tuple of str
        The shared ones: emotions of the rendering that training had.
    speakers : int
        Of the scored clips.
    left_out : mapping
        Why -> clips that were not scored.
    shared, of_all : Figures
        Of the highest score among the shared labels, and among all eight.
    elsewhere : float
        Share of the clips whose highest score of all eight is none of the shared labels'.
    predictions : tuple of ClipPrediction
        One a clip.
    """

    trained: Trained
    images: Path
    corpora: tuple[str, ...]
    labels: tuple[str, ...]
    speakers: int
    left_out: Mapping[str, int]
    shared: Figures
    of_all: Figures
    elsewhere: float
    predictions: tuple[ClipPrediction, ...]


def runs_below(folder: Path) -> list[Path]:
    """The runs of a folder: itself, or the finished folds of an evaluation.

    Raises
    ------
    ValueError
        There is neither.
    """
    if (folder / WEIGHTS).is_file():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"fold-*/{WEIGHTS}"))
    if not found:
        raise ValueError(f"{folder}: neither a run nor a model: no {WEIGHTS} in it or its folds")
    return found


def read_trained(folder: Path) -> Trained:
    """A run or a model folder -> what it was trained on.

    The emotions are those of its corpora; a corpus unknown here may have all eight.

    Raises
    ------
    ValueError
        ``metrics.json`` is missing or something else; the message names it.
    """
    path = folder / METRICS
    record = RunRecord.read(path, ("corpora", "speakers"))
    if missing := {"train", "validation"} - set(record.speakers):
        raise ValueError(f"{path}: not as training writes it: speakers lacks {min(missing)}")
    speakers = frozenset([*record.speakers["train"], *record.speakers["validation"]])
    known = {
        emotion
        for corpus in record.corpora
        for emotion in CORPORA.get(corpus, CORPORA["own"]).emotions.values()
    }
    return Trained(folder, record.corpora, tuple(e for e in EMOTIONS if e in known), speakers)


def cross(folder: Path, images: Path, model: RunModel | None = None) -> Crossing:
    """Score a run or a model folder on a rendering.

    Parameters
    ----------
    folder : Path
        With weights, recipe and ``metrics.json``.
    images : Path
        What ``scripts/render.py`` wrote, to the same specification. Its speech is scored, but for
        speakers of training or validation, actors that are held out for the final test
        and emotions that training did not have.
    model : RunModel, optional
        The folder's network, where it is none of images.

    Returns
    -------
    Crossing

    Raises
    ------
    ValueError
        Something is missing or does not fit, or nothing is left to score.
    """
    model = model or load_run_model(folder)
    trained = read_trained(folder)
    rows = read_rows(images, model.image)
    wanted, left_out = _wanted(rows, trained)
    if not wanted:
        raise ValueError(f"{images}: nothing to score {folder} on; left out: {_counts(left_out)}")
    clips = load_clips(images, wanted, model.image)
    fold = folder.name if folder.name.startswith("fold-") else ""
    made = clip_predictions(model.logits(clips), clips, "test", fold.removeprefix("fold-"))
    return crossing(trained, images, made, left_out)


def crossing(
    trained: Trained,
    images: Path,
    predictions: Sequence[ClipPrediction],
    left_out: Mapping[str, int],
) -> Crossing:
    """Figures of predictions, which are of one network on shared labels."""
    labels = tuple(e for e in EMOTIONS if any(p.emotion == e for p in predictions))
    columns = np.array([emotion_index(label) for label in labels])
    truth = np.array([emotion_index(p.emotion) for p in predictions])
    logits = np.array([p.logits for p in predictions])
    among_all = logits.argmax(axis=1)
    return Crossing(
        trained,
        images,
        tuple(sorted({p.corpus for p in predictions})),
        labels,
        len({p.speaker for p in predictions}),
        left_out,
        _figures(truth, columns[logits[:, columns].argmax(axis=1)]),
        _figures(truth, among_all),
        float(np.mean(~np.isin(among_all, columns))),
        tuple(predictions),
    )


def _wanted(
    rows: Sequence[MelImageRow], trained: Trained
) -> tuple[list[MelImageRow], dict[str, int]]:
    free = {row.speaker for row in without_held_out(rows, Division((), (), ()))}
    wanted: list[MelImageRow] = []
    left_out: dict[str, set[tuple[str, str]]] = {}
    for row in rows:
        if row.channel != "speech":
            cause = SONG
        elif row.speaker not in free:
            cause = FINAL_TEST
        elif row.speaker in trained.speakers:
            cause = IN_TRAINING
        elif row.emotion not in trained.emotions:
            cause = NOT_SHARED
        else:
            wanted.append(row)
            continue
        left_out.setdefault(cause, set()).add((row.corpus, row.utterance))
    return wanted, {cause: len(clips) for cause, clips in left_out.items()}


def _figures(truth: classification.Int, predicted: classification.Int) -> Figures:
    matrix = classification.confusion(truth, predicted)
    counts = matrix.sum(axis=1)
    return Figures(
        classification.uar(matrix),
        float(np.mean(truth == predicted)),
        classification.macro_f1(matrix),
        {e: float(matrix[i, i] / counts[i]) for i, e in enumerate(EMOTIONS) if counts[i]},
    )


def to_dict(crossings: Sequence[Crossing]) -> dict[str, Any]:
    """All of it but the predictions as plain values, ready for JSON."""

    def rounded(figures: Figures) -> dict[str, Any]:
        plain = asdict(figures)
        recall = {emotion: round(value, 4) for emotion, value in plain.pop("recall").items()}
        return {**{name: round(value, 4) for name, value in plain.items()}, "recall": recall}

    return {
        "crossings": [
            {
                "run": str(c.trained.folder),
                "trained_on": list(c.trained.corpora),
                "images": str(c.images),
                "tested_on": list(c.corpora),
                "clips": len(c.predictions),
                "speakers": c.speakers,
                "labels": list(c.labels),
                "left_out": dict(c.left_out),
                "among_shared_labels": rounded(c.shared),
                "among_all_eight": rounded(c.of_all),
                "answered_elsewhere": round(c.elsewhere, 4),
            }
            for c in crossings
        ],
        "provenance": dict(provenance()),
    }


def write(crossings: Sequence[Crossing], out: Path) -> None:
    """Write ``crosscorpus.json``, and each network's ``predictions.csv`` in a folder of its own."""
    write_whole(out / FIGURES, json.dumps(to_dict(crossings), indent=2, allow_nan=False) + "\n")
    for number, found in enumerate(crossings, 1):
        folder = out / f"{number}-{found.images.name}-{found.trained.folder.name}"
        write_whole(folder / PREDICTIONS, predictions_csv(found.predictions))


def table(crossings: Sequence[Crossing]) -> str:
    """The figures as text for a terminal; of several runs on one rendering also their mean."""
    lines: list[str] = []
    for images in dict.fromkeys(found.images for found in crossings):
        group = [found for found in crossings if found.images == images]
        for found in group:
            lines += [*_lines(found), ""]
        if len(group) > 1:
            shared = [found.shared.uar for found in group]
            of_all = [found.of_all.uar for found in group]
            lines += [
                f"{images}: mean UAR of {len(group)} runs {np.mean(shared):.3f} "
                f"(sd {np.std(shared):.3f}) among shared labels, {np.mean(of_all):.3f} "
                f"(sd {np.std(of_all):.3f}) among all eight",
                "",
            ]
    return "\n".join(lines).rstrip()


def _lines(found: Crossing) -> Iterator[str]:
    count = len(found.labels)
    yield (
        f"{found.trained.folder}, trained on {', '.join(found.trained.corpora)}, "
        f"on {', '.join(found.corpora)} ({found.images}): {len(found.predictions)} clips of "
        f"{found.speakers} speakers, {count} labels, chance {1 / count:.3f}"
    )
    if found.left_out:
        yield f"left out: {_counts(found.left_out)}"
    yield f"{'highest score':<24} {'UAR':>6} {'accuracy':>9} {'macro F1':>9}"
    among = f"among the {count} shared"
    for name, figures in ((among, found.shared), (f"among all {len(EMOTIONS)}", found.of_all)):
        yield f"{name:<24} {figures.uar:6.3f} {figures.accuracy:9.3f} {figures.macro_f1:9.3f}"
    yield f"{'recall':<12} {'shared':>7} {'all':>7}   clips"
    clips = Counter(p.emotion for p in found.predictions)
    for emotion in found.labels:
        yield (
            f"{emotion:<12} {found.shared.recall[emotion]:7.3f} "
            f"{found.of_all.recall[emotion]:7.3f}   {clips[emotion]}"
        )
    yield f"of all eight, none of the shared labels: {found.elsewhere:.1%} of the clips"


def _counts(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count} clips {cause}" for cause, count in left_out.items())
