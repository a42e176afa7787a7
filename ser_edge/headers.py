"""What the first bytes of a sound say: its container, and where its header does not tell the truth.

libsndfile believes headers. Sound written to a pipe, glued together or cut has headers that are
wrong about the length; here such a file is shown to libsndfile as it should be.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

_SIZES_UNKNOWN: Final = 0x7FFF_0000
"""Data sizes from here on are what writers to pipes put in (sox 0x7FFFF000, ffmpeg 0xFFFFFFFF)."""

_FAR: Final = 2**36
"""A position no file reaches; below 2**40, where libsndfile takes a length for damage."""

_MP3_TAGS: Final = 2**16
"""Bytes of tags (ID3v1, APE) that may follow the last MP3 frame."""


@dataclass(frozen=True)
class Container:
    """A kind of file, told by ``magic`` at ``offset``.

    ``demuxer`` is ffmpeg's, for what libsndfile does not read.
    """

    offset: int
    magic: bytes
    name: str
    demuxer: str | None = None


CONTAINERS: Final = (
    Container(0, b"RIFF", "WAV"),
    Container(0, b"RIFX", "WAV"),
    Container(0, b"RF64", "WAV"),
    Container(0, b"fLaC", "FLAC"),
    Container(0, b"OggS", "Ogg", "ogg"),
    Container(0, b"ID3", "MP3"),
    Container(0, b"FORM", "AIFF"),
    Container(4, b"ftyp", "M4A/MP4", "mov"),
    Container(0, b"\x1a\x45\xdf\xa3", "WebM/Matroska", "matroska"),
    Container(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA", "asf"),
    Container(0, b"\xff\xf1", "AAC", "aac"),
    Container(0, b"\xff\xf9", "AAC", "aac"),
    Container(0, b"#!AMR", "AMR", "amr"),
    Container(0, b"FLV\x01", "Flash video", "flv"),
    Container(0, b"wvpk", "WavPack", "wv"),
)


def container_of(file: BinaryIO) -> Container | None:
    """The container of a file by its first bytes, or None."""
    file.seek(0)
    head = file.read(16)
    for container in CONTAINERS:
        if head[container.offset :].startswith(container.magic):
            return container
    return None


class View(io.RawIOBase):
    """Part of a seekable file, some bytes replaced, as libsndfile should see it.

    It has no name, so that libsndfile must look inside, and it never raises: libsndfile calls it
    from C. What the file raised is kept in ``failure``.

    Parameters
    ----------
    file : binary file object
    start, end : int
        Part of the file that is shown.
    patches : mapping
        Position in the part -> bytes shown there.
    endless : bool
        Say that the end lies far off, so that no length is guessed from it.
    """

    def __init__(
        self,
        file: BinaryIO,
        start: int,
        end: int,
        patches: Mapping[int, bytes] | None = None,
        *,
        endless: bool = False,
    ) -> None:
        self._file = file
        self._start = start
        self._size = end - start
        self._patches = dict(patches or {})
        self._endless = endless
        self._at = 0
        self.failure: Exception | None = None

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._at))
        try:
            self._file.seek(self._start + self._at)
            data = self._file.read(wanted)
        except (OSError, ValueError) as error:
            self.failure = error
            return 0
        view[: len(data)] = data
        for at, patch in self._patches.items():
            low, high = max(at, self._at), min(at + len(patch), self._at + len(data))
            if low < high:
                view[low - self._at : high - self._at] = patch[low - at : high - at]
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        # Asked for the very end, for the length; tags are looked for a little before the true end.
        end = _FAR if self._endless and offset == 0 else self._size
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: end}[whence]
        if base + offset >= 0:  # else stay: libsndfile sees by tell() that it did not work
            self._at = base + offset
        return self._at

    def tell(self) -> int:
        return self._at

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


def views(file: BinaryIO) -> list[View]:
    """A file as one or more sounds to be decoded one after the other.

    Only a chained Ogg file (several sounds glued together) gives more than one.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        return [View(file, 0, size, _wav_patches(file, size))]
    if head[:4] == b"OggS":
        starts = _ogg_starts(file, size)
        return [View(file, a, b) for a, b in zip(starts, [*starts[1:], size], strict=True)]
    if head[:3] == b"ID3" or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2):
        return [_mp3_view(file, size)]
    return [View(file, 0, size)]


def _wav_patches(file: BinaryIO, size: int) -> dict[int, bytes]:
    """Sizes for a header that a pipe left at 0 or "unknown"."""
    at, ds64 = 12, None
    while at + 8 <= size:
        file.seek(at)
        chunk, length = struct.unpack("<4sI", file.read(8))
        if chunk == b"ds64" and length >= 24:
            ds64 = at + 8
        if chunk == b"data":
            rest = size - at - 8
            if ds64 is not None and length == 0xFFFF_FFFF:
                file.seek(ds64 + 8)
                stated = struct.unpack("<Q", file.read(8))[0]
                if stated == 0 and rest:
                    return {ds64: struct.pack("<QQ", size - 8, rest)}
            elif rest and (length >= _SIZES_UNKNOWN or (length == 0 and _no_chunk(file, rest))):
                return {
                    4: struct.pack("<I", min(size - 8, 0xFFFF_FFFE)),
                    at + 4: struct.pack("<I", min(rest, 0xFFFF_FFFE)),
                }
            return {}
        at += 8 + length + length % 2
    return {}


def _no_chunk(file: BinaryIO, rest: int) -> bool:
    """Whether what follows an empty data chunk is samples, not the next chunk.

    A properly finished file without samples may go on with LIST, id3, ...: a name of four printable
    characters and a size that ends inside the file.
    """
    head = file.read(8)
    if len(head) < 8:
        return True
    chunk, length = struct.unpack("<4sI", head)
    return not (all(32 <= byte < 127 for byte in chunk) and 8 + length <= rest)


def _ogg_starts(file: BinaryIO, size: int) -> list[int]:
    """Where the links of a chained Ogg file begin (RFC 3533, section 6)."""
    starts, at, beginning = [0], 0, True
    while at + 27 <= size:
        file.seek(at)
        head = file.read(27)
        if head[:4] != b"OggS":
            return [0]  # damaged: let the decoder find its way
        first = bool(head[5] & 2)
        if first and not beginning:
            starts.append(at)
        beginning = first
        at += 27 + head[26] + sum(file.read(head[26]))
    return starts


def _mp3_view(file: BinaryIO, size: int) -> View:
    """An MP3 file, whose Xing header (of the count of frames) may be missing or count too few.

    Without one the decoder guesses the length from the first frame and the size, and stops there,
    which is too soon where the bit rate varies. So it is shown a file without an end, and where
    more follows than was counted (files glued together), a file without that header too.
    """
    file.seek(0)
    head = file.read(10)
    first = 0
    if head[:3] == b"ID3" and len(head) == 10:
        for byte in head[6:]:  # seven bits a byte
            first = first << 7 | byte & 127
        first += 10
    file.seek(first)
    frame = file.read(64)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if not 0 <= at <= len(frame) - 16:
        return View(file, 0, size, endless=True)
    flags, _, counted = struct.unpack(">III", frame[at + 4 : at + 16])
    if flags & 3 != 3:  # frames and bytes are not both counted
        return View(file, 0, size, endless=True)
    file.seek(first + counted)
    after = file.read(3)
    more = after == b"ID3" or (len(after) == 3 and after[0] == 0xFF and after[1] >= 0xE0)
    if more or size - first - counted > _MP3_TAGS:
        return View(file, 0, size, {first + at: bytes(4)}, endless=True)
    return View(file, 0, size)
