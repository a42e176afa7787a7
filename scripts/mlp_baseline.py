#!/usr/bin/env python3
"""Train scikit-learn's MLP on a table of classic features, and see what a figure is worth.

TABLE is what scripts/features.py writes. Every combination of labels, solver and fold is trained
with the features as they are and standardised (by the training clips alone). A random division of
clips is LEAKY, each speaker is in training and in the test, and is called so in the table; folds 1
to 5 are RAVDESS's actor-disjoint ones, "speakers" divides the speakers of other corpora at random.

examples:
  scripts/mlp_baseline.py ravdess.csv
  scripts/mlp_baseline.py ravdess.csv --labels 8 --folds 1 2 3 4 5 --columns 'mfcc_*' --seeds 1
  scripts/mlp_baseline.py nemo.parquet --labels 8 --folds random speakers --out nemo-mlp.json

exit status: 0 all well, 1 a training failed, 2 wrong usage
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ser_edge.baseline import mlp
from ser_edge.baseline.table import read_table
from ser_edge.data.splits import FOLDS, RANDOM
from ser_edge.files import write_whole
from ser_edge.markdown.documents import check_document, write_into
from ser_edge.provenance import provenance


def main() -> int:
    default = mlp.Trial()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table", type=Path, help="features: .csv or .parquet")
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
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="0 to N-1 (default: 3)")
    parser.add_argument(
        "--columns", nargs="+", default=["*"], metavar="PATTERN", help="features to look at"
    )
    parser.add_argument("--song", action="store_true", help="train on song as well")
    parser.add_argument(
        "--hidden", type=int, nargs="+", default=list(default.hidden), metavar="N", help="sizes"
    )
    parser.add_argument("--iterations", type=int, default=default.iterations, help="at the most")
    parser.add_argument("--out", type=Path, metavar="JSON", help="all of it, for programs")
    parser.add_argument("--into", type=Path, metavar="MD", help="document that keeps the table")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args()
    for name in ("workers", "seeds"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name} is {value}, allowed: 1 or more")
    try:
        if options.into is not None:
            check_document(options.into, MARKER)
        base = mlp.Trial(hidden=tuple(options.hidden), iterations=options.iterations)
        wanted = mlp.trials(
            options.labels, options.solvers, options.folds, range(options.seeds), base
        )
        outcomes = mlp.run(
            read_table(options.table),
            wanted,
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
    except ValueError as error:
        parser.error(str(error))
    except (RuntimeError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 130
    return 0


MARKER = "mlp-baseline"

if __name__ == "__main__":
    sys.exit(main())
