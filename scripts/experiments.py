#!/usr/bin/env python3
"""Run the experiments of a file on Ray, on this machine or on a cluster, and tabulate them.

Each experiment is trained once for each of its seeds and folds, into OUT/NAME/fold-F (or
OUT/NAME/seed-S/fold-F), with a log beside it. Missing mel images are rendered first. Stop it at any
moment: the same command resumes. With nothing left to run it writes the table again, without Ray.
The machines of a cluster (--address) must have ser-edge installed and see DATA, OUT and --images
under the same paths: put them into a shared folder.

examples:
  scripts/experiments.py configs/experiments.yaml data runs/experiments --folds 1 4
  scripts/experiments.py configs/experiments.yaml data runs/experiments --jobs 2 \\
      --table docs/experiments.md
  scripts/experiments.py configs/experiments.yaml data runs/experiments --only plain crop
  scripts/experiments.py configs/compact-stages.yaml data runs/compact --folds 1
  scripts/experiments.py configs/experiments.yaml data runs/experiments --address auto --cpus 4 \\
      --gpus 1
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
        "--only",
        nargs="+",
        metavar="NAME",
        help="run these and those that they depend on; the table still has all",
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
    add_ray_options(parser)
    add_tracking_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: trainings end too
    try:
        return run(options)
    except ConnectionError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; the same command resumes", file=sys.stderr)
        return 130


def add_ray_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--jobs``, ``--address``, ``--cpus`` and ``--gpus``."""
    group = parser.add_argument_group("Ray (pip install 'ser-edge[experiments]')")
    group.add_argument(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="trainings at a time on this machine (default: 1)",
    )
    group.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="run on this Ray cluster (auto: the one that this machine belongs to), as many "
        "trainings at a time as its CPUs and GPUs allow (default: this machine alone)",
    )
    group.add_argument(
        "--cpus",
        type=int,
        metavar="N",
        help="CPUs of a training (default: this machine's divided by --jobs; with --address 1)",
    )
    group.add_argument(
        "--gpus",
        type=float,
        metavar="N",
        help="GPUs of a training, such as 1 or 0.5 (default: this machine's divided by --jobs; "
        "with --address 0)",
    )


def run(options: argparse.Namespace) -> int:
    from benchmarks import heads_table
    from ser_edge.experiments import plan, runner
    from ser_edge.experiments import table as experiments_table
    from ser_edge.reports import documents

    tracking_of(options)  # a mistake in it is found before the first run
    resources = runner.Resources(options.address, options.jobs, options.cpus, options.gpus)
    listed = plan.read_experiments(options.config, sorted(set(options.folds)))
    chosen = plan.select(listed, options.only or [entry.name for entry in listed])
    if options.table is not None:
        documents.check_document(options.table, options.columns)

    def tabulate() -> str:
        rows = experiments_table.read_rows(listed, options.out)
        if options.columns == heads_table.TABLE:
            table = heads_table.markdown(rows, heads_table.read_measured(options.measured))
        else:
            table = experiments_table.markdown(rows)
        if options.table is not None:
            documents.write_into(options.table, options.columns, table)
        return table

    def tabulate_meanwhile() -> None:
        with suppress(ValueError, OSError):  # reported at the end: no reason to stop a training
            tabulate()

    plan.check_started(plan.runs_of(listed, options.out))
    runs = plan.runs_of(chosen, options.out)
    plan.write_configs(runs)
    training = runner.Training(
        options.data,
        options.images,
        command=[str(Path(__file__).absolute().with_name("train.py"))],
        options=words_of(options),
    )
    problems = runner.run(
        runs, training, resources, progress=not options.quiet, after_each=tabulate_meanwhile
    )
    print(tabulate())
    for problem in problems:
        print(f"failed: {problem}", file=sys.stderr)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
