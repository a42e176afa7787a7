#!/usr/bin/env python3
"""List the corpora that are known here, or look through one on disk.

list shows what a corpus is, whose licence and which emotions it has, and what is left out of it.
check reads every recording: counts by speaker and emotion, durations, rates, and what is silent,
clipped, there twice or unreadable.

examples:
  scripts/data.py list
  scripts/data.py list --into docs/corpora.md
  scripts/data.py check data/ravdess
  scripts/data.py check data/crema-d --corpus crema-d --json > crema-d.json

exit status: 0 all well, 1 something is unreadable or contradictory, 2 wrong usage
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ser_edge.corpora import CORPORA, inspection, listing
from ser_edge.reports import documents


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="list | check")
    for verb, what in (("list", "what corpora are known"), ("check", "look through one on disk")):
        command = verbs.add_parser(
            verb,
            help=what,
            description=__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--json", action="store_true", help="JSON in place of text")
        if verb == "list":
            command.add_argument(
                "--into", type=Path, metavar="FILE", help="document to put the table into as well"
            )
    command.add_argument("data", type=Path, help="folder of the corpus, searched through")
    command.add_argument("--corpus", choices=sorted(CORPORA), default="ravdess")
    command.add_argument("--workers", type=int, default=4, help="threads (default: 4)")
    command.add_argument("--quiet", action="store_true", help="no progress bar")
    options = parser.parse_args()
    if options.verb == "list":
        if options.into is not None:
            try:
                documents.write_into(options.into, listing.TABLE, listing.markdown())
            except (ValueError, OSError) as error:
                parser.error(str(error))
        print(json.dumps(listing.to_dict(), indent=2) if options.json else listing.table())
        return 0
    if options.workers < 1:
        parser.error(f"--workers is {options.workers}, allowed: 1 or more")
    try:
        scan = CORPORA[options.corpus].scan(options.data)
    except ValueError as error:
        parser.error(str(error))
    if not scan.utterances:
        for problem in scan.problems[: inspection.SHOWN]:
            print(f"left out: {problem}", file=sys.stderr)
        parser.error(f"{options.data}: no {options.corpus} recording in it")
    found = inspection.inspect(
        options.corpus, options.data, scan, workers=options.workers, progress=not options.quiet
    )
    if options.json:
        print(json.dumps(inspection.to_dict(found), indent=2, allow_nan=False))
    else:
        print(inspection.table(found))
    return 0 if found.is_sound else 1


if __name__ == "__main__":
    sys.exit(main())
