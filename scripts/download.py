#!/usr/bin/env python3
"""Download a corpus from its official archives, check them, and unpack them.

A download that breaks off is continued, now or when it is run again; what is there and whole is
not fetched twice. Mind the corpus's licence, which is printed.

examples:
  scripts/download.py ravdess                 # into data/ravdess
  scripts/download.py ravdess --out /big/disk/ravdess --keep-archives
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ser_edge.corpora import CORPORA
from ser_edge.corpora.download import DownloadError, fetch, unpack


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "corpus", choices=sorted(name for name, corpus in CORPORA.items() if corpus.archives)
    )
    parser.add_argument("--out", type=Path, help="folder (default: data/CORPUS)")
    parser.add_argument(
        "--tries", type=int, default=5, help="connections in a row that bring nothing (default: 5)"
    )
    parser.add_argument("--keep-archives", action="store_true", help="do not delete the archives")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args()
    if options.tries < 1:
        parser.error(f"--tries is {options.tries}, allowed: 1 or more")
    corpus = CORPORA[options.corpus]
    out = options.out or Path("data") / options.corpus
    print(f"{options.corpus}: licence {corpus.licence}")
    files = 0
    for archive in corpus.archives:
        try:
            path = fetch(archive, out, progress=not options.quiet, tries=options.tries)
            files += unpack(path, out, progress=not options.quiet)
        except DownloadError as error:
            print(f"{Path(__file__).name}: {error}", file=sys.stderr)
            return 1
        if not options.keep_archives:
            path.unlink()
    print(f"{files} files in {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
