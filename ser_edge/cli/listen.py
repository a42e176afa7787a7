"""``ser-edge listen``: recordings without labels -> how a model answers them, as a report."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Final

from ser_edge.cli.options import load_classifier

DESCRIPTION: Final = """\
Classify recordings without labels through the edge app, and report the distribution of its answers.

examples:
  ser-edge listen recordings/
  ser-edge listen recordings/ -m compact --precision INT8 --out runs/recordings

exit status: 0 success, 1 a recording is unreadable, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="searched recursively")
    parser.add_argument("-m", "--model", help="name or .xml (default: the shipped model)")
    parser.add_argument("-d", "--device", default="CPU", help="CPU, GPU, ... (default: CPU)")
    parser.add_argument(
        "--precision", default="FP16", help="FP16 or INT8, of a model by name (default: FP16)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/unlabelled"),
        metavar="DIR",
        help="folder to write to (default: runs/unlabelled)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from edge_app.inference.model_store import DEFAULT_MODEL
    from ser_edge.evaluation import unlabelled
    from ser_edge.files import write_whole
    from ser_edge.reports import evaluation

    classifier = load_classifier(options.model or DEFAULT_MODEL, options.device, options.precision)
    found = unlabelled.listen(options.folder, classifier, progress=not options.quiet)
    unlabelled.write(found, options.out)
    write_whole(options.out / unlabelled.REPORT, evaluation.unlabelled_page(found))
    print(unlabelled.table(found))
    print(f"all of it: {options.out / unlabelled.REPORT}")
    for item in found.unreadable:
        print(f"unreadable: {item.file}: {item.cause}", file=sys.stderr)
    return 1 if found.unreadable else 0
