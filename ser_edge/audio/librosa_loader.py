"""librosa with a cache of compiled functions that no other process writes to.

librosa compiles its functions by Numba at their first call and keeps them in a folder. Two
processes that fill that folder at the same time leave files that end every later process with a
segmentation fault. So each process has a copy of its own; the fullest one is kept for the next.
"""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from ser_edge.files import cache_folder

VARIABLE: Final = "NUMBA_CACHE_DIR"
"""Where Numba keeps what it compiled; whoever sets it decides."""


def load_librosa() -> Any:
    """Import librosa.

    Raises
    ------
    ImportError
        librosa is not installed, or does not load.
    """
    if VARIABLE not in os.environ and "numba" not in sys.modules:
        _use_own_cache()
    import librosa

    return librosa


def _use_own_cache() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        versions = f"{version('librosa')}-{version('numba')}-{sys.implementation.cache_tag}"
    except PackageNotFoundError:  # the import says so
        return
    folder = cache_folder()
    own = Path(tempfile.mkdtemp(prefix="numba-", dir=folder))
    kept = None if folder is None else folder / f"numba-{versions}"
    with suppress(OSError, shutil.Error):  # not there yet, or replaced meanwhile
        if kept is not None:
            shutil.copytree(kept, own, dirs_exist_ok=True)
    os.environ[VARIABLE] = str(own)  # processes that this one starts use it too
    atexit.register(_keep, own, kept, os.getpid())


def _keep(own: Path, kept: Path | None, process: int) -> None:
    """Put a process's cache in the place of the kept one if it has more, or remove it."""
    if os.getpid() != process:  # a fork
        return
    with suppress(OSError):
        if kept is not None and _files(own) > _files(kept):
            old = Path(tempfile.mkdtemp(prefix="numba-", dir=own.parent))
            with suppress(FileNotFoundError):
                kept.rename(old / "old")
            own.rename(kept)
            shutil.rmtree(old, ignore_errors=True)
    shutil.rmtree(own, ignore_errors=True)


def _files(folder: Path) -> int:
    return sum(path.is_file() for path in folder.rglob("*"))
