"""Paths and file objects -> seekable binary files; folders -> the sound files below them."""

from __future__ import annotations

import importlib.util
import io
import os
import stat
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, Final, cast

from ser_edge.audio.base import READABLE, AudioError, Source, reason
from ser_edge.audio.containers import container_of_bytes

AUDIO_SUFFIXES: Final = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"})
"""What a folder is searched for; single files may have any suffix or none."""

MEDIA_SUFFIXES: Final = frozenset({".m4a", ".mp4", ".aac", ".webm", ".mka", ".mkv", ".wma"})
"""Searched for as well where the extra ``media`` is installed."""

_SPOOL_BYTES: Final = 64 * 2**20
_MAX_SPOOL: Final = 4 * 2**30  # of a stream that cannot seek: 3 hours of 48 kHz stereo in float
_STREAM_BLOCK: Final = 2**20


def source_name(source: Source) -> str:
    """What messages call a source: its path, a file object's name, or ``<stream>``."""
    if isinstance(source, (str, os.PathLike)):
        return os.fsdecode(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<stream>"


def media_installed() -> bool:
    """Whether the extra ``media`` (PyAV) is there."""
    return importlib.util.find_spec("av") is not None


def sound_suffixes() -> frozenset[str]:
    """Suffixes of the sound files that can be read here, with PyAV or without."""
    return frozenset(AUDIO_SUFFIXES | (MEDIA_SUFFIXES if media_installed() else frozenset()))


def files_below(root: Path, suffixes: Collection[str]) -> Iterator[Path]:
    """All files below a folder with one of the suffixes (lower case), sorted.

    Hidden files and folders are passed over: macOS leaves ``._clip.wav`` beside ``clip.wav``.
    """
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if Path(name).suffix.lower() in suffixes and not name.startswith("."):
                yield Path(folder, name)


@contextmanager
def open_source(source: Source, name: str) -> Iterator[BinaryIO]:
    """The source as a non-empty, seekable file at its start.

    Raises
    ------
    AudioError
        Missing, a folder, no regular file, not readable, opened as text, empty.
    """
    with ExitStack() as stack:
        if isinstance(source, (str, os.PathLike)):
            try:
                # Before it is opened: a named pipe would wait.
                kind = Path(os.fsdecode(source)).stat().st_mode
                if stat.S_ISDIR(kind):
                    raise AudioError(name, "it is a folder, not a file")
                if not stat.S_ISREG(kind):
                    raise AudioError(name, "it is not a regular file")
                file: BinaryIO = stack.enter_context(open(source, "rb"))
            except FileNotFoundError:
                raise AudioError(name, "there is no such file") from None
            except AudioError:
                raise
            except (OSError, ValueError) as error:  # ValueError: a NUL in the name
                raise AudioError(name, f"it cannot be opened: {reason(error)}") from None
        else:
            try:
                file = _seekable(source, name, stack)
            except AudioError:
                raise
            except (OSError, ValueError, EOFError) as error:
                raise AudioError(name, f"it cannot be read: {reason(error)}") from None
        try:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
        except (OSError, ValueError, EOFError) as error:
            raise AudioError(name, f"it cannot be read: {reason(error)}") from None
        if size == 0:
            raise AudioError(name, "it is empty")
        yield file


def _seekable(source: BinaryIO, name: str, stack: ExitStack) -> BinaryIO:
    """A file object, copied to memory or disk if it cannot seek."""
    if isinstance(source.read(0), str):
        raise AudioError(name, "it is opened as text, it should be opened as bytes")
    # SpooledTemporaryFile has no seekable() before Python 3.11, yet it can seek.
    ask = getattr(source, "seekable", None)
    if ask() if ask is not None else hasattr(source, "seek"):
        return source
    spool = tempfile.SpooledTemporaryFile(_SPOOL_BYTES, "w+b")  # noqa: SIM115
    copy = cast(BinaryIO, stack.enter_context(spool))
    while chunk := source.read(_STREAM_BLOCK):
        copy.write(chunk)
        written = copy.tell()
        if written > _MAX_SPOOL:
            raise AudioError(name, f"over {_MAX_SPOOL >> 30} GB came and no end")
        if written - len(chunk) < _STREAM_BLOCK <= written:
            copy.seek(0)
            if not _may_be_sound(copy.read(16)):  # /dev/zero and the like never end
                raise AudioError(name, f"it is not sound that can be read here, {READABLE}")
            copy.seek(written)
    return copy


def _may_be_sound(head: bytes) -> bool:
    mpeg = len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0
    return mpeg or container_of_bytes(head) is not None
