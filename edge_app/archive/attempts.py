"""Clips that kill the process that reads them, found by marks that a dead worker leaves.

A worker that begins a shard leaves a mark and takes it away at the end. Where two workers have died
in a shard, the next one leaves a mark for each clip. A clip at which two more died is not tried
again. As long as no worker dies, nothing is written for single clips.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from edge_app.archive.storage import Folder

MARKS: Final = "_tries"
"""Folder of the marks."""

PATIENCE: Final = 2
"""Workers that may die in a shard before each clip is marked, and then at one clip."""


class Attempts:
    """Attempts at one shard.

    Attributes
    ----------
    fatal : frozenset of int
        Numbers of the clips that are not to be tried again.
    """

    def __init__(self, folder: Folder, shard: int) -> None:
        self._folder = folder
        self._shard = f"{shard:06d}"
        found = [name.split(".") for name in self._names()]
        deaths = Counter(parts[1] for parts in found if len(parts) == 3)
        self._mark_clips = sum(1 for parts in found if len(parts) == 2) >= PATIENCE
        self.fatal = frozenset(int(clip) for clip, n in deaths.items() if n >= PATIENCE)
        self._mark(f"{self._shard}.{uuid.uuid4().hex}")

    @contextmanager
    def at(self, clip: int) -> Iterator[None]:
        """Mark a clip, where clips are marked, while it is classified in the block."""
        if not self._mark_clips:
            yield
            return
        mark = f"{self._shard}.{clip}.{uuid.uuid4().hex}"
        self._mark(mark)
        try:
            yield
        finally:  # not reached by a process that is killed
            self._folder.delete(f"{MARKS}/{mark}")

    def done(self) -> None:
        """Take all marks away: the shard's answers are written."""
        for name in self._names():
            self._folder.delete(f"{MARKS}/{name}")

    def _names(self) -> list[str]:
        return [n for n in self._folder.names(MARKS) if n.startswith(f"{self._shard}.")]

    def _mark(self, name: str) -> None:
        self._folder.write(f"{MARKS}/{name}", b"")
