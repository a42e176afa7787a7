"""``ser-edge train``: mel images and a recipe -> one run, with weights and figures."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Final

from ser_edge.cli.errors import CommandError
from ser_edge.cli.options import add_also, add_fold, add_images, add_sounds, print_figures
from ser_edge.config import recipe
from ser_edge.config.hardware import add_hardware_options, hardware_of
from ser_edge.config.tracking import TrackingError, add_tracking_options, tracking_of

DESCRIPTION: Final = """\
Train an emotion network on rendered mel images and score it on held-out speakers.

The run's folder gets config.yaml, weights.safetensors (last epoch), checkpoints/best.ckpt and
last.ckpt, metrics.json, predictions.csv and tensorboard/.

examples:
  ser-edge render data/ravdess images/ravdess
  ser-edge train images/ravdess runs/fold1 --fold 1 --config configs/plain.yaml
  ser-edge train images/ravdess runs/wide --fold 1 --width 1.5 --epochs 100 --seed 3
  ser-edge train images/ravdess runs/all --fold all
  ser-edge train images/ravdess runs/fold1 --fold 1 --config configs/plain.yaml --resume
  ser-edge train images/ravdess runs/dense --fold 1 --net densenet121 --no-pretrained
  ser-edge train images/ravdess runs/student --fold 1 --teacher runs/a1 runs/b1 --distill 0.7
  torchrun --nproc-per-node 2 -m ser_edge train images/ravdess runs/two --fold 1
  tensorboard --logdir runs
  ser-edge train images/ravdess runs/fold1 --fold 1 --track tensorboard mlflow

exit status: 0 success, 1 a tracker cannot be reached, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_images(parser)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the run")
    add_fold(parser)
    add_also(parser)
    add_sounds(parser, "where the recipe changes waveforms (--sound-...)")
    parser.add_argument("--resume", action="store_true", help="resume an unfinished run in OUT")
    add_ancestors(parser)
    add_hardware_options(parser)
    add_tracking_options(parser)
    recipe.add_options(parser)
    recipe.add_image_options(parser)


def add_ancestors(parser: argparse.ArgumentParser) -> None:
    """Add the options that name other runs and what was made of them."""
    group = parser.add_argument_group("other runs that this one uses")
    group.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="MODEL",
        help="start from the weights of this run or model folder, and from its recipe without "
        "its teachers",
    )
    group.add_argument(
        "--refit",
        type=Path,
        metavar="RUN",
        help="train on the fold's validation speakers as well; RUN, of the same recipe and fold, "
        "was validated on them, and its predictions for them are kept for calibration",
    )
    group.add_argument(
        "--teacher",
        dest="teachers",
        type=Path,
        nargs="+",
        default=[],
        metavar="MODEL",
        help="runs or model folders of the same fold whose mean scores are distilled "
        "(with --distill)",
    )
    group.add_argument(
        "--targets",
        type=Path,
        metavar="CSV",
        help="soft targets that ser-edge teach wrote, in place of --teacher (with --distill)",
    )
    group.add_argument(
        "--average",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs of the same fold and network, best from the same start: their weights are "
        "averaged with those of this run after training, half of its own, half of theirs",
    )
    group.add_argument(
        "--gate-speech",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGES",
        help="renderings of other corpora on which the nonspeech head is trained as speech too "
        "(with --nonspeech-head): without them it may reject unfamiliar microphones",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from ser_edge.training.fit import Ancestry, Sources, fit

    base = None
    if options.start:  # without the teachers, which are not known here
        base = replace(recipe.Recipe.read(options.start / "config.yaml"), distill=0.0)
    try:
        result = fit(
            Sources(
                options.images,
                also=options.also,
                sounds=options.sounds,
                gate_speech=options.gate_speech,
            ),
            options.out,
            recipe.from_options(options, base),
            options.fold,
            Ancestry(
                start=options.start,
                teachers=options.teachers,
                soft_targets=options.targets,
                average=options.average,
                refit=options.refit,
            ),
            hardware=hardware_of(options),
            tracking=tracking_of(options),
            resume=options.resume,
            progress=not options.quiet,
        )
    except TrackingError as error:
        raise CommandError(error) from error
    if result.leader:
        print_figures(result.figures, options.fold, result.folder)
    return 0
