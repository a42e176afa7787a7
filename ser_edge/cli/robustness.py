"""``ser-edge robustness``: degraded clips and nonspeech through the edge app -> one table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ser_edge.cli.options import add_seed, add_sounds, load_classifier, open_ir, print_problems

if TYPE_CHECKING:
    from ser_edge.evaluation.robustness.measure import Robustness

DESCRIPTION: Final = """\
Score degraded clips, and sounds that are no speech, through the edge app.

RUNS is the folder of an evaluation whose folds were exported (ser-edge evaluate --edge). Every
fold's network classifies its own test clips, degraded, from the sound files, with the temperature
and the threshold of the pooled validation clips. RUNS gets robustness.json and robustness.md (with
--precision INT8: a folder robustness-INT8 with both). Answers are kept beside each fold's IR; the
same command resumes an interrupted run.

With -m one model is tried, with its own threshold, on sounds that are no speech and on your own
recordings. They need no labels: what counts is whether the label stays the same.

examples:
  ser-edge robustness runs/compact --sounds data/ravdess
  ser-edge robustness runs/compact --sounds data/ravdess --only telephone room not-speech
  ser-edge robustness -m compact --not-speech
  ser-edge robustness -m compact --precision INT8 --clips recordings/ --out runs/tried

exit status: 0 success (a limit that is missed stands in the table), 1 some clip failed, 2 wrong
usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.usage = "%(prog)s RUNS --sounds DIR | -m MODEL [--not-speech] [--clips DIR] | --help"
    parser.add_argument(
        "runs", type=Path, nargs="?", metavar="RUNS", help="folder of an evaluation"
    )
    add_sounds(parser, "those of RUNS")
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
    add_seed(parser)
    parser.add_argument(
        "--per-kind",
        type=int,
        default=20,
        metavar="N",
        help="sounds of each kind of nonspeech (default: 20)",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="to write to (default: RUNS)")
    other = parser.add_argument_group("one model in place of an evaluation")
    other.add_argument("-m", "--model", help="name or .xml")
    other.add_argument("-d", "--device", help="CPU, GPU, ... (default: CPU)")
    other.add_argument("--not-speech", action="store_true", help="sounds that are no speech")
    other.add_argument("--clips", type=Path, metavar="DIR", help="recordings without labels")
    other.add_argument(
        "--at-most", type=int, metavar="N", help="random sample of so many of --clips"
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    _check(options)
    return _evaluation(options) if options.runs is not None else _one_model(options)


def _check(options: argparse.Namespace) -> None:
    if (options.runs is None) == (options.model is None):
        raise ValueError("give one of: RUNS --sounds DIR, -m MODEL")
    if options.runs is not None:
        if not options.sounds:
            raise ValueError("the edge app reads sound files: give their folders with --sounds")
        if options.device or options.not_speech or options.clips or options.at_most is not None:
            raise ValueError("--device, --not-speech, --clips and --at-most go with -m")
    elif options.sounds or options.unknown_share is not None:
        raise ValueError("--sounds and --unknown-share go with RUNS; recordings for -m: --clips")
    elif not options.not_speech and options.clips is None:
        raise ValueError("-m goes with --not-speech, --clips DIR or both")
    elif options.at_most is not None and options.clips is None:
        raise ValueError("--at-most goes with --clips")


def _evaluation(options: argparse.Namespace) -> int:
    from ser_edge.evaluation.robustness import measure

    share = {} if options.unknown_share is None else {"unknown_share": options.unknown_share}
    found = measure.measure(
        options.runs,
        options.sounds,
        open_ir,
        precision=options.precision,
        only=options.only,
        seed=options.seed,
        per_kind=options.per_kind,
        progress=not options.quiet,
        **share,
    )
    default = "." if options.precision == "FP16" else f"robustness-{options.precision}"
    return _report(found, options.out or options.runs / default)


def _one_model(options: argparse.Namespace) -> int:
    from ser_edge.evaluation.robustness import measure

    measure.chosen(options.only)  # before the model is compiled
    found = measure.try_model(
        load_classifier(options.model, options.device or "CPU", options.precision),
        clips=options.clips,
        not_speech=options.not_speech,
        at_most=options.at_most,
        only=options.only,
        seed=options.seed,
        per_kind=options.per_kind,
        progress=not options.quiet,
    )
    return _report(found, options.out)


def _report(found: Robustness, out: Path | None) -> int:
    """Print the tables and what failed, and write them to a folder if one is given."""
    from ser_edge.evaluation.robustness import tables

    print(tables.markdown(found), end="")
    if out is not None:
        tables.write(found, out)
        print(f"\nall of it: {out / tables.JSON}, {out / tables.MARKDOWN}")
    print_problems("failed", found.problems)
    return 1 if found.problems else 0
