"""Files that are written whole or not at all: to a temporary name, which is then renamed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

UNFINISHED: Final = ".unfinished"
"""Suffix of temporary names. A killed run may leave such files; they can be deleted."""


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
