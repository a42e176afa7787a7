"""``edge-app archive``: a large set of clips -> Parquet, with Ray Data."""

from __future__ import annotations

import argparse
import importlib.util
from typing import Final

from edge_app.archive.plan import DEFAULT_SHARD_SIZE, Columns, plan
from edge_app.archive.runner import EXIT_EARLY, ArchiveError, Cluster, only_one, score
from edge_app.archive.scoring import ClassifierSpec
from edge_app.archive.storage import Folder, absolute
from edge_app.commands import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from edge_app.commands.options import (
    add_answer_options,
    add_model_options,
    progress_stream,
    wrong_usage,
)
from edge_app.commands.progress import working
from edge_app.commands.terminal import complain
from edge_app.inference.profile_store import find_profile
from edge_app.inputs import STANDARD_INPUT
from ser_edge.labels import find_grouping

_PACKAGES: Final = ("pyarrow", "ray", "tqdm")
_RESUME: Final = "run the same command again to resume"

_DESCRIPTION: Final = """\
Score an archive of clips, a million if need be, on all cores or a cluster (Ray Data).

Sounds go in as files, folders, globs or a list, or as Parquet files that hold paths or the sounds
themselves. Parquet comes out, a row a clip: the answer of edge-app predict, or the error. The same
command resumes a run that was killed, in part or as a whole; each clip is in the result once.

examples:
  edge-app archive calls/ --out scores
  edge-app archive 'calls/**/*.flac' more/ --out scores --actors 8 --precision INT8
  find /archive -name '*.mp3' | edge-app archive --list - --out scores
  edge-app archive clips.parquet --path-column path --out scores
  edge-app archive s3://bucket/data --bytes-column audio.bytes --name-column audio.path \\
      --out s3://bucket/scores --address auto          # on the head of a Ray cluster
  edge-app archive calls/ --out scores --again         # retry clips that had an error

exit status: 0 success, 1 some clip has an error, 2 wrong usage, 3 ended early, run it again
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    command.description = _DESCRIPTION
    command.add_argument(
        "inputs", nargs="*", metavar="INPUT", help="file, folder (searched through), glob, or URI"
    )
    command.add_argument("--list", metavar="FILE", help="further inputs, a line each; - for stdin")
    command.add_argument("--out", required=True, metavar="DIR", help="folder or URI of the result")
    table = command.add_argument_group("inputs that are Parquet files")
    table.add_argument("--path-column", metavar="NAME", help="holds paths or URIs of sounds")
    table.add_argument("--bytes-column", metavar="NAME", help="holds sound files; audio.bytes")
    table.add_argument("--name-column", metavar="NAME", help="holds their names for the result")
    where = command.add_argument_group("where it runs")
    where.add_argument("--address", help="of a Ray cluster: auto, host:6379 (default: start one)")
    where.add_argument("--actors", type=int, metavar="N", help="classifiers (default: all CPUs)")
    where.add_argument(
        "--shard-size",
        type=int,
        default=DEFAULT_SHARD_SIZE,
        metavar="N",
        help=f"clips in a file of the result (default: {DEFAULT_SHARD_SIZE})",
    )
    where.add_argument("--again", action="store_true", help="score shards with errors once more")
    add_model_options(command, hint="throughput")
    add_answer_options(command)
    command.set_defaults(threads=1)


def run(options: argparse.Namespace) -> int:
    missing = [name for name in _PACKAGES if not importlib.util.find_spec(name)]
    if missing:
        wrong_usage(
            options,
            f"this needs the extra archive: pip install 'ser-edge[archive]' (no {missing[0]} here)",
        )
    if not options.inputs and options.list is None:
        wrong_usage(options, "nothing to score: name files, folders or globs, or give --list")
    try:
        return _scored(options)
    except ValueError as error:
        wrong_usage(options, str(error))
    except (ArchiveError, OSError) as error:
        complain(options, f"{error}; {_RESUME}")
        return EXIT_EARLY
    except KeyboardInterrupt:
        complain(options, f"interrupted; {_RESUME}")
        return EXIT_INTERRUPTED


def _scored(options: argparse.Namespace) -> int:
    columns = (options.path_column, options.bytes_column, options.name_column)
    listed = options.list or ""
    spec = _classifier_spec(options)
    order = spec.order(
        inputs=tuple(map(absolute, options.inputs)),
        columns=Columns(*columns) if any(columns) else None,
        listed=listed if listed in ("", STANDARD_INPUT) else absolute(listed),
        shard_size=options.shard_size,
    )
    cluster = Cluster(options.address, options.actors)
    folder = Folder(options.out)
    progress = progress_stream(options)
    with only_one(folder):
        with working(progress, "listing the clips"):
            planned = plan(folder, order)
        outcome = score(
            folder, planned, spec, cluster, again=options.again, progress=progress is not None
        )
    print(
        f"{outcome.clips} clips, {outcome.failed} of them with an error, {outcome.found} were "
        f"there already, {planned.twice} named twice; {planned.shards} files in {options.out}"
    )
    return EXIT_FAILED if outcome.failed else EXIT_OK


def _classifier_spec(options: argparse.Namespace) -> ClassifierSpec:
    is_file = options.model.lower().endswith(".xml")
    profile = options.profile
    return ClassifierSpec(
        model=absolute(options.model) if is_file else options.model,
        device=options.device,
        precision=options.precision,
        labels=None if options.labels is None else find_grouping(options.labels),
        profile=None if profile is None else find_profile(profile, options.profiles),
        hint=options.hint,
        threads=options.threads,
        fallback=options.fallback,
    )
