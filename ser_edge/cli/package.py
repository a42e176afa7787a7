"""``ser-edge package``: a final run and fold runs -> a model's folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

DESCRIPTION: Final = """\
Combine a final run and the fold runs of its recipe into models/NAME.

Weights are those of the run with --fold all; figures, temperature and the threshold for "unknown"
come from the fold runs, on speakers held out from them.

example:
  ser-edge package models/compact --final runs/all --folds runs/fold1 runs/fold3

exit status: 0 success, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("out", type=Path, metavar="OUT", help="models/NAME")
    parser.add_argument(
        "--final", type=Path, required=True, metavar="RUN", help="run trained with --fold all"
    )
    parser.add_argument(
        "--folds", type=Path, nargs="+", required=True, metavar="RUN", help="runs by fold"
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from ser_edge.export.package import package

    metrics = package(options.final, options.folds, options.out)
    summary, calibration = metrics["summary"], metrics["calibration"]
    print(
        f"{options.out}: UAR {summary['uar_mean']:.3f} +- {summary['uar_sd']:.3f} over "
        f"{len(metrics['folds'])} runs; temperature {calibration['temperature']}, "
        f"threshold {calibration['threshold']}"
    )
    return 0
