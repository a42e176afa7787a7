"""``ser-edge download``: a corpus's archives -> its recordings on disk."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ser_edge.cli.errors import CommandError
from ser_edge.cli.options import positive
from ser_edge.corpora import CORPORA
from ser_edge.corpora.download import DownloadError, fetch, unpack

DESCRIPTION: Final = """\
Download a corpus from its official archives, verify them and unpack them.

The same command resumes an interrupted download; what is there and whole is not fetched twice. The
corpus's licence is printed: mind it.

examples:
  ser-edge download ravdess                 # into data/ravdess
  ser-edge download ravdess --out /big/disk/ravdess --keep-archives

exit status: 0 success, 1 the download failed, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "corpus", choices=sorted(name for name, corpus in CORPORA.items() if corpus.archives)
    )
    parser.add_argument("--out", type=Path, help="folder (default: data/CORPUS)")
    parser.add_argument(
        "--tries",
        type=positive,
        default=5,
        metavar="N",
        help="connections in a row that bring nothing (default: 5)",
    )
    parser.add_argument("--keep-archives", action="store_true", help="do not delete the archives")


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    corpus = CORPORA[options.corpus]
    out = options.out or Path("data") / options.corpus
    print(f"{options.corpus}: licence {corpus.licence}", flush=True)
    files = 0
    for archive in corpus.archives:
        try:
            path = fetch(archive, out, progress=not options.quiet, tries=options.tries)
            files += unpack(path, out, progress=not options.quiet)
        except DownloadError as error:
            raise CommandError(error) from error
        if not options.keep_archives:
            path.unlink()
    print(f"{files} files in {out}")
    return 0
