#!/usr/bin/env python3
"""Run the experiments of a file, one run after the other or some at a time, and tabulate them.

Each experiment is trained once for each of its seeds and folds, into OUT/NAME/fold-F (or
OUT/NAME/seed-S/fold-F), with a log beside it. Pictures that are not there are rendered first. Stop
it at any moment: the same command goes on. With nothing left to run it writes the table again.

examples:
  scripts/experiments.py configs/experiments.yaml data runs/experiments --folds 1 4
  scripts/experiments.py configs/experiments.yaml data runs/experiments --jobs 2 \\
      --table docs/experiments.md
  scripts/experiments.py configs/experiments.yaml data runs/experiments --only plain crop
  scripts/experiments.py configs/compact-stages.yaml data runs/compact --folds 1
  scripts/experiments.py configs/heads.yaml data runs/experiments --columns heads \\
      --table docs/heads.md

exit status: 0 all well, 1 some run or recording failed, 2 wrong usage
"""

from __future__ import annotations

import argparse
import signal
import sys
from contextlib import suppress
from pathlib import Path

from ser_edge.config.tracking import add_tracking_options, tracking_of, words_of
from ser_edge.data.splits import ALL, VALIDATION_ACTORS


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="list of experiments, YAML")
    parser.add_argument("data", type=Path, help="folder with one folder a corpus (data/ravdess)")
    parser.add_argument("out", type=Path, help="folder for the runs")
    parser.add_argument(
        "--folds",
        nargs="+",
        choices=[*map(str, VALIDATION_ACTORS), ALL],
        default=[*map(str, VALIDATION_ACTORS)],
        metavar="N",
        help="of the experiments that name none (default: 1 2 3 4 5)",
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="trainings at a time (default: 1)"
    )
    parser.add_argument(
        "--only",
        nargs="+",
        metavar="NAME",
        help="run these, and what they start from; the table still has all",
    )
    parser.add_argument(
        "--images",
        type=Path,
        default=Path("images"),
        metavar="DIR",
        help="folder for renderings: CORPUS, where it fits, else CORPUS-DIGEST (default: images)",
    )
    parser.add_argument(
        "--table", type=Path, metavar="FILE", help="document whose table is replaced"
    )
    parser.add_argument(
        "--columns",
        choices=["experiments", "heads"],
        default="experiments",
        help="which table: a row an experiment, or a row a network with what it costs, from "
        "--measured (default: experiments)",
    )
    parser.add_argument(
        "--measured",
        type=Path,
        default=Path("benchmarks/heads.json"),
        metavar="JSON",
        help="what benchmarks/heads.py wrote (default: benchmarks/heads.json)",
    )
    add_tracking_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error(f"--jobs is {options.jobs}, allowed: 1 or more")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: trainings are ended too
    try:
        return run(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; the same command goes on", file=sys.stderr)
        return 130


def run(options: argparse.Namespace) -> int:
    from benchmarks import heads_table
    from ser_edge.experiments import plan, queue
    from ser_edge.experiments import table as experimentstable
    from ser_edge.reports import documents

    tracking_of(options)  # a mistake in it is found before the first run
    listed = plan.read_experiments(options.config, sorted(set(options.folds)))
    chosen = plan.select(listed, options.only or [entry.name for entry in listed])
    if options.table is not None:
        documents.check_document(options.table, options.columns)

    def tabulate() -> str:
        rows = experimentstable.read_rows(listed, options.out)
        if options.columns == heads_table.TABLE:
            table = heads_table.markdown(rows, heads_table.read_measured(options.measured))
        else:
            table = experimentstable.markdown(rows)
        if options.table is not None:
            documents.write_into(options.table, options.columns, table)
        return table

    def tabulate_meanwhile() -> None:
        with suppress(ValueError, OSError):  # said at the end: no reason to stop a training
            tabulate()

    plan.check_begun(plan.jobs_of(listed, options.out))
    jobs = plan.jobs_of(chosen, options.out)
    plan.write_configs(jobs)
    problems = queue.run(
        jobs,
        queue.Places(
            options.data,
            options.images,
            Path(__file__).with_name("train.py"),
            tuple(words_of(options)),
        ),
        at_once=options.jobs,
        progress=not options.quiet,
        after_each=tabulate_meanwhile,
    )
    print(tabulate())
    for problem in problems:
        print(f"failed: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
