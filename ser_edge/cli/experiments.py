"""``ser-edge experiments``: a YAML file of experiments -> their runs on Ray, and a table."""

from __future__ import annotations

import argparse
import signal
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Final

from ser_edge.cli.errors import CommandError
from ser_edge.cli.options import add_folds, print_problems
from ser_edge.config.tracking import add_tracking_options, tracking_of, words_of
from ser_edge.data.splits import ALL

DESCRIPTION: Final = """\
Run the experiments of a file on Ray, on this machine or on a cluster, and tabulate them.

Each experiment is trained once for each of its seeds and folds, into OUT/NAME/fold-F (or
OUT/NAME/seed-S/fold-F), with a log beside it. Missing mel images are rendered first. Stop it at any
moment: the same command resumes. With nothing left to run it writes the table again, without Ray.
The machines of a cluster (--address) must have ser-edge installed and see DATA, OUT and --images
under the same paths: put them into a shared folder.

examples:
  ser-edge experiments configs/experiments.yaml data runs/experiments --folds 1 4
  ser-edge experiments configs/experiments.yaml data runs/experiments --jobs 2 \\
      --table docs/results/experiments.md
  ser-edge experiments configs/experiments.yaml data runs/experiments --only plain crop
  ser-edge experiments configs/compact-stages.yaml data runs/compact --folds 1
  ser-edge experiments configs/experiments.yaml data runs/experiments --address auto --cpus 4 \\
      --gpus 1
  ser-edge experiments configs/heads.yaml data runs/experiments --columns heads \\
      --table docs/results/heads.md

exit status: 0 success, 1 some run or recording failed, 2 wrong usage
"""

TRAIN: Final = ("-m", "ser_edge", "train")
"""Python's arguments that run a training."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("config", type=Path, metavar="YAML", help="list of experiments")
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="folder with one folder a corpus (data/ravdess)"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the runs")
    add_folds(parser, ALL, help="of the experiments that name none")
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
    table = parser.add_argument_group("table")
    table.add_argument(
        "--table", type=Path, metavar="FILE", help="document whose table is replaced"
    )
    table.add_argument(
        "--columns",
        choices=["experiments", "heads"],
        default="experiments",
        help="a row an experiment, or a row a network with what it costs, from --measured "
        "(default: experiments)",
    )
    table.add_argument(
        "--measured",
        type=Path,
        default=Path("benchmarks/heads.json"),
        metavar="JSON",
        help="what benchmarks/heads.py wrote (default: benchmarks/heads.json)",
    )
    _add_ray_options(parser)
    add_tracking_options(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from ser_edge.experiments import plan, runner
    from ser_edge.experiments import table as experiments_table
    from ser_edge.markdown import documents

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: it ends trainings too
    heads_table = _heads_table() if options.columns == "heads" else None
    resources = runner.Resources(options.address, options.jobs, options.cpus, options.gpus)
    tracking_of(options)  # an error in it is found before the first run
    listed = plan.read_experiments(options.config, sorted(set(options.folds)))
    chosen = plan.select(listed, options.only or [entry.name for entry in listed])
    if options.table is not None:
        documents.check_document(options.table, options.columns)

    def tabulate() -> str:
        rows = experiments_table.read_rows(listed, options.out)
        if heads_table is not None:
            table = str(heads_table.markdown(rows, heads_table.read_measured(options.measured)))
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
    training = runner.Training(options.data, options.images, TRAIN, words_of(options))
    try:
        problems = runner.run(
            runs, training, resources, progress=not options.quiet, after_each=tabulate_meanwhile
        )
    except ConnectionError as error:  # no cluster at --address
        raise CommandError(str(error)) from None
    print(tabulate())
    print_problems("failed", problems)
    return 1 if problems else 0


def _add_ray_options(parser: argparse.ArgumentParser) -> None:
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


def _heads_table() -> ModuleType:
    try:
        from benchmarks import heads_table
    except ModuleNotFoundError:
        raise ValueError("--columns heads needs benchmarks/, from a clone of ser-edge") from None
    return heads_table
