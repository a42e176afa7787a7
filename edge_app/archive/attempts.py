"""Clips that kill the process that hears them: found by marks that a dead worker leaves.

Whoever begins a shard leaves a mark and takes it away at the end. Where two workers have died in a
shard, the next one goes carefully: it leaves a mark for each clip. A clip under which two more
died is not tried again. Nothing is written for single clips as long as nobody dies.
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
"""Workers that may die in a shard before each clip is marked, and then under one clip."""


class Tries:
    """What was tried in one shard.

    Attributes
    ----------
    killers : frozenset of int
        Numbers of the clips that are not to be tried again.
    """

    def __init__(self, folder: Folder, shard: int) -> None:
        self._folder = folder
        self._shard = f"{shard:06d}"
        found = [name.split(".") for name in self._names()]
        deaths = Counter(words[1] for words in found if len(words) == 3)
        self._careful = sum(1 for words in found if len(words) == 2) >= PATIENCE
        self.killers = frozenset(int(clip) for clip, n in deaths.items() if n >= PATIENCE)
        self._mark(f"{self._shard}.{uuid.uuid4().hex}")

    @contextmanager
    def under_way(self, clip: int) -> Iterator[None]:
        """While a clip is heard."""
        if not self._careful:
            yield
            return
        mark = f"{self._shard}.{clip}.{uuid.uuid4().hex}"
        self._mark(mark)
        try:
            yield
        finally:  # a process that is killed does not come here
            self._folder.delete(f"{MARKS}/{mark}")

    def done(self) -> None:
        """The shard's answers are written: take all marks away."""
        for name in self._names():
            self._folder.delete(f"{MARKS}/{name}")

    def _names(self) -> list[str]:
        return [n for n in self._folder.names(MARKS) if n.startswith(f"{self._shard}.")]

    def _mark(self, name: str) -> None:
        self._folder.write(f"{MARKS}/{name}", b"")
