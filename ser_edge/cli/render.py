"""``ser-edge render``: a corpus -> PNG mel images and their index."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ser_edge.cli.errors import CommandError
from ser_edge.cli.options import add_corpus_folder, add_workers, print_problems, scan_corpus
from ser_edge.config import recipe
from ser_edge.data.render import render

DESCRIPTION: Final = """\
Render a corpus to PNG mel images in ImageFolder layout, with an index.csv.

The same command resumes an interrupted run; rendering again writes the same bytes.

examples:
  ser-edge render data/ravdess images/ravdess
  ser-edge render data/ravdess images/ravdess-64 --n-mels 64 --workers 4

exit status: 0 success, 1 a recording is unreadable or OUT cannot be written, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_corpus_folder(parser)
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the images")
    parser.add_argument("--config", type=Path, metavar="YAML", help="recipe whose image: is used")
    add_workers(parser)
    recipe.add_image_options(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    spec = recipe.from_options(options).image
    scan = scan_corpus(options.corpus, options.data)
    try:
        report = render(
            scan.utterances, options.out, spec, workers=options.workers, progress=not options.quiet
        )
    except OSError as error:
        raise CommandError(error) from error
    print_problems("left out", scan.problems)
    print_problems("unreadable", report.problems)
    print(
        f"{report.made} clips rendered, {report.found} were there already, "
        f"{len(report.problems)} unreadable, {len(scan.problems)} left out; "
        f"{report.pictures} images of {spec.n_mels} x {spec.frames} in {options.out}"
    )
    return 1 if report.problems else 0
