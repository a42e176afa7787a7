"""The networks of runs through the edge app: exported, then evaluated on the sound files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from ser_edge.audio.base import AudioError
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import Problem
from ser_edge.data.datasets import load_clips
from ser_edge.data.render import read_rows
from ser_edge.decision import Calibration
from ser_edge.emotions import EMOTIONS
from ser_edge.evaluation.classifier import OpenClassifier
from ser_edge.files import write_whole
from ser_edge.manifest import FP16, INT8, Manifest
from ser_edge.metrics import bootstrap, classification
from ser_edge.metrics.bootstrap import PairedRuns, Scored
from ser_edge.metrics.calibration import fit_calibration
from ser_edge.metrics.classification import (
    ClipPrediction,
    answered,
    predictions_csv,
    read_predictions,
)
from ser_edge.runs.inference import PREDICTIONS, WEIGHTS, load_net
from ser_edge.runs.record import Run, first_line

EDGE: Final = "edge"


@dataclass(frozen=True)
class EdgeScores:
    """Test clips of all folds through the edge app, from their sound files.

    ``figures`` and ``unknown_share`` are by precision, at the evaluation's temperature and
    threshold; ``same_label`` is the share of clips on which FP16 and INT8 give PyTorch's label;
    ``int8_less_fp16`` has FP16 as A and INT8 as B.
    """

    folds: tuple[str, ...]
    figures: Mapping[str, Any]
    uar_mean: Mapping[str, float]
    unknown_share: Mapping[str, float]
    same_label: Mapping[str, float]
    int8_less_fp16: PairedRuns


def edge_scores(
    runs: Sequence[Run],
    recipe: Recipe,
    images: Path,
    sounds: Mapping[str, Path],
    classifier: OpenClassifier,
    progress: bool,
) -> tuple[EdgeScores | None, list[Problem]]:
    """Export every fold and evaluate the edge app on its test clips."""
    missing = sorted({p.utterance for run in runs for p in run.part("test")} - sounds.keys())
    if missing:
        raise ValueError(
            f"{missing[0]}: no sound file of that name below --sounds ({len(missing)} missing)"
        )
    scored: dict[str, dict[str, list[ClipPrediction]]] = {FP16: {}, INT8: {}}
    problems: list[Problem] = []
    for run in runs:
        for precision in (FP16, INT8):
            try:
                xml = _exported(run, recipe, images, precision)
                predictions, failed = _predictions(run, xml, sounds, classifier, progress)
            except (RuntimeError, OSError) as error:  # of the export or the device
                problems.append(Problem(run.folder / EDGE / precision, first_line(error)))
                continue
            problems += failed
            if predictions:
                scored[precision][run.fold] = predictions
    folds = [run for run in runs if all(run.fold in by_fold for by_fold in scored.values())]
    if not folds:
        return None, problems
    validated = [p for run in runs for p in run.part("validation")]
    return _edge_figures(folds, scored, fit_calibration(validated)), problems


def _edge_figures(
    runs: Sequence[Run],
    scored: Mapping[str, Mapping[str, Sequence[ClipPrediction]]],
    calibration: Calibration,
) -> EdgeScores:
    labels = {p.utterance: p.predicted for run in runs for p in run.part("test")}
    pooled = {
        precision: tuple(p for run in runs for p in by_fold[run.fold])
        for precision, by_fold in scored.items()
    }
    return EdgeScores(
        folds=tuple(run.fold for run in runs),
        figures={
            precision: classification.figures(predictions, calibration.temperature)
            for precision, predictions in pooled.items()
        },
        uar_mean={
            precision: float(
                np.mean([classification.figures(by_fold[run.fold])["uar"] for run in runs])
            )
            for precision, by_fold in scored.items()
        },
        unknown_share={
            precision: answered(predictions, calibration).unknown_share
            for precision, predictions in pooled.items()
        },
        same_label={
            precision: float(np.mean([p.predicted == labels[p.utterance] for p in predictions]))
            for precision, predictions in pooled.items()
        },
        int8_less_fp16=bootstrap.compare(
            Scored(FP16, pooled[FP16], False), Scored(INT8, pooled[INT8], False)
        ),
    )


def weights_digest(run: Run) -> str:
    """What the manifest of an IR says of the weights that it was made from."""
    return hashlib.sha256((run.folder / WEIGHTS).read_bytes()).hexdigest()


def _exported(run: Run, recipe: Recipe, images: Path, precision: str) -> Path:
    """The IR of a run's network; made unless it is there and of these weights."""
    digest = weights_digest(run)
    xml = run.folder / EDGE / precision / f"{recipe.name}.xml"
    if xml.is_file() and digest in xml.read_text():
        return xml

    from ser_edge.export.onnx import to_onnx
    from ser_edge.export.openvino import save_ir, to_openvino
    from ser_edge.export.quantize import quantize

    (xml.parent / PREDICTIONS).unlink(missing_ok=True)
    _, net = load_net(run.folder)
    onnx = xml.parent / f".{recipe.name}.onnx"
    onnx.parent.mkdir(parents=True, exist_ok=True)
    try:
        to_onnx(net, recipe.image.shape, onnx)
        model = to_openvino(onnx)
        if precision == INT8:
            # Of training actors alone, as in the export of a model that ships.
            speakers = set(run.speakers["train"])
            rows = [
                row
                for row in read_rows(images, recipe.image)
                if row.speaker in speakers and row.channel == "speech"
            ]
            clips = load_clips(images, rows, recipe.image)
            model = quantize(model, [image for clip in clips for image in clip.images])
        # Its temperature is 1 and its threshold 0: then its scores give the logits, and the
        # calibration of all folds is applied to them afterwards.
        manifest = Manifest(
            recipe.name,
            recipe.image,
            Calibration(),
            corpora=run.corpora,
            weights_sha256=digest,
            precision=precision,
        )
        return save_ir(model, xml, manifest)
    finally:
        onnx.unlink(missing_ok=True)


