#!/usr/bin/env python3
"""Score an archive of clips, a million if need be, on all cores or a cluster (Ray Data).

Sounds go in as files, folders, globs or a list, or as Parquet files that hold paths or the sounds
themselves. Parquet comes out, a row a clip: what edge-app predict says of it, or the error.
Killed, in part or as a whole? The same command goes on, and each clip is in the result once.

examples:
  scripts/score_archive.py calls/ --out scores
  scripts/score_archive.py 'calls/**/*.flac' more/ --out scores --actors 8 --precision INT8
  find /archive -name '*.mp3' | scripts/score_archive.py --list - --out scores
  scripts/score_archive.py clips.parquet --path-column path --out scores
  scripts/score_archive.py s3://bucket/data --bytes-column audio.bytes --name-column audio.path \\
      --out s3://bucket/scores --address auto          # on the head of a Ray cluster
  scripts/score_archive.py calls/ --out scores --again # and those that had an error once more

exit status: 0 all well, 1 some clip has an error, 2 wrong usage, 3 ended early, run it again
"""

from __future__ import annotations

import argparse
import importlib.util
import sys

from edge_app.archive.plan import DEFAULT_SHARD_SIZE, Columns, plan
from edge_app.archive.runner import EXIT_EARLY, ArchiveError, Cluster, only_one, score
from edge_app.archive.scoring import Ear
from edge_app.archive.storage import Folder, absolute
from edge_app.commands.options import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    add_answer_options,
    add_model_options,
)
from edge_app.inference.profile_store import find_profile
from edge_app.inputs import STANDARD_INPUT
from ser_edge.labels import find_grouping


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="file, folder (searched through), glob, or URI"
    )
    parser.add_argument("--list", metavar="FILE", help="further inputs, a line each; - for stdin")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder or URI of the result")
    table = parser.add_argument_group("inputs that are Parquet files")
    table.add_argument("--path-column", metavar="NAME", help="holds paths or URIs of sounds")
    table.add_argument("--bytes-column", metavar="NAME", help="holds sound files; audio.bytes")
    table.add_argument("--name-column", metavar="NAME", help="what those are called in the result")
    where = parser.add_argument_group("where it runs")
    where.add_argument("--address", help="of a Ray cluster: auto, host:6379 (default: start one)")
    where.add_argument("--actors", type=int, metavar="N", help="classifiers (default: all CPUs)")
    where.add_argument(
        "--shard-size",
        type=int,
        default=DEFAULT_SHARD_SIZE,
        metavar="N",
        help=f"clips in a file of the result (default: {DEFAULT_SHARD_SIZE})",
    )
    where.add_argument("--again", action="store_true", help="shards with errors once more")
    where.add_argument("--quiet", action="store_true", help="no progress bar")
    add_model_options(parser, hint="throughput")  # as edge-app predict
    add_answer_options(parser)
    parser.set_defaults(threads=1)
    options = parser.parse_args()

    missing = [name for name in ("pyarrow", "ray", "tqdm") if not importlib.util.find_spec(name)]
    if missing:
        parser.error(
            f"this needs the extra archive: pip install 'ser-edge[archive]' (no {missing[0]} here)"
        )
    if not options.inputs and options.list is None:
        parser.error("nothing to score: name files, folders or globs, or give --list")
    try:
        return scored(options)
    except ValueError as error:
        parser.error(str(error))
    except (ArchiveError, OSError) as error:
        print(f"{parser.prog}: {error}; the same command goes on", file=sys.stderr)
        return EXIT_EARLY
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; the same command goes on", file=sys.stderr)
        return EXIT_INTERRUPTED


def scored(options: argparse.Namespace) -> int:
    columns = (options.path_column, options.bytes_column, options.name_column)
    is_file = options.model.lower().endswith(".xml")
    profile = options.profile
    listed = options.list or ""
    ear = Ear(
        model=absolute(options.model) if is_file else options.model,
        device=options.device,
        precision=options.precision,
        labels=None if options.labels is None else find_grouping(options.labels),
        profile=None if profile is None else find_profile(profile, options.profiles),
        hint=options.hint,
        threads=options.threads,
        fallback=options.fallback,
    )
    order = ear.order(
        inputs=tuple(map(absolute, options.inputs)),
        columns=Columns(*columns) if any(columns) else None,
        listed=listed if listed in ("", STANDARD_INPUT) else absolute(listed),
        shard_size=options.shard_size,
    )
    cluster = Cluster(options.address, options.actors)
    folder = Folder(options.out)
    with only_one(folder):
        planned = plan(folder, order)
        outcome = score(
            folder, planned, ear, cluster, again=options.again, progress=not options.quiet
        )
    print(
        f"{outcome.clips} clips, {outcome.failed} of them with an error, {outcome.found} were "
        f"there already, {planned.twice} named twice; {planned.shards} files in {options.out}"
    )
    return EXIT_FAILED if outcome.failed else EXIT_OK


if __name__ == "__main__":
    sys.exit(main())
