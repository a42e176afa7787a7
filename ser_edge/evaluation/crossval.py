"""A cross-validation: one recipe on every fold, its runs gathered and scored in one folder.

``OUT/fold-1`` ... ``OUT/fold-5`` are runs as ``scripts/train.py`` makes them, ``OUT/random`` is the
leaky one. A finished run is not repeated; the finished runs of the folder are gathered.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from tqdm import tqdm

from ser_edge.config.base import BaseRecipe
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.config.tracking import Tracking
from ser_edge.corpora import Problem
from ser_edge.data.datasets import find_sounds
from ser_edge.data.render import read_rows
from ser_edge.data.splits import RANDOM, VALIDATION_ACTORS
from ser_edge.decision import Calibration
from ser_edge.evaluation.classifier import OpenClassifier
from ser_edge.evaluation.edge import EdgeScores, edge_dict, edge_scores
from ser_edge.files import write_whole
from ser_edge.metrics import classification
from ser_edge.metrics.calibration import fit_calibration
from ser_edge.metrics.classification import ClipPrediction, predictions_csv
from ser_edge.provenance import provenance
from ser_edge.runs.inference import CONFIG, METRICS, PREDICTIONS
from ser_edge.runs.record import Run, first_line, read_run
from ser_edge.training import fit as training
from ser_edge.training.trainer import CHECKPOINTS

Fit: TypeAlias = Callable[[Path, str], training.Result]
"""Makes the run of a fold in a folder, or resumes it."""

FOLDS: Final = tuple(map(str, VALIDATION_ACTORS))
REPORT: Final = "report.html"

LEAKY_WARNING: Final = (
    "LEAKY: clips were divided at random, so every tested actor, and often the other take of the "
    "same sentence, was in training. It says nothing about held-out speakers."
)


@dataclass(frozen=True)
class CrossValidation:
    """The finished runs of a folder; ``folds`` is empty where only the leaky split ran."""

    folder: Path
    recipe: BaseRecipe
    images: Path
    sounds: Mapping[str, Path]
    folds: tuple[Run, ...]
    leaky: Run | None
    edge: EdgeScores | None
    problems: tuple[Problem, ...]
    provenance: Mapping[str, str]

    @property
    def tested(self) -> tuple[ClipPrediction, ...]:
        """Test predictions of all folds; never those of the leaky split."""
        return tuple(p for run in self.folds for p in run.part("test"))

    @property
    def calibration(self) -> Calibration:
        """Fitted on the validation predictions of all folds, pooled."""
        return fit_calibration([p for run in self.folds for p in run.part("validation")])

    @property
    def uars(self) -> tuple[float, ...]:
        """UAR of each fold's test."""
        return tuple(float(run.figures["test"]["uar"]) for run in self.folds)

    @property
    def uar_mean(self) -> float:
        return float(np.mean(self.uars))

    @property
    def uar_sd(self) -> float | None:
        """Standard deviation over the folds (n - 1); None of a single one."""
        return float(np.std(self.uars, ddof=1)) if len(self.folds) > 1 else None

    @property
    def measured_on(self) -> str:
        """The clips and speakers that the mean is measured on, as text."""
        actors = {p.speaker for p in self.tested}
        names = ", ".join(run.fold for run in self.folds)
        return (
            f"{len(self.tested)} RAVDESS speech clips of {len(actors)} actors that the tested "
            f"network never heard, EmoBox fold{'s' if len(self.folds) > 1 else ''} {names}"
        )


def evaluate(
    images: Path,
    out: Path,
    recipe: Recipe,
    *,
    folds: Sequence[str] = FOLDS,
    split: Literal["folds", "random", "both"] = "folds",
    sounds: Sequence[Path] = (),
    teachers: Sequence[Path] = (),
    classifier: OpenClassifier | None = None,
    hardware: Hardware | None = None,
    tracking: Tracking | None = None,
    progress: bool = True,
) -> CrossValidation | None:
    """Train an image network on the folds that are missing, gather all: :func:`gather`.

    Parameters
    ----------
    images, out, folds, split, sounds, classifier, progress
        As :func:`gather` takes them; ``sounds`` are for training on waveforms as well.
    recipe : Recipe
    teachers : sequence of Path
        Other evaluations, where the recipe distils: their networks of the same fold are the
        teachers.
    hardware : Hardware, optional
    tracking : Tracking, optional
        What follows the trainings.

    Returns
    -------
    CrossValidation or None

    Raises
    ------
    ValueError
        As :func:`gather`.
    """

    def fit(folder: Path, fold: str) -> training.Result:
        return training.fit(
            training.Sources(images, sounds=sounds),
            folder,
            recipe,
            fold,
            training.Ancestry(teachers=[run_folder(teacher, fold) for teacher in teachers]),
            hardware=hardware,
            tracking=tracking,
            resume=True,
            progress=progress,
        )

    return gather(
        images,
        out,
        recipe,
        fit,
        folds=folds,
        split=split,
        sounds=sounds,
        classifier=classifier,
        progress=progress,
    )


