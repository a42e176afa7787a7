"""One's own recordings and a model -> that model fine-tuned on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import Scan
from ser_edge.data.datasets import load_clips
from ser_edge.data.render import read_rows, render
from ser_edge.data.splits import ALL, RANDOM, SPEAKERS, divide
from ser_edge.decision import Calibration
from ser_edge.export.package import package
from ser_edge.export.pipeline import export_model
from ser_edge.metrics import classification
from ser_edge.metrics.classification import read_predictions
from ser_edge.runs.inference import (
    CONFIG,
    METRICS,
    PREDICTIONS,
    clip_predictions,
    load_net,
    window_logits,
)
from ser_edge.runs.record import RunRecord
from ser_edge.training.fit import Ancestry, Sources, fit

SPEAKERS_TO_DIVIDE: Final = 5
"""From so many speakers on, the check is made on speakers that were held out."""

CLIPS_TO_CALIBRATE: Final = 100
"""With fewer validation clips the temperature and threshold of the first model are kept."""


def fine_tuning_recipe(base: Recipe, name: str) -> Recipe:
    """The recipe of a model, for fine-tuning: a quarter of its learning rate, 30 epochs.

    The precision is what this machine computes in: where that is not the one of the model's
    training (bf16 on an older processor, say), the emulation is thirty times slower.
    """
    return replace(
        base,
        name=name,
        lr=base.lr / 4,
        epochs=30,
        ema=0.9,
        batch_size=16,
        precision="auto",
        distill=0.0,  # its teachers were trained on other voices
        logit_adjustment=0.0,  # somebody's own recordings say nothing of what is frequent
        copies=0,  # --also is a rendering, whose recordings may be missing
        sound=SoundStrengths(),
    )


@dataclass(frozen=True)
class FineTuned:
    """A fine-tuned model, and its UAR on held-out clips before and after."""

    model: Path
    ir: Path
    clips: int
    uar_before: float
    uar_after: float
    held_out_speakers: bool


def fine_tune(
    scan: Scan,
    start: Path,
    recipe: Recipe,
    work: Path,
    *,
    also: Sequence[Path] = (),
    sounds: Sequence[Path] = (),
    models: Path = Path("models"),
    ir: Path = Path("ir"),
    hardware: Hardware | None = None,
    progress: Callable[[str], None] = print,
    bars: bool = True,
) -> FineTuned | None:
    """Fine-tune, evaluate on held-out clips, train on everything, package and export.

    A finished step is not repeated, so that a killed run resumes.

    Parameters
    ----------
    scan : Scan
        The recordings.
    start : Path
        Model folder whose weights are started from.
    recipe : Recipe
        As :func:`fine_tuning_recipe` makes it; its network and mel image must be the model's.
    work : Path
        Folder for mel images and runs.
    also : sequence of Path
        Renderings to train on beside one's own, so that emotions that those lack are kept.
    sounds : sequence of Path
        Folders with the recordings, where the recipe changes waveforms.
    models, ir : Path
        Folders that get ``<name>``.
    hardware : Hardware, optional
    progress : callable
        Gets a line a step.
    bars : bool
        Show progress bars.

    Returns
    -------
    FineTuned or None
        None in all processes but the first, where there are several.

    Raises
    ------
    ValueError
        Too few recordings, or the model and the recipe do not fit.
    ExportDriftError
        As :func:`ser_edge.export.pipeline.export_model`.
    """
    images, spec = work / "images", recipe.image
    report = render(scan.utterances, images, spec, progress=bars)
    for problem in (*scan.problems, *report.problems):
        progress(f"left out: {problem}")
    rows = read_rows(images, spec)
    speakers = {row.speaker for row in rows}
    fold = SPEAKERS if len(speakers) >= SPEAKERS_TO_DIVIDE else RANDOM
    check, final = work / "check", work / "final"
    leader = True
    for folder, part in ((check, fold), (final, ALL)):
        if not (folder / METRICS).exists():
            result = fit(
                Sources(images, also=also, sounds=sounds),
                folder,
                recipe,
                part,
                Ancestry(start=start),
                hardware=hardware,
                resume=True,
                progress=bars,
            )
            leader = result.leader
        elif recipe.differences(Recipe.read(folder / CONFIG)):
            raise ValueError(
                f"{folder}: made with another recipe; remove it or choose another --work"
            )
    if not leader:
        return None
    held_out = load_clips(images, divide(rows, fold, recipe.seed).test, spec)
    net = load_net(start)[1]
    before = clip_predictions(window_logits(net, held_out), held_out, "test", fold)
    after = [p for p in read_predictions(check / PREDICTIONS) if p.part == "test"]
    validated = sum(p.part == "validation" for p in read_predictions(check / PREDICTIONS))
    calibration = None
    if validated < CLIPS_TO_CALIBRATE:
        calibration = _calibration(start)
        progress(
            f"{validated} validation clips are too few to calibrate on: temperature and threshold "
            f"of {start.name} are kept"
        )
    package(final, [check], models / recipe.name, calibration)
    export_model(models / recipe.name, images, ir, progress=progress)
    return FineTuned(
        models / recipe.name,
        ir / recipe.name,
        len(held_out),
        classification.figures(before)["uar"],
        classification.figures(after)["uar"],
        fold == SPEAKERS,
    )


def _calibration(model: Path) -> Calibration:
    path = model / METRICS
    record = RunRecord.read(path, ("calibration",), "scripts/package_model.py")
    try:
        return Calibration(**record.calibration)
    except TypeError as error:
        raise ValueError(f"{path}: it holds no calibration: {error}") from None
