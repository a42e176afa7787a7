#!/usr/bin/env python3
"""Render a corpus to PNG mel images in ImageFolder layout, with an index.csv.

A run that was killed goes on where it was; running it again writes the same bytes.

examples:
  scripts/render.py data/ravdess images/ravdess
  scripts/render.py data/ravdess images/ravdess-64 --n-mels 64 --workers 4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ser_edge.config import recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.render import render


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the corpus, searched through")
    parser.add_argument("out", type=Path, help="folder for the mel images")
    parser.add_argument("--corpus", choices=sorted(CORPORA), default="ravdess")
    parser.add_argument("--config", type=Path, metavar="YAML", help="recipe whose image: is used")
    parser.add_argument("--workers", type=int, help="processes (default: one a core)")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    recipe.add_image_options(parser)
    options = parser.parse_args()
    if options.workers is not None and options.workers < 1:
        parser.error(f"--workers is {options.workers}, allowed: 1 or more")
    try:
        spec = recipe.from_options(options).image
        scan = CORPORA[options.corpus].scan(options.data)
    except ValueError as error:
        parser.error(str(error))
    if not scan.utterances:
        for problem in scan.problems:
            print(f"left out: {problem}", file=sys.stderr)
        parser.error(f"{options.data}: no {options.corpus} recording in it")
    try:
        report = render(
            scan.utterances, options.out, spec, workers=options.workers, progress=not options.quiet
        )
    except OSError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    for problem in scan.problems:
        print(f"left out: {problem}", file=sys.stderr)
    for problem in report.problems:
        print(f"unreadable: {problem}", file=sys.stderr)
    print(
        f"{report.made} clips rendered, {report.found} were there already, "
        f"{len(report.problems)} unreadable, {len(scan.problems)} left out; "
        f"{report.images} mel images of {spec.n_mels} x {spec.frames} in {options.out}"
    )
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
