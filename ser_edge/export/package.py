"""``models/<name>/``: the weights that ship, beside all the figures of their recipe."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from ser_edge.config.recipe import Recipe
from ser_edge.data.splits import RANDOM, SPEAKERS
from ser_edge.decision import Calibration
from ser_edge.emotions import EMOTIONS
from ser_edge.files import whole_file, write_whole
from ser_edge.markdown import table
from ser_edge.metrics import classification
from ser_edge.metrics.calibration import fit_calibration
from ser_edge.metrics.classification import ClipPrediction, read_predictions
from ser_edge.provenance import provenance
from ser_edge.runs.inference import CONFIG, METRICS, PREDICTIONS, WEIGHTS
from ser_edge.runs.record import RunRecord, read_run_record

FIGURES: Final = "figures.md"

_REFITTED: Final = (
    "Each run was trained on all actors but its test actors and those of fold 6. The validation "
    "clips of `predictions.csv`, which temperature and threshold come from, are those of an "
    "earlier run of the same recipe that had not heard them.",
    "",
)


def package(
    final: Path, folds: Sequence[Path], out: Path, calibration: Calibration | None = None
) -> RunRecord:
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
        ``models/<name>``, and so the model is called; gets weights, recipe, predictions,
        ``metrics.json`` and ``figures.md``; a model card ``README.md`` in it is left alone.
    calibration : Calibration, optional
        To be used instead, where the validation clips are too few to fit one.

    Returns
    -------
    RunRecord
        What went into ``metrics.json``.

    Raises
    ------
    ValueError
        A run is missing or unfinished, the recipes differ, or a fold is given twice.
    """
    if not folds:
        raise ValueError("no fold run: figures and calibration come from them")
    recipe, record = _read_run(final)
    recipe = replace(recipe, name=out.name)
    if record.fold != "all":
        raise ValueError(f"{final}: trained for fold {record.fold}, not with --fold all")
    runs = [(folder, *_read_run(folder)) for folder in folds]
    for folder, other, _ in runs:
        different = recipe.differences(replace(other, name=out.name))
        if different:
            raise ValueError(f"{folder}: its recipe has other {', '.join(different)} than {final}")
    kinds = {found.fold for _, _, found in runs}
    refits = {found.refit_of is not None for _, _, found in runs}
    if len(refits) > 1:
        raise ValueError("some of the fold runs are refits, others not: give all of one kind")
    if len(kinds & {RANDOM, SPEAKERS}) and len(kinds) > 1:
        raise ValueError(f"folds {', '.join(sorted(kinds))}: their figures do not mean the same")
    by_fold: dict[str, dict[str, Any]] = {}
    predictions: list[ClipPrediction] = []
    for folder, other, found in runs:
        key = f"fold {found.fold}, seed {other.seed}"
        if key in by_fold or found.fold == "all":
            raise ValueError(f"{folder}: {key} is given twice, or is no fold")
        predictions += read_predictions(folder / PREDICTIONS)
        by_fold[key] = {
            "figures": found.figures["test"],
            "speakers": found.speakers,
            "refit_of": found.refit_of,
            "provenance": found.provenance,
        }
    if calibration is None:
        calibration = fit_calibration([p for p in predictions if p.part == "validation"])
    tested = [p for p in predictions if p.part == "test"]
    uars = [entry["figures"]["uar"] for entry in by_fold.values()]
    result = RunRecord(
        summary={
            "uar_mean": round(float(np.mean(uars)), 4),
            "uar_sd": round(float(np.std(uars, ddof=1)), 4) if len(uars) > 1 else 0.0,
            "uar_by_run": dict(zip(by_fold, uars, strict=True)),
            "measured_on": _measured_on(kinds),
            "refitted": refits == {True},
        },
        calibration={
            "temperature": calibration.temperature,
            "threshold": calibration.threshold,
        },
        corpora=record.corpora,
        teachers=record.teachers,
        gate=record.gate,
        inherited_speakers=record.inherited_speakers,
        parameters=record.parameters,
        training_clips=record.training_clips,
        speakers=record.speakers,
        pooled_test=classification.figures(tested, calibration.temperature),
        pooled_test_by_labels=classification.by_labels(
            classification.group_figures(tested, calibration.temperature)
        ),
        folds=by_fold,
        provenance={"weights": record.provenance, "package": provenance()},
    )
    with whole_file(out / WEIGHTS) as temporary:
        shutil.copyfile(final / WEIGHTS, temporary)
    write_whole(out / CONFIG, recipe.to_yaml())
    write_whole(out / PREDICTIONS, classification.predictions_csv(predictions))
    result.write(out / METRICS)
    write_whole(out / FIGURES, figures_markdown(recipe.name, result))
    return result


