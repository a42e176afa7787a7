"""One line of progress in a terminal, from the first second of long work; nothing elsewhere."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, Final, TextIO

from edge_app.commands.terminal import WIPE, is_terminal

_PATIENCE: Final = 0.5  # seconds that need no progress
_EVERY: Final = 0.2
_WIDTH: Final = 24


@contextmanager
def working(out: TextIO | None, text: str | Callable[[], str]) -> Iterator[None]:
    """Show in a terminal what is being done in the block, and for how long.

    Parameters
    ----------
    out : text stream or None
        Standard error; None for no progress.
    text : str or callable
        What is done, such as "loading compact on GPU". A callable is called for each drawing.
    """
    if out is None or not is_terminal(out):
        yield
        return
    line, begun, done = _Line(out), time.monotonic(), threading.Event()

    def draw() -> None:
        wait = _PATIENCE
        while not done.wait(wait):
            wait = _EVERY
            shown = text if isinstance(text, str) else text()
            line.draw(f"{shown} ... {time.monotonic() - begun:.0f} s")

    drawer = threading.Thread(target=draw, name="progress", daemon=True)
    drawer.start()
    try:
        yield
    finally:
        done.set()
        drawer.join()
        line.wipe()


class Bar:
    """How much of some sounds is processed, in one line.

    Parameters
    ----------
    out : text stream or None
        Standard error; None for no progress.
    total : int
        Sounds.
    clock : callable
        Seconds.
    """

    def __init__(
        self, out: TextIO | None, total: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._line = _Line(out) if out is not None and is_terminal(out) else None
        self._total = total
        self._clock = clock
        self._lock = threading.Lock()
        self._begun = self._drawn = clock()
        self._done = 0
        self._seconds = 0.0  # of sounds that are done
        self._running: dict[str, float] = {}
        self._files: dict[str, tuple[BinaryIO, int]] = {}

    def open(self, name: str) -> str | BinaryIO:
        """A path, or the file opened, so that the bar can see how much of it was read.

        What cannot be opened is left to who reads it, who says why.
        """
        # The same sound twice at once: the second goes without.
        if self._line is None or name in self._files or not os.path.isfile(name):
            return name
        try:
            file = open(name, "rb")  # noqa: SIM115  # done() closes it
        except OSError:
            return name
        with self._lock:
            self._files[name] = (file, max(1, os.fstat(file.fileno()).st_size))
        return file

    def update(self, name: str, seconds: float) -> None:
        """Note how many seconds of a sound are processed. Any thread may call it."""
        if self._line is None:
            return
        with self._lock:
            self._running[name] = seconds
            now = self._clock()
            if now - self._begun >= _PATIENCE and now - self._drawn >= _EVERY:
                self._drawn = now
                self._line.draw(self._text(now))

    def done(self, name: str) -> None:
        """Note that a sound is done, and wipe the line for what is written about it."""
        if self._line is None:
            return
        with self._lock:
            self._seconds += self._running.pop(name, 0.0)
            self._done += 1
            file, _ = self._files.pop(name, (None, 0))
            if file is not None:
                file.close()
            self._line.wipe()

    def close(self) -> None:
        """Wipe the line and close what is open."""
        if self._line is None:
            return
        with self._lock:
            for file, _ in self._files.values():
                file.close()
            self._files.clear()
            self._line.wipe()

    def _text(self, now: float) -> str:
        share = (self._done + sum(map(self._read, self._running))) / max(1, self._total)
        filled = round(min(1.0, share) * _WIDTH)
        seconds = self._seconds + sum(self._running.values())
        parts = [
            f"{min(1.0, share):4.0%} {'#' * filled}{'.' * (_WIDTH - filled)}",
            f"{_clock_time(seconds)} processed, {seconds / (now - self._begun):.0f}x real time",
        ]
        if self._total > 1:
            parts.append(f"{self._done} of {self._total} sounds")
        return "  ".join(parts)

    def _read(self, name: str) -> float:
        """Share of a sound that was read: of its bytes, since headers may be wrong."""
        file, size = self._files.get(name, (None, 1))
        if file is None:
            return 0.0
        try:
            return file.tell() / size
        except (OSError, ValueError):
            return 0.0


class _Line:
    """A line of a terminal that is drawn again and again."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._shown = False

    def draw(self, text: str) -> None:
        self._out.write(WIPE + text[: shutil.get_terminal_size().columns - 1])
        self._out.flush()
        self._shown = True

    def wipe(self) -> None:
        if self._shown:
            self._shown = False
            self._out.write(WIPE)
            self._out.flush()


def _clock_time(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
