"""``ser-edge evaluate``: a recipe, trained and scored fold by fold -> figures and a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ser_edge.cli.options import add_folds, add_images, add_sounds, open_ir, report_study
from ser_edge.config import recipe
from ser_edge.config.hardware import add_hardware_options, hardware_of
from ser_edge.config.tracking import add_tracking_options, tracking_of

DESCRIPTION: Final = """\
Train and score a recipe on every fold.

RUNS gets fold-1 ... fold-5 (and random), predictions.csv, metrics.json and report.html, one page
that needs nothing else. Finished folds are not run again, an interrupted one resumes; the figures
are those of all finished folds in RUNS.

examples:
  ser-edge evaluate images/ravdess runs/plain --config configs/plain.yaml
  ser-edge evaluate images/ravdess runs/plain --config configs/plain.yaml \\
      --sounds data/ravdess --split both --edge
  ser-edge evaluate images/ravdess runs/wide --width 1.5 --seed 3 --folds 1 3
  ser-edge compare runs/plain runs/wide
  ser-edge crosscorpus images/nemo -m runs/plain

exit status: 0 success, 1 some run or clip failed, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_images(parser)
    parser.add_argument("runs", type=Path, metavar="RUNS", help="folder for the evaluation")
    add_folds(parser, help="EmoBox folds to train if they are missing")
    parser.add_argument(
        "--split",
        choices=["folds", "random", "both"],
        default="folds",
        help="random: clips divided at random, which is LEAKY: for comparison only "
        "(default: folds)",
    )
    add_sounds(parser, "for play buttons, --edge, and recipes that change the waveform")
    parser.add_argument(
        "--teacher",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUNS",
        help="other evaluations: their network of a fold is that fold's teacher (--distill)",
    )
    parser.add_argument(
        "--edge",
        action="store_true",
        help="export each fold to FP16 and INT8 and score it through the edge app",
    )
    add_hardware_options(parser)
    add_tracking_options(parser)
    recipe.add_options(parser)
    recipe.add_image_options(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from ser_edge.evaluation import crossval

    found = crossval.evaluate(
        options.images,
        options.runs,
        recipe.from_options(options),
        folds=options.folds,
        split=options.split,
        sounds=options.sounds,
        teachers=options.teacher,
        classifier=open_ir if options.edge else None,
        hardware=hardware_of(options),
        tracking=tracking_of(options),
        progress=not options.quiet,
    )
    return report_study(found, options.runs)
