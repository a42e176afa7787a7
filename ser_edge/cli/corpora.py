"""``ser-edge corpora``: the known corpora as a list, or what is wrong with one on disk."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

from ser_edge.cli.options import add_corpus_folder, add_output_options, add_workers, scan_corpus
from ser_edge.corpora import inspection, listing
from ser_edge.markdown import documents

DESCRIPTION: Final = """\
List the corpora that are known here, or check one on disk.

list prints what a corpus is, its licence, its emotions, and what is left out of it. check reads
every recording: counts by speaker and emotion, durations, sample rates, and which recordings are
silent, clipped, duplicates or unreadable.

examples:
  ser-edge corpora list
  ser-edge corpora list --into docs/how-to/corpora.md
  ser-edge corpora check data/ravdess
  ser-edge corpora check data/crema-d --corpus crema-d --json > crema-d.json

exit status: 0 success, 1 something is unreadable or contradictory, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list | check")
    listed = verbs.add_parser("list", help="the known corpora", description=DESCRIPTION)
    listed.add_argument(
        "--into", type=Path, metavar="FILE", help="document whose table of corpora is replaced"
    )
    check = verbs.add_parser("check", help="one corpus on disk", description=DESCRIPTION)
    add_corpus_folder(check)
    add_workers(check, threads=4)
    for command in (listed, check):
        command.add_argument("--json", action="store_true", help="JSON instead of text")
        add_output_options(command, nested=True)


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    if options.verb == "list":
        if options.into is not None:
            documents.write_into(options.into, listing.TABLE, listing.markdown_table())
        print(json.dumps(listing.to_dict(), indent=2) if options.json else listing.table())
        return 0
    scan = scan_corpus(options.corpus, options.data)
    found = inspection.inspect(
        options.corpus,
        options.data,
        scan,
        workers=options.workers,
        progress=not options.quiet,
    )
    if options.json:
        print(json.dumps(inspection.to_dict(found), indent=2, allow_nan=False))
    else:
        print(inspection.table(found))
    return 0 if found.is_sound else 1
