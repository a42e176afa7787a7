"""``ser-edge compare``: two sets of predictions -> differences with paired bootstrap intervals."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

DESCRIPTION: Final = """\
Compare two evaluations, runs or models on the same clips, with paired bootstrap intervals.

examples:
  ser-edge compare runs/compact runs/wide --out compare.html
  ser-edge compare models/compact runs/wide/fold-1

exit status: 0 success, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    for name in ("a", "b"):
        parser.add_argument(
            name,
            type=Path,
            metavar=name.upper(),
            help="folder of an evaluation, run or model, with predictions.csv",
        )
    parser.add_argument("--out", type=Path, metavar="HTML", help="page to write as well")


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from ser_edge.files import write_whole
    from ser_edge.metrics import bootstrap
    from ser_edge.provenance import provenance
    from ser_edge.reports import evaluation

    runs = bootstrap.compare(*bootstrap.read_pair(options.a, options.b))
    print(bootstrap.table(runs))
    if options.out is not None:
        write_whole(options.out, evaluation.comparison_page(runs, provenance()))
        print(f"the same as a page: {options.out}")
    return 0
