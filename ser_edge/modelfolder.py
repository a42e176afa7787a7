"""``models/<name>/``: the weights that ship, beside all the figures of their recipe."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ser_edge import evaluation
from ser_edge.calibration import fit_calibration
from ser_edge.evaluation import ClipPrediction, read_predictions
from ser_edge.files import whole_file, write_whole
from ser_edge.provenance import provenance
from ser_edge.recipe import Recipe
from ser_edge.training import CONFIG, METRICS, PREDICTIONS, WEIGHTS


def package(final: Path, folds: Sequence[Path], out: Path) -> dict[str, Any]:
    """Put a final run and the fold runs of its recipe together as a model.

    The weights are the final run's. Figures, temperature and threshold come from the fold runs, on
    actors that those never trained on: the calibration from their validation actors, the figures
    from their test actors.

    Parameters
    ----------
    final : Path
        Run trained with ``--fold all``.
    folds : sequence of Path
        Runs with ``--fold N``, of the same recipe but for the seed.
    out : Path
        ``models/<name>``; a model card ``README.md`` in it is left alone.

    Returns
    -------
    dict
        What went into ``metrics.json``.

    Raises
    ------
    ValueError
        A run is missing or unfinished, the recipes differ, or a fold is given twice.
    """
    if not folds:
        raise ValueError("no fold run: figures and calibration come from them")
    recipe, metrics = _read_run(final)
    if metrics["fold"] != "all":
        raise ValueError(f"{final}: trained for fold {metrics['fold']}, not with --fold all")
    runs = [(folder, *_read_run(folder)) for folder in folds]
    for folder, other, _ in runs:
        different = _differences(recipe, other)
        if different:
            raise ValueError(f"{folder}: its recipe has other {', '.join(different)} than {final}")
    by_fold: dict[str, dict[str, Any]] = {}
    predictions: list[ClipPrediction] = []
    for folder, other, found in runs:
        key = f"fold {found['fold']}, seed {other.seed}"
        if key in by_fold or found["fold"] == "all":
            raise ValueError(f"{folder}: {key} is given twice, or is no fold")
        predictions += read_predictions(folder / PREDICTIONS)
        by_fold[key] = {
            "figures": found["figures"]["test"],
            "speakers": found["speakers"],
            "provenance": found["provenance"],
        }
    calibration = fit_calibration([p for p in predictions if p.part == "validation"])
    tested = [p for p in predictions if p.part == "test"]
    uars = [entry["figures"]["uar"] for entry in by_fold.values()]
    result = {
        "summary": {
            "uar_mean": round(float(np.mean(uars)), 4),
            "uar_sd": round(float(np.std(uars)), 4),
            "uar_by_run": dict(zip(by_fold, uars, strict=True)),
            "measured_on": "RAVDESS speech, test actors of EmoBox folds, never heard in training",
        },
        "calibration": {
            "temperature": calibration.temperature,
            "threshold": calibration.threshold,
        },
        "corpora": metrics["corpora"],
        "parameters": metrics["parameters"],
        "training_clips": metrics["training_clips"],
        "speakers": metrics["speakers"],
        "pooled_test": evaluation.figures(tested, calibration.temperature),
        "folds": by_fold,
        "provenance": {"weights": metrics["provenance"], "package": provenance()},
    }
    with whole_file(out / WEIGHTS) as temporary:
        shutil.copyfile(final / WEIGHTS, temporary)
    write_whole(out / CONFIG, recipe.to_yaml())
    write_whole(out / PREDICTIONS, evaluation.predictions_csv(predictions))
    write_whole(out / METRICS, json.dumps(result, indent=2) + "\n")
    return result


def _read_run(folder: Path) -> tuple[Recipe, dict[str, Any]]:
    try:
        metrics = json.loads((folder / METRICS).read_text())
    except OSError:
        raise ValueError(f"{folder}: no finished run lies there ({METRICS} is missing)") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"{folder / METRICS}: {error}") from None
    return Recipe.read(folder / CONFIG), metrics


def _differences(a: Recipe, b: Recipe) -> list[str]:
    return [name for name in vars(a) if name != "seed" and getattr(a, name) != getattr(b, name)]