def _predictions(
    run: Run, xml: Path, sounds: Mapping[str, Path], classifier: OpenClassifier, progress: bool
) -> tuple[list[ClipPrediction], list[Problem]]:
    """Predictions of the edge app for the test clips of a run, kept once there are all of them."""
    path = xml.parent / PREDICTIONS
    if path.is_file():
        return read_predictions(path), []
    opened = classifier(str(xml))
    name = f"{run.folder.name} {xml.parent.name}"
    predictions: list[ClipPrediction] = []
    problems: list[Problem] = []
    for clip in tqdm(run.part("test"), unit="clip", desc=name, disable=not progress):
        try:
            scores = opened.predict(str(sounds[clip.utterance])).scores
        except AudioError as error:
            problems.append(Problem(Path(error.file), error.cause))
            continue
        predictions.append(replace(clip, logits=logits_of(scores)))
    if not problems:
        write_whole(path, predictions_csv(predictions))
    return predictions, problems


def logits_of(scores: Mapping[str, float]) -> tuple[float, ...]:
    """Scores at temperature 1 -> logits that give them, in the order of the emotions."""
    return tuple(np.log([max(scores[emotion], 1e-30) for emotion in EMOTIONS]).tolist())


def edge_dict(edge: EdgeScores) -> dict[str, Any]:
    return {
        "folds": list(edge.folds),
        **{
            precision: {
                "uar_mean": round(edge.uar_mean[precision], 4),
                "unknown_share": round(edge.unknown_share[precision], 4),
                "same_label_as_pytorch": round(edge.same_label[precision], 4),
                "pooled_test": edge.figures[precision],
            }
            for precision in (FP16, INT8)
        },
        "int8_less_fp16": {
            "uar": bootstrap.to_dict(edge.int8_less_fp16.uar),
            "accuracy": bootstrap.to_dict(edge.int8_less_fp16.accuracy),
        },
    }
