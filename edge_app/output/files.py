"""Where lines of events go: standard output, and files that are rotated under the writer's hands.

Bytes go straight to the system, one ``write`` a line: nothing waits in a buffer of Python's that a
``kill -9`` would take along, and nothing half written is tried again by Python at its end.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final, Protocol

from edge_app.output.event_formats import LineFormat
from edge_app.results import Event

_MODE: Final = 0o644


class LineOut(Protocol):
    """Takes lines. After an OSError it is given the same line again."""

    def write(self, header: str, line: str) -> None:
        """Write a line, with the header before it where it is the first."""

    def close(self) -> None:
        """Let go of what is open."""


class LineSink:
    """Events as lines: a format, and where it goes.

    Parameters
    ----------
    name : str
        How health and messages call it.
    form : LineFormat
    out : LineOut
    """

    def __init__(self, name: str, form: LineFormat, out: LineOut) -> None:
        self.name = name
        self._form = form
        self._out = out

    def event(self, event: Event) -> None:
        self._out.write(self._form.header, self._form.line(event))

    def close(self) -> None:
        self._out.close()


class StandardOutput:
    """Standard output. A line that was cut by an error goes on where it was cut.

    Raises
    ------
    ValueError
        It is closed.
    """

    def __init__(self) -> None:
        if sys.stdout is None:
            raise ValueError("standard output is closed")
        self._descriptor = sys.stdout.fileno()
        self._begun = False
        self._rest = b""

    def write(self, header: str, line: str) -> None:
        if not self._rest:
            self._rest = _encode(line if self._begun else header + line)
            self._begun = True
        while self._rest:
            self._rest = self._rest[os.write(self._descriptor, self._rest) :]

    def close(self) -> None:
        pass  # it is not ours


class LineFile:
    """A file that lines are added to, made where it is not there.

    A file that was moved or deleted (logrotate) is opened anew by its name before the next line. A
    line is there whole or not at all: what a full disk leaves of one is taken away again, and
    where that cannot be (a power cut), the next line begins on a line of its own.

    Parameters
    ----------
    path : Path
    header : str
        The first line of a new file. A file that begins with another one is refused.

    Raises
    ------
    ValueError
        No such folder, a folder, no permission, or a file with another header; the message names
        it. A full disk is no reason: it may have room later.
    """

    def __init__(self, path: Path, header: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._begun = False
        try:
            self._open()
            first = self._first_line(len(_encode(header)))
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"{path}: there is no folder {self._path.parent}") from None
        except (IsADirectoryError, PermissionError) as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        except OSError:
            return  # whoever writes will meet it again, and says so
        if first and header and first != _encode(header):
            raise ValueError(
                f"{path}: it begins with other columns (made with other labels?); name another file"
            )

    def write(self, header: str, line: str) -> None:
        descriptor = self._open()
        about = os.fstat(descriptor)
        regular = stat.S_ISREG(about.st_mode)
        text = line
        if about.st_size == 0 if regular else not self._begun:
            text = header + line
        elif regular and _read_at(descriptor, 1, about.st_size - 1) != b"\n":
            text = "\n" + line
        data, done = _encode(text), 0
        try:
            while done < len(data):
                done += os.write(descriptor, data[done:])
        except OSError:
            if done and regular and os.fstat(descriptor).st_size == about.st_size + done:
                os.ftruncate(descriptor, about.st_size)
            raise
        self._begun = True

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is not None and self._moved(self._descriptor):
            self.close()
        if self._descriptor is None:
            # To be read as well: whether the last line is whole.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            for name in ("O_CLOEXEC", "O_BINARY"):  # the latter: on Windows alone
                flags |= getattr(os, name, 0)
            self._descriptor = os.open(self._path, flags, _MODE)
            self._begun = False
        return self._descriptor

    def _moved(self, descriptor: int) -> bool:
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(descriptor))

    def _first_line(self, length: int) -> bytes:
        descriptor = self._open()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return _read_at(descriptor, length, 0)


def _read_at(descriptor: int, length: int, offset: int) -> bytes:
    """Bytes of a file that is appended to, whose writes go to the end wherever reading was."""
    os.lseek(descriptor, offset, os.SEEK_SET)  # Windows has no pread
    return os.read(descriptor, length)


def _encode(text: str) -> bytes:
    """UTF-8; names of files and sources may hold bytes that are none."""
    return text.encode(errors="backslashreplace")
