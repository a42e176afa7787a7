"""A bar on a terminal for work that takes long; nothing elsewhere."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from typing import BinaryIO, Final, TextIO

_PATIENCE: Final = 2.0  # seconds that need no bar
_EVERY: Final = 0.2
_WIDTH: Final = 24
_WIPE: Final = "\r\x1b[K"


class Bar:
    """How far sounds have been heard, in one line that is drawn again and again.

    Parameters
    ----------
    out : text stream or None
        Standard error. Where it is no terminal, nothing is ever written.
    total : int
        Sounds.
    clock : callable
        Seconds.
    """

    def __init__(
        self, out: TextIO | None, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._out = out if out is not None and out.isatty() else None
        self._total = total
        self._clock = clock
        self._lock = threading.Lock()
        self._begun = self._drawn = clock()
        self._shown = False
        self._done = 0
        self._seconds = 0.0  # of sounds that are done
        self._running: dict[str, float] = {}
        self._files: dict[str, tuple[BinaryIO, int]] = {}

    @property
    def wanted(self) -> bool:
        """Whether there is a terminal to draw on."""
        return self._out is not None

    def open(self, name: str) -> str | BinaryIO:
        """A path, or the file opened, so that the bar can see how much of it was read.

        What cannot be opened is left to who reads it, who says why.
        """
        # The same sound twice at once: the second goes without.
        if self._out is None or name in self._files or not os.path.isfile(name):
            return name
        try:
            file = open(name, "rb")  # noqa: SIM115  # done() closes it
        except OSError:
            return name
        with self._lock:
            self._files[name] = (file, max(1, os.fstat(file.fileno()).st_size))
        return file

    def heard(self, name: str, seconds: float) -> None:
        """So many seconds of a sound were heard. Any thread may say so."""
        if self._out is None:
            return
        with self._lock:
            self._running[name] = seconds
            now = self._clock()
            if now - self._begun >= _PATIENCE and now - self._drawn >= _EVERY:
                self._drawn = now
                self._draw(self._out, now)

    def done(self, name: str) -> None:
        """A sound is done; the line is wiped for what is written about it."""
        if self._out is None:
            return
        with self._lock:
            self._seconds += self._running.pop(name, 0.0)
            self._done += 1
            file, _ = self._files.pop(name, (None, 0))
            if file is not None:
                file.close()
            self._wipe(self._out)

    def close(self) -> None:
        """Wipe the line and close what is open."""
        if self._out is None:
            return
        with self._lock:
            for file, _ in self._files.values():
                file.close()
            self._files.clear()
            self._wipe(self._out)

    def _draw(self, out: TextIO, now: float) -> None:
        share = (self._done + sum(map(self._read, self._running))) / max(1, self._total)
        filled = round(min(1.0, share) * _WIDTH)
        seconds = self._seconds + sum(self._running.values())
        parts = [
            f"{min(1.0, share):4.0%} {'#' * filled}{'.' * (_WIDTH - filled)}",
            f"{_clock_time(seconds)} heard, {seconds / (now - self._begun):.0f}x real time",
        ]
        if self._total > 1:
            parts.append(f"{self._done} of {self._total} sounds")
        width = shutil.get_terminal_size().columns - 1
        out.write(_WIPE + "  ".join(parts)[:width])
        out.flush()
        self._shown = True

    def _read(self, name: str) -> float:
        """Share of a sound that was read: of its bytes, since headers lie about lengths."""
        file, size = self._files.get(name, (None, 1))
        if file is None:
            return 0.0
        try:
            return file.tell() / size
        except (OSError, ValueError):
            return 0.0

    def _wipe(self, out: TextIO) -> None:
        if self._shown:
            self._shown = False
            out.write(_WIPE)
            out.flush()


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