def figures_markdown(name: str, record: RunRecord) -> str:
    """The figures of ``metrics.json`` as tables for people."""
    summary, pooled = record.summary, record.pooled_test
    lines = [
        f"# Figures of `{name}`",
        "",
        f"Measured on {summary['measured_on']}; one answer a clip; trained on "
        f"{', '.join(record.corpora)}. The weights are those of the last epoch, chosen before. "
        "Made by `scripts/package_model.py`; recompute them from `predictions.csv`.",
        "",
        *(_REFITTED if summary["refitted"] else ()),
        *_gate_lines(record.gate),
        f"**Mean UAR {summary['uar_mean']:.3f}, SD {summary['uar_sd']:.3f} over "
        f"{len(record.folds)} runs.**",
        "",
        table(
            ("run", "tested speakers", "clips", "UAR", "accuracy", "macro F1"),
            [_run_row(key, entry) for key, entry in record.folds.items()],
        ),
        "",
        f"All {pooled['clips']} test clips together: UAR {pooled['uar']:.3f}, accuracy "
        f"{pooled['accuracy']:.3f}, macro F1 {pooled['macro_f1']:.3f}; with the shipped "
        f"temperature ECE {pooled['ece']:.3f} ({classification.ECE_BINS} bins), "
        f"NLL {pooled['nll']:.3f}.",
        "",
        table(("recall of", ""), [(e, f"{recall:.3f}") for e, recall in pooled["recall"].items()]),
        "",
        table(
            ("UAR of", ""),
            [
                *((f"{sex} voices", f"{uar:.3f}") for sex, uar in pooled["uar_by_sex"].items()),
                *(
                    (f"{intensity} intensity", f"{uar:.3f}")
                    for intensity, uar in pooled["uar_by_intensity"].items()
                ),
            ],
        ),
        "",
        "Confusion, rows the truth:",
        "",
        table(
            ("", *EMOTIONS),
            [
                (f"**{emotion}**", *row)
                for emotion, row in zip(EMOTIONS, pooled["confusion"], strict=True)
            ],
        ),
        "",
        *_labels_table(record),
        "",
    ]
    return "\n".join(lines)


def _run_row(name: str, entry: Mapping[str, Any]) -> tuple[object, ...]:
    found = entry["figures"]
    return (
        name,
        ", ".join(speaker.split("-")[-1] for speaker in entry["speakers"]["test"]),
        found["clips"],
        *(f"{found[figure]:.3f}" for figure in ("uar", "accuracy", "macro_f1")),
    )


def _gate_lines(gate: Mapping[str, Any] | None) -> list[str]:
    if not gate or not gate["sounds"]:
        return []
    return [
        f"The gate was fitted to {gate['sounds']} sounds that are no speech and to speech of "
        f"{', '.join(gate['speech'])}, without labels.",
        "",
    ]


def _labels_table(record: RunRecord) -> list[str]:
    pooled = record.pooled_test
    commonest = max(map(sum, pooled["confusion"])) / pooled["clips"]
    rows = [
        (
            "the eight",
            *(
                f"{v:.3f}"
                for v in (pooled["uar"], 1 / len(EMOTIONS), pooled["accuracy"], commonest)
            ),
            "-",
        )
    ]
    for name, found in record.pooled_test_by_labels.items():
        without = found["uar_without_other"]
        rows.append(
            (
                f"`{name}`: {', '.join(found['groups'])}",
                *(f"{found[f]:.3f}" for f in ("uar", "chance", "accuracy", "commonest")),
                "-" if without is None else f"{without:.3f}",
            )
        )
    return [
        "Coarser labels (`edge-app predict --labels`), summed from the eight scores at the shipped "
        "temperature, without threshold, on all test clips together. Chance is the UAR of "
        "guessing, commonest the accuracy of always answering the most common group. Without "
        "other: its clips are left out and its score is not looked at, as in published figures.",
        "",
        table(("labels", "UAR", "chance", "accuracy", "commonest", "UAR without other"), rows),
    ]


def _measured_on(kinds: set[str]) -> str:
    """In words, what the figures of runs for these folds were measured on."""
    if kinds == {RANDOM}:
        return "clips held out at random, of the speakers that were trained on: LEAKY"
    if kinds == {SPEAKERS}:
        return "speakers held out at random, never heard in training"
    return "RAVDESS speech, test actors of EmoBox folds, never heard in training"


def _read_run(folder: Path) -> tuple[Recipe, RunRecord]:
    if not (folder / METRICS).is_file():
        raise ValueError(f"{folder}: no finished run lies there ({METRICS} is missing)")
    return Recipe.read(folder / CONFIG), read_run_record(folder)
