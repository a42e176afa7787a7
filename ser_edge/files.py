"""Files that are written whole or not at all, and the folder of what is compiled."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".unfinished"
"""Suffix of temporary names. A killed run may leave such files; they can be deleted."""


CACHE_VARIABLE: Final = "SER_EDGE_CACHE"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A random name: two containers on one disk may have the same process number.
    temporary = path.with_name(f".{path.name}.{os.urandom(6).hex()}{UNFINISHED}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write text (UTF-8) or bytes to ``path``, whole or not at all."""
    with whole_file(path) as temporary:
        data = content.encode() if isinstance(content, str) else content
        temporary.write_bytes(data)


def cache_folder() -> Path | None:
    """Where what is compiled is kept: ``$SER_EDGE_CACHE``, else the user's cache folder.

    ``SER_EDGE_CACHE=`` (empty) turns the cache off. None too where no folder can be made.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen == "":
        return None
    if chosen:
        folder = Path(chosen)
    else:
        base = os.environ.get("LOCALAPPDATA" if sys.platform == "win32" else "XDG_CACHE_HOME")
        try:
            folder = (Path(base) if base else Path.home() / ".cache") / "ser-edge"
        except RuntimeError:  # no home
            return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None
