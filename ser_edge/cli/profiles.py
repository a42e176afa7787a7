"""``ser-edge profiles``: predictions of an evaluation -> what speaker profiles change."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ser_edge.cli.options import add_seed

DESCRIPTION: Final = """\
Measure what a speaker's profile (edge-app enroll) changes, from predictions of an evaluation.

Statistics come from each test actor's repetition 1, without labels; repetition 2 is scored with and
without them. Other numbers of clips, clips of one mood and another person's clips are measured too,
and beside them the rules that were tried on the validation actors. Only RAVDESS has every clip
twice, so predictions of other corpora are ignored.

examples:
  ser-edge profiles models/compact/predictions.csv
  ser-edge profiles runs/mine/predictions.csv --markdown models/mine/enrolment.md

exit status: 0 success (also where profiles do not help), 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "predictions", type=Path, metavar="CSV", help="predictions.csv of an evaluation"
    )
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="to write the tables to")
    add_seed(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from ser_edge.evaluation import profiles
    from ser_edge.files import write_whole

    text = profiles.markdown(profiles.measure(options.predictions, seed=options.seed))
    if options.markdown is not None:
        write_whole(options.markdown, text)
    print(text, end="")
    return 0
