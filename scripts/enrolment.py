#!/usr/bin/env python3
"""Measure what a person's profile (edge-app enroll) does, from stored predictions of an evaluation.

Statistics from each test actor's repetition 1, without labels; repetition 2 scored with and
without them. Other numbers of clips, clips of one mood and another person's clips are measured
too, and beside them the rules that were tried on the validation actors. RAVDESS alone has every
clip twice, so other corpora's predictions are passed over.

examples:
  scripts/enrolment.py models/compact/predictions.csv
  scripts/enrolment.py runs/mine/predictions.csv --markdown models/mine/enrolment.md

exit status: 0 all well (also where it does not help), 2 wrong usage
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("predictions", type=Path, help="predictions.csv of an evaluation")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="to write the tables to")
    parser.add_argument("--seed", type=int, default=0, help="of the clips drawn (default: 0)")
    options = parser.parse_args()
    if options.seed < 0:
        parser.error(f"seed is {options.seed}, allowed: 0 or more")

    from ser_edge.evaluation import profiles
    from ser_edge.files import write_whole

    try:
        text = profiles.markdown(profiles.measure(options.predictions, seed=options.seed))
        if options.markdown is not None:
            write_whole(options.markdown, text)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
