"""Event lines to standard output, and to files that may be rotated while they are written.

Each line goes to the operating system with ``os.write`` at once: no buffer of Python's holds lines
that a ``kill -9`` would lose.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final, Protocol

from edge_app.output.formats import OutputFormat
from edge_app.results import Event

_MODE: Final = 0o644


class LineWriter(Protocol):
    """Where lines go. After an OSError the same line is passed again."""

    def write(self, header: str, line: str) -> None:
        """Write a line, after the header if it is the first."""

    def close(self) -> None:
        """Close what is open."""


class TextSink:
    """Events as text (:class:`edge_app.output.delivery.EventSink`).

    Parameters
    ----------
    name : str
        For health reports and messages.
    form : OutputFormat
    writer : LineWriter
    """

    def __init__(self, name: str, form: OutputFormat, writer: LineWriter) -> None:
        self.name = name
        self._form = form
        self._writer = writer

    def event(self, event: Event) -> None:
        self._writer.write(self._form.events_header, self._form.event(event))

    def close(self) -> None:
        self._writer.close()


class StandardOutput:
    """Standard output. A line that an error interrupted is continued where it stopped.

    Raises
    ------
    ValueError
        Standard output is closed.
    """

    def __init__(self) -> None:
        if sys.stdout is None:
            raise ValueError("standard output is closed")
        self._descriptor = sys.stdout.fileno()
        self._has_header = False
        self._rest = b""

    def write(self, header: str, line: str) -> None:
        if not self._rest:
            self._rest = _encode(line if self._has_header else header + line)
            self._has_header = True
        while self._rest:
            self._rest = self._rest[os.write(self._descriptor, self._rest) :]

    def close(self) -> None:
        pass  # the process still needs it


class AppendedFile:
    """A file to which lines are appended; it is created if it does not exist.

    A file that was moved or deleted (logrotate) is created again before the next line. Lines are
    whole: what a full disk leaves of a line is removed, and after a power cut the next line starts
    on a new line.

    Parameters
    ----------
    path : Path
    header : str
        First line of a new file. A file with another first line is rejected.

    Raises
    ------
    ValueError
        There is no such folder, the path is a folder, permission is missing, or the file has
        another header; the message names the path. A full disk is not an error here: there may be
        space when the first line is written.
    """

    def __init__(self, path: Path, header: str) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._has_header = False
        try:
            self._open()
            first = self._first_line(len(_encode(header)))
        except (FileNotFoundError, NotADirectoryError):
            raise ValueError(f"{path}: there is no folder {self._path.parent}") from None
        except (IsADirectoryError, PermissionError) as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        except OSError:
            return  # the first write reports it
        if first and header and first != _encode(header):
            raise ValueError(
                f"{path}: it has other columns (made with other labels?); name another file"
            )

    def write(self, header: str, line: str) -> None:
        descriptor = self._open()
        status = os.fstat(descriptor)
        regular = stat.S_ISREG(status.st_mode)
        text = line
        if status.st_size == 0 if regular else not self._has_header:
            text = header + line
        elif regular and _read_at(descriptor, 1, status.st_size - 1) != b"\n":
            text = "\n" + line
        data, done = _encode(text), 0
        try:
            while done < len(data):
                done += os.write(descriptor, data[done:])
        except OSError:
            if done and regular and os.fstat(descriptor).st_size == status.st_size + done:
                os.ftruncate(descriptor, status.st_size)
            raise
        self._has_header = True

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> int:
        if self._descriptor is not None and self._moved(self._descriptor):
            self.close()
        if self._descriptor is None:
            # Readable as well, to see whether the last line is whole.
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
            flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
            self._descriptor = os.open(self._path, flags, _MODE)
            self._has_header = False
        return self._descriptor

    def _moved(self, descriptor: int) -> bool:
        try:
            current = self._path.stat()
        except FileNotFoundError:
            return True
        return not os.path.samestat(current, os.fstat(descriptor))

    def _first_line(self, length: int) -> bytes:
        descriptor = self._open()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return b""
        return _read_at(descriptor, length, 0)


def _read_at(descriptor: int, length: int, offset: int) -> bytes:
    """``os.pread``, which Windows lacks; the position does not matter to appending writes."""
    os.lseek(descriptor, offset, os.SEEK_SET)
    return os.read(descriptor, length)


def _encode(text: str) -> bytes:
    """UTF-8; file and source names may hold surrogates, which have no encoding."""
    return text.encode(errors="backslashreplace")
