"""``ser-edge features``: a corpus -> a table of classic features, a row a clip."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ser_edge.baseline.features import FeatureSpec
from ser_edge.baseline.table import UnfinishedError, extract
from ser_edge.cli.errors import CommandError
from ser_edge.cli.options import add_corpus_folder, add_workers, print_problems, scan_corpus

DESCRIPTION: Final = """\
Compute the classic features of a corpus: a row of numbers a clip, as CSV or Parquet.

MFCC, mel bands, chroma, spectral centroid, zero crossings and RMS of short frames, and of each the
mean, standard deviation, minimum and maximum over time. The same command resumes an interrupted
run; unreadable clips are named and left out. What the columns are, and how well a small network
does with them: docs/results/mlp-baseline.md.

examples:
  ser-edge features data/ravdess ravdess.csv
  ser-edge features data/nemo nemo.parquet --corpus nemo --workers 4

exit status: 0 success, 1 some clip failed, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_corpus_folder(parser)
    parser.add_argument("out", type=Path, metavar="OUT", help="table: .csv or .parquet")
    add_workers(parser)
    group = parser.add_argument_group("features")
    default = FeatureSpec()
    for name, what in (
        ("n_mfcc", "MFCC"),
        ("n_mels", "mel bands"),
        ("n_fft", "samples of a frame, at 16 kHz"),
        ("hop_length", "samples from frame to frame"),
    ):
        group.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            default=getattr(default, name),
            metavar="N",
            help=f"{what} (default: %(default)s)",
        )


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    spec = FeatureSpec(
        n_mfcc=options.n_mfcc,
        n_mels=options.n_mels,
        n_fft=options.n_fft,
        hop_length=options.hop_length,
    )
    scan = scan_corpus(options.corpus, options.data)
    print_problems("left out", scan.problems)
    try:
        report = extract(
            scan.utterances,
            options.data,
            options.out,
            spec,
            workers=options.workers,
            progress=not options.quiet,
        )
    except (UnfinishedError, OSError) as error:
        raise CommandError(error) from error
    print_problems("unreadable", report.problems)
    print(
        f"{report.made} clips computed, {report.found} were there already, "
        f"{len(report.problems)} unreadable, {len(scan.problems)} left out; "
        f"{len(spec.names)} features of {report.made + report.found} clips in {options.out}"
    )
    return 1 if report.problems else 0