def gather(
    images: Path,
    out: Path,
    recipe: BaseRecipe,
    fit: Fit,
    *,
    folds: Sequence[str] = FOLDS,
    split: Literal["folds", "random", "both"] = "folds",
    sounds: Sequence[Path] = (),
    classifier: OpenClassifier | None = None,
    progress: bool = True,
) -> CrossValidation | None:
    """Fit what is missing, gather what is finished, write tables and figures.

    Parameters
    ----------
    images : Path
        What ``scripts/render.py`` wrote; its specification must be the recipe's.
    out : Path
        Folder of the evaluation; gets a folder a run, ``predictions.csv`` (of the folds) and
        ``metrics.json``.
    recipe : BaseRecipe
        Must be that of every run that lies in ``out`` already.
    fit : callable
        Makes the run of a fold in a folder, or resumes it.
    folds : sequence of str
        Folds to train if they are missing, ``"1"`` to ``"5"``.
    split : {"folds", "random", "both"}
        ``"random"`` trains the leaky split in place of the folds, ``"both"`` beside them.
    sounds : sequence of Path
        Folders of recordings, for the edge and for play buttons.
    classifier : callable, optional
        ``edge_app.Classifier``: then every fold's network is exported to FP16 and INT8 and
        evaluated on the sound files of its test clips. For image networks alone.
    progress : bool
        Show bars and a line a run.

    Returns
    -------
    CrossValidation or None
        Runs and clips that failed are in ``problems``. Of several processes, all but the leader
        get None.

    Raises
    ------
    ValueError
        Recipe, rendering and runs do not fit, a fold does not exist, a sound is missing, or
        nothing could be trained at all.
    """
    origin = provenance()  # of the start: the tree may be edited during a long run
    unknown = sorted(set(folds) - set(FOLDS))
    if unknown:
        raise ValueError(f"fold is {unknown[0]!r}, allowed: {', '.join(FOLDS)}")
    found_sounds = find_sounds(sounds)
    if classifier is not None and not isinstance(recipe, Recipe):
        raise ValueError(f"the edge app runs image networks, {recipe.net} is none")
    if classifier is not None and not found_sounds:
        raise ValueError(
            "the edge app is evaluated on sound files: give their folders with --sounds"
        )
    wanted = [*(() if split == "random" else sorted(set(folds)))]
    wanted += [] if split == "folds" else [RANDOM]
    for fold in (*FOLDS, RANDOM):
        check_recipe(run_folder(out, fold), recipe)
    read_rows(images, recipe.image)  # the wrong rendering is found before the first epoch

    problems: list[Problem] = []
    leader = True
    for fold in wanted:
        folder = run_folder(out, fold)
        if (folder / METRICS).is_file():
            _say(progress, f"{folder.name}: finished already")
            continue
        _say(progress, f"{folder.name}: training")
        try:
            result = fit(folder, fold)
        except (RuntimeError, OSError) as error:  # memory, disk, a device
            problems.append(Problem(folder, first_line(error)))
        else:
            # Lightning's other processes train the same folds as the leader, and end with it.
            leader = result.leader
    if not leader:
        return None
    runs = {fold: read_run(run_folder(out, fold), fold) for fold in _finished(out)}
    if not runs:
        raise ValueError("; ".join(map(str, problems)) or f"{out}: there is no finished run in it")
    done = tuple(runs[fold] for fold in FOLDS if fold in runs)
    edge = None
    if classifier is not None and done and isinstance(recipe, Recipe):
        edge, failed = edge_scores(done, recipe, images, found_sounds, classifier, progress)
        problems += failed
    gathered = CrossValidation(
        folder=out,
        recipe=recipe,
        images=images,
        sounds=found_sounds,
        folds=done,
        leaky=runs.get(RANDOM),
        edge=edge,
        problems=tuple(problems),
        provenance=origin,
    )
    if done:
        pooled = [prediction for run in done for prediction in run.predictions]
        write_whole(out / PREDICTIONS, predictions_csv(pooled))
    write_whole(out / METRICS, json.dumps(metrics(gathered), indent=2) + "\n")
    return gathered


def run_folder(out: Path, fold: str) -> Path:
    """Where the run of a fold lies in an evaluation."""
    return out / (RANDOM if fold == RANDOM else f"fold-{fold}")


