#!/usr/bin/env python3
"""Let the edge app hear degraded clips, and sounds that are no speech: one table.

RUNS is the folder of an evaluation whose folds were exported (scripts/evaluate.py --edge). Every
fold's network hears its own test clips degraded, from the sound files, with the temperature and
the threshold of the pooled validation clips. RUNS gets robustness.json and robustness.md (with
--precision INT8: a folder robustness-INT8 with both). What was heard is kept beside each fold's
IR; the same command goes on where it was broken off.

With -m one model is tried, with its own threshold, on sounds that are no speech and on recordings
of yours. They need no labels: what counts is whether the label stays the same.

examples:
  scripts/robustness.py runs/compact --sounds data/ravdess
  scripts/robustness.py runs/compact --sounds data/ravdess --only telephone room not-speech
  scripts/robustness.py -m compact --not-speech
  scripts/robustness.py -m compact --precision INT8 --clips recordings/ --out runs/tried

exit status: 0 all well (a limit that is missed stands in the table), 1 some clip failed, 2 wrong
usage
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(
        usage="%(prog)s RUNS --sounds DIR | -m MODEL [--not-speech] [--clips DIR] | --help",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("runs", type=Path, nargs="?", help="folder of an evaluation")
    parser.add_argument(
        "--sounds", type=Path, nargs="+", default=[], metavar="DIR", help="recordings of RUNS"
    )
    parser.add_argument(
        "--unknown-share",
        type=float,
        metavar="SHARE",
        help="of RUNS: share of the validation clips that the threshold turns into unknown "
        "(default: 0.05, as in an evaluation)",
    )
    parser.add_argument(
        "--only",
        nargs="+",
        default=[],
        metavar="NAME",
        help="degradations by name, and not-speech (default: all)",
    )
    parser.add_argument("--precision", default="FP16", help="FP16 or INT8 (default: FP16)")
    parser.add_argument("--seed", type=int, default=0, help="of all that is drawn (default: 0)")
    parser.add_argument(
        "--per-kind", type=int, default=20, help="sounds of each kind, no speech (default: 20)"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="to write to (default: RUNS)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    other = parser.add_argument_group("one model in place of an evaluation")
    other.add_argument("-m", "--model", help="name or .xml")
    other.add_argument("-d", "--device", help="CPU, GPU, ... (default: CPU)")
    other.add_argument("--not-speech", action="store_true", help="sounds that are no speech")
    other.add_argument("--clips", type=Path, metavar="DIR", help="recordings without labels")
    other.add_argument("--at-most", type=int, metavar="N", help="so many of --clips, at random")
    options = parser.parse_args()

    if (options.runs is None) == (options.model is None):
        parser.error("one of: RUNS --sounds DIR, -m MODEL (see --help)")
    if options.runs is not None:
        if not options.sounds:
            parser.error("the edge app hears sound files: give their folders with --sounds")
        if options.device or options.not_speech or options.clips or options.at_most is not None:
            parser.error("--device, --not-speech, --clips and --at-most go with -m")
    elif options.sounds or options.unknown_share is not None:
        parser.error("--sounds and --unknown-share go with RUNS; recordings for -m with --clips")
    elif not options.not_speech and options.clips is None:
        parser.error("-m goes with --not-speech, --clips DIR or both")
    elif options.at_most is not None and options.clips is None:
        parser.error("--at-most goes with --clips")
    if options.seed < 0:
        parser.error(f"seed is {options.seed}, allowed: 0 or more")
    try:
        return evaluated(options) if options.runs is not None else tried(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; the same command goes on", file=sys.stderr)
        return 130


def evaluated(options: argparse.Namespace) -> int:
    from edge_app.classifier import Classifier
    from ser_edge.evaluation.robustness import (
        measure,  # torch takes seconds to import: not for --help
    )

    share = {} if options.unknown_share is None else {"unknown_share": options.unknown_share}
    found = measure.measure(
        options.runs,
        options.sounds,
        Classifier,
        precision=options.precision,
        only=options.only,
        seed=options.seed,
        per_kind=options.per_kind,
        progress=not options.quiet,
        **share,
    )
    default = "." if options.precision == "FP16" else f"robustness-{options.precision}"
    return told(found, options.out or options.runs / default)


def tried(options: argparse.Namespace) -> int:
    from edge_app.classifier import Classifier
    from edge_app.inference.runtime import DeviceError
    from ser_edge.evaluation.robustness import measure, results

    results.chosen(options.only)  # before the model is compiled
    try:
        ear = Classifier(options.model, options.device or "CPU", options.precision)
    except DeviceError as error:
        raise ValueError(str(error)) from None
    found = measure.try_model(
        ear,
        clips=options.clips,
        not_speech=options.not_speech,
        at_most=options.at_most,
        only=options.only,
        seed=options.seed,
        per_kind=options.per_kind,
        progress=not options.quiet,
    )
    return told(found, options.out)


def told(found: object, out: Path | None) -> int:
    """Print the tables and what failed, write them where it is wanted."""
    from ser_edge.evaluation.robustness import results, tables

    assert isinstance(found, results.Robustness)
    print(tables.markdown(found), end="")
    if out is not None:
        tables.write(found, out)
        print(f"\nall of it: {out / tables.JSON}, {out / tables.MARKDOWN}")
    for problem in found.problems:
        print(f"failed: {problem}", file=sys.stderr)
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
