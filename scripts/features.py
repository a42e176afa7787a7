#!/usr/bin/env python3
"""Compute the classic features of a corpus: a row of numbers a clip, as CSV or Parquet.

MFCC, mel bands, chroma, spectral centroid, zero crossings and RMS of short frames, and of each the
mean, standard deviation, minimum and maximum over time. A run that was killed goes on where it
was; clips that cannot be read are named and left out. What the columns are, and how well a small
network does with them: docs/features.md.

examples:
  scripts/features.py data/ravdess ravdess.csv
  scripts/features.py data/nemo nemo.parquet --corpus nemo --workers 4

exit status: 0 all well, 1 some clip failed, 2 wrong usage
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ser_edge.baseline.features import FeatureSpec
from ser_edge.baseline.table import UnfinishedError, extract
from ser_edge.corpora import CORPORA


def main() -> int:
    default = FeatureSpec()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the corpus, searched through")
    parser.add_argument("out", type=Path, help="table: .csv or .parquet")
    parser.add_argument("--corpus", choices=sorted(CORPORA), default="ravdess")
    for name, what in (
        ("n_mfcc", "MFCC"),
        ("n_mels", "mel bands"),
        ("n_fft", "samples of a frame, at 16 kHz"),
        ("hop_length", "samples from frame to frame"),
    ):
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=int,
            default=getattr(default, name),
            metavar="N",
            help=f"{what} (default: %(default)s)",
        )
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args()
    if options.workers is not None and options.workers < 1:
        parser.error(f"--workers is {options.workers}, allowed: 1 or more")
    try:
        spec = FeatureSpec(
            n_mfcc=options.n_mfcc,
            n_mels=options.n_mels,
            n_fft=options.n_fft,
            hop_length=options.hop_length,
        )
        scan = CORPORA[options.corpus].scan(options.data)
        for problem in scan.problems:
            print(f"left out: {problem}", file=sys.stderr)
        if not scan.utterances:
            parser.error(f"{options.data}: no {options.corpus} recording in it")
        report = extract(
            scan.utterances,
            options.data,
            options.out,
            spec,
            workers=options.workers,
            progress=not options.quiet,
        )
    except ValueError as error:
        parser.error(str(error))
    except (UnfinishedError, OSError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; the same command goes on", file=sys.stderr)
        return 130
    for problem in report.problems:
        print(f"unreadable: {problem}", file=sys.stderr)
    print(
        f"{report.made} clips computed, {report.found} were there already, "
        f"{len(report.problems)} unreadable, {len(scan.problems)} left out; "
        f"{len(spec.names)} features of {report.made + report.found} clips in {options.out}"
    )
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