def metrics(gathered: CrossValidation) -> dict[str, Any]:
    """What goes into ``metrics.json``, plain values."""
    result: dict[str, Any] = {"recipe": gathered.recipe.name, "seeds": [gathered.recipe.seed]}
    if gathered.folds:
        calibration = gathered.calibration
        with_threshold = asdict(classification.answered(gathered.tested, calibration))
        result |= {
            "summary": {
                "uar_mean": round(gathered.uar_mean, 4),
                "uar_sd": None if gathered.uar_sd is None else round(gathered.uar_sd, 4),
                "uar_by_fold": {run.fold: run.figures["test"]["uar"] for run in gathered.folds},
                "measured_on": gathered.measured_on,
            },
            "calibration": {
                "temperature": calibration.temperature,
                "threshold": calibration.threshold,
                "fitted_on": "validation actors of the folds, pooled",
                "clips": sum(len(run.part("validation")) for run in gathered.folds),
            },
            "corpora": sorted({corpus for run in gathered.folds for corpus in run.corpora}),
            "parameters": gathered.folds[0].parameters,
            "pooled_test": classification.figures(gathered.tested, calibration.temperature),
            "pooled_test_by_labels": classification.by_labels(
                classification.group_figures(gathered.tested, calibration.temperature)
            ),
            "pooled_test_with_threshold": {
                name: round(value, 4) for name, value in with_threshold.items()
            },
            "folds": {run.fold: _run_dict(run) for run in gathered.folds},
        }
    if gathered.edge is not None:
        result["edge"] = edge_dict(gathered.edge)
    if gathered.leaky is not None:
        result["leaky_random_split"] = {"warning": LEAKY_WARNING, **_run_dict(gathered.leaky)}
    if gathered.problems:
        result["problems"] = [f"{p.path.name}: {p.cause}" for p in gathered.problems]
    return result | {"provenance": dict(gathered.provenance)}


def table(gathered: CrossValidation) -> str:
    """The evaluation as text for a terminal."""
    lines = []
    if gathered.folds:
        lines.append(f"{'':<8} {'clips':>6} {'UAR':>6} {'accuracy':>9} {'macro F1':>9}")
        for run in gathered.folds:
            found = run.figures["test"]
            lines.append(
                f"fold {run.fold:<3} {found['clips']:>6} {found['uar']:>6.3f} "
                f"{found['accuracy']:>9.3f} {found['macro_f1']:>9.3f}"
            )
        spread = "" if gathered.uar_sd is None else f", SD {gathered.uar_sd:.3f}"
        lines.append(f"mean UAR {gathered.uar_mean:.3f}{spread}: {gathered.measured_on}")
        calibration = gathered.calibration
        coarser = classification.group_figures(gathered.tested, calibration.temperature)
        lines.append(
            "coarser labels, UAR of all test clips (chance): "
            + ", ".join(f"{f.labels} {f.uar:.3f} ({f.chance:.3f})" for f in coarser)
        )
        unknown = classification.answered(gathered.tested, calibration)
        lines.append(
            f"temperature {calibration.temperature}, threshold {calibration.threshold} (fitted on "
            f"validation actors): {unknown.unknown_share:.1%} of the test clips unknown"
        )
    if gathered.edge is not None:
        change = gathered.edge.int8_less_fp16.uar
        figures = (
            f"{name} UAR {found['uar']:.3f}" for name, found in gathered.edge.figures.items()
        )
        lines.append(
            f"edge app, from sound files: {', '.join(figures)}; INT8 - FP16 "
            f"{change.difference:+.4f}, 95 % by clip {change.by_clip.low:+.4f} to "
            f"{change.by_clip.high:+.4f}"
        )
    if gathered.leaky is not None:
        found = gathered.leaky.figures["test"]
        lines.append(f"LEAKY, random split, not to be quoted: UAR {found['uar']:.3f}")
    return "\n".join(lines)


def _finished(out: Path) -> Iterator[str]:
    for fold in (*FOLDS, RANDOM):
        if (run_folder(out, fold) / METRICS).is_file():
            yield fold


def is_started(folder: Path) -> bool:
    """Whether a run lies in a folder, finished or not."""
    return any((folder / name).exists() for name in (METRICS, CHECKPOINTS))


def check_recipe(folder: Path, recipe: BaseRecipe) -> None:
    """Check that a run, finished or not, has the recipe that it was started with.

    Raises
    ------
    ValueError
        It was started with another; the message names the values.
    """
    if not is_started(folder):
        return
    there, asked = type(recipe).read(folder / CONFIG).flat(), recipe.flat()
    different = [
        f"{name} {there[name]} (asked for: {asked[name]})"
        for name in asked
        if there[name] != asked[name]
    ]
    if different:
        raise ValueError(
            f"{folder}: its recipe has {', '.join(different)}; choose another folder or remove it"
        )


def _run_dict(run: Run) -> dict[str, Any]:
    return {
        "figures": run.figures["test"],
        "validation_figures": run.figures.get("validation"),
        "speakers": run.speakers,
        "training_clips": run.training_clips,
        "provenance": run.provenance,
    }


def _say(progress: bool, line: str) -> None:
    if progress:
        tqdm.write(line, file=sys.stderr)
