"""Names on the command line -> single sounds."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from ser_edge.audio.decode import AudioError, files_below, sound_suffixes

STANDARD_INPUT: Final = "-"
IMAGE_SUFFIXES: Final = frozenset({".png"})


def expand(names: Iterable[str]) -> Iterator[str]:
    """Files, folders (searched through), globs and ``-`` -> one name a sound.

    Folders give their sounds and mel images, sorted. A glob is tried only where no file has that
    very name. A name that matches nothing is yielded as it is, so that reading it raises.
    """
    for name in names:
        if name == STANDARD_INPUT:
            yield name
        elif os.path.lexists(name) or not glob.has_magic(name):
            yield from _file_or_folder(name)
        else:
            matches = sorted(glob.glob(name, recursive=True))
            for match in matches or [name]:
                # A file that is called - is not standard input.
                yield from _file_or_folder("./-" if match == STANDARD_INPUT else match)


def _file_or_folder(name: str) -> Iterator[str]:
    found = False
    if os.path.isdir(name):  # sound_suffixes() looks for PyAV: too slow for each of many files
        for path in files_below(Path(name), sound_suffixes() | IMAGE_SUFFIXES):
            found = True
            yield str(path)
    if not found:
        yield name


def source_of(name: str) -> str | BinaryIO:
    """A name from :func:`expand` -> the path or file object that the classifier takes.

    Raises
    ------
    AudioError
        A folder without sound, or a closed standard input.
    """
    if name == STANDARD_INPUT:
        if sys.stdin is None:
            raise AudioError(name, "standard input is closed")
        return sys.stdin.buffer
    if os.path.isdir(name):
        raise AudioError(name, "there is no sound in this folder")
    return name
