"""``ser-edge baseline``: a table of classic features -> figures of scikit-learn's MLP on it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

from ser_edge.baseline import mlp
from ser_edge.baseline.table import read_table
from ser_edge.cli.errors import CommandError
from ser_edge.cli.options import add_workers, positive
from ser_edge.data.splits import FOLDS, RANDOM
from ser_edge.files import write_whole
from ser_edge.provenance import provenance
from ser_edge.reports.documents import check_document, write_into

DESCRIPTION: Final = """\
Train scikit-learn's MLP on a table of classic features, with and without speaker leakage.

TABLE is what ser-edge features writes. Every combination of labels, solver and fold is trained with
the features as they are and standardised (by the training clips alone). A random division of clips
is LEAKY, since each speaker is in training and in the test, and is marked so in the table; folds 1
to 5 are RAVDESS's actor-disjoint ones, "speakers" divides the speakers of other corpora at random.

examples:
  ser-edge baseline ravdess.csv
  ser-edge baseline ravdess.csv --labels 8 --folds 1 2 3 4 5 --columns 'mfcc_*' --seeds 1
  ser-edge baseline nemo.parquet --labels 8 --folds random speakers --out nemo-mlp.json

exit status: 0 success, 1 a training failed, 2 wrong usage
"""

MARKER: Final = "mlp-baseline"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    default = mlp.Trial()
    parser.add_argument("table", type=Path, metavar="TABLE", help="features: .csv or .parquet")
    parser.add_argument(
        "--labels",
        nargs="+",
        default=["8", "7"],
        metavar="NAME",
        help="8 emotions, or a grouping as edge-app's --labels (default: 8 7)",
    )
    parser.add_argument(
        "--folds",
        nargs="+",
        default=[RANDOM, *mlp.ACTOR_FOLDS],
        metavar="FOLD",
        help=f"of {', '.join(FOLDS)} (default: random 1 2 3 4 5)",
    )
    parser.add_argument(
        "--solvers", nargs="+", default=list(mlp.SOLVERS), metavar="NAME", help="adam, sgd"
    )
    parser.add_argument(
        "--seeds", type=positive, default=3, metavar="N", help="0 to N-1 (default: 3)"
    )
    parser.add_argument(
        "--columns", nargs="+", default=["*"], metavar="PATTERN", help="features to use"
    )
    parser.add_argument("--song", action="store_true", help="train on song as well")
    parser.add_argument(
        "--hidden", type=int, nargs="+", default=list(default.hidden), metavar="N", help="sizes"
    )
    parser.add_argument(
        "--iterations", type=int, default=default.iterations, metavar="N", help="at most"
    )
    parser.add_argument("--out", type=Path, metavar="JSON", help="all results, for programs")
    parser.add_argument("--into", type=Path, metavar="MD", help="document that keeps the table")
    add_workers(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    if options.into is not None:
        check_document(options.into, MARKER)
    base = mlp.Trial(hidden=tuple(options.hidden), iterations=options.iterations)
    trials = mlp.trials(options.labels, options.solvers, options.folds, range(options.seeds), base)
    try:
        outcomes = mlp.run(
            read_table(options.table),
            trials,
            columns=options.columns,
            song=options.song,
            workers=options.workers,
            progress=not options.quiet,
        )
        found = mlp.markdown(mlp.summarise(outcomes))
        print(found)
        if options.out is not None:
            kept = {**provenance(), **mlp.to_dict(outcomes)}
            write_whole(options.out, json.dumps(kept) + "\n")
        if options.into is not None:
            write_into(options.into, MARKER, found)
    except (RuntimeError, OSError) as error:
        raise CommandError(error) from error
    return 0
