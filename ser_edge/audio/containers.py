"""The first bytes of a file -> its container; damaged lengths in headers -> what they should be.

libsndfile believes headers. Sound written to a pipe, glued together or cut has headers that are
wrong about the length; here such a file is shown to libsndfile as it should be.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, BinaryIO, Final

from ser_edge.audio.wav import is_wav, size_patches

_FAR: Final = 2**36
"""A position no file reaches; below 2**40, where libsndfile takes a length for damage."""

_MP3_TAGS: Final = 2**16
"""Bytes of tags (ID3v1, APE) that may follow the last MP3 frame."""

MOST_READ: Final = 2**26
"""Bytes that a decoder may read for one block of sound; a block is 4 MB at the most, tags apart."""

MOST_READS: Final = 2**15
"""How often it may read for that: some read junk byte by byte, at 10 us each."""

NO_SOUND: Final = f"{MOST_READ // 2**20} MB, or thousands of empty parts, without any sound"
"""What messages say of a decoder that has read so much."""

_MOST_PARTS: Final = 10_000  # of a header or a tag: chunks, ID3 tags, empty Ogg pages in a row
_NEXT_PAGE: Final = 2**20  # bytes after a damaged Ogg page in which the next one is looked for


@dataclass(frozen=True)
class Container:
    """A kind of file, recognised by ``magic`` at ``offset``.

    ``demuxer`` is ffmpeg's, for what libsndfile does not read.
    """

    offset: int
    magic: bytes
    name: str
    demuxer: str | None = None


_MP3: Final = Container(0, b"ID3", "MP3")

CONTAINERS: Final = (
    Container(0, b"RIFF", "WAV"),
    Container(0, b"RIFX", "WAV"),
    Container(0, b"RF64", "WAV"),
    Container(0, b"fLaC", "FLAC"),
    Container(0, b"OggS", "Ogg", "ogg"),
    _MP3,
    Container(0, b"FORM", "AIFF"),
    Container(4, b"ftyp", "M4A/MP4", "mov"),
    Container(0, b"\x1a\x45\xdf\xa3", "WebM/Matroska", "matroska"),
    Container(0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA", "asf"),
    Container(0, b"\xff\xf1", "AAC", "aac"),
    Container(0, b"\xff\xf9", "AAC", "aac"),
    Container(0, b"#!AMR", "AMR", "amr"),
    Container(0, b"FLV\x01", "Flash video", "flv"),
    Container(0, b"wvpk", "WavPack", "wv"),
    Container(0, b".snd", "AU"),
    Container(0, b"caff", "CAF"),
    Container(0, b"riff\x2e\x91\xcf\x11", "W64"),
    Container(0, b"NIST_1A", "NIST SPHERE"),
)


def container_of(file: BinaryIO) -> Container | None:
    """The container of a file by its first bytes, ID3 tags apart, or None."""
    start = after_tags(file)
    file.seek(start)
    found = container_of_bytes(file.read(16))
    return _MP3 if found is None and start > 0 else found


def container_of_bytes(head: bytes) -> Container | None:
    """The container that begins with these bytes, 16 or more, or None."""
    for container in CONTAINERS:
        if head[container.offset :].startswith(container.magic):
            return container
    return None


def is_png(head: bytes) -> bool:
    """Whether a file that begins with these bytes, 8 or more, is a PNG: a mel image."""
    return head.startswith(b"\x89PNG\r\n\x1a\n")


class View(io.RawIOBase):
    """Part of a seekable file, some bytes replaced, as a decoder should see it.

    It has no name, so that the decoder must look inside, and it never raises: decoders call it
    from C. What the file raised is kept in ``failure``.

    A damaged file can make a decoder search on and on. Between two calls of :meth:`renew` it may
    read :data:`MOST_READ` bytes in :data:`MOST_READS` calls; then the file seems to end, and
    ``spent`` is true.

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
        self._bytes = self._reads = 0
        self.failure: Exception | None = None

    @property
    def spent(self) -> bool:
        """Whether so much was read since :meth:`renew` that the file seems to end."""
        return self._bytes > MOST_READ or self._reads > MOST_READS

    def renew(self) -> None:
        """A block of sound has come: the decoder may read on."""
        self._bytes = self._reads = 0

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        wanted = max(0, min(len(view), self._size - self._at))
        self._reads += 1
        self._bytes += wanted
        if wanted == 0 or self.spent:  # a damaged size may have led it to where no file reaches
            return 0
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
    if is_wav(head):
        return [View(file, 0, size, size_patches(file, size))]
    if head[:4] == b"OggS":
        starts = _ogg_starts(file, size)
        return [View(file, a, b) for a, b in pairwise(starts)]
    if head[:3] == b"ID3":
        start = after_tags(file)
        file.seek(start)
        if container_of_bytes(file.read(16)) is not None:  # as some programs tag FLAC
            return [View(file, start, size)]
        return [_mp3_view(file, size)]
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2:
        return [_mp3_view(file, size)]
    return [View(file, 0, size)]


def _ogg_starts(file: BinaryIO, size: int) -> list[int]:
    """Where the links of a chained Ogg file begin (RFC 3533, section 6); last, where it ends."""
    starts, at, beginning, empty = [0], 0, True, 0
    while at + 27 <= size:
        file.seek(at)
        head = file.read(27)
        if head[:5] != b"OggS\0" or len(head) < 27:
            found = _next_page(file, at)
            if found is None:
                return [*starts, max(at, 27)]  # what follows is no Ogg
            at = found
            continue
        first = bool(head[5] & 2)
        if first and not beginning:
            starts.append(at)
        beginning = first
        payload = sum(file.read(head[26]))
        empty = 0 if payload else empty + 1
        if empty > _MOST_PARTS:
            return [*starts, at]  # no writer does so
        at += 27 + head[26] + payload
    return [*starts, size]


def _next_page(file: BinaryIO, at: int) -> int | None:
    """Where the next Ogg page begins after a damaged one at ``at``, or None."""
    file.seek(at + 1)
    found = file.read(_NEXT_PAGE).find(b"OggS\0")
    return None if found < 0 else at + 1 + found


def _mp3_view(file: BinaryIO, size: int) -> View:
    """An MP3 file, whose Xing header (of the count of frames) may be missing or count too few.

    Without one the decoder guesses the length from the first frame and the size, and stops there,
    which is too soon where the bit rate varies. So it is shown a file without an end, and where
    more follows than was counted (files glued together), a file without that header too.
    """
    # Tags hold cover images of any size, which the decoder would copy: it sees none.
    start = after_tags(file)
    file.seek(start)
    frame = file.read(64)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if not 0 <= at <= len(frame) - 16:
        return View(file, start, size, endless=True)
    flags, _, counted = struct.unpack(">III", frame[at + 4 : at + 16])
    if flags & 3 != 3:  # frames and bytes are not both counted
        return View(file, start, size, endless=True)
    file.seek(start + counted)
    after = file.read(3)
    more = after == b"ID3" or (len(after) == 3 and after[0] == 0xFF and after[1] >= 0xE0)
    if more or size - start - counted > _MP3_TAGS:
        return View(file, start, size, {at: bytes(4)}, endless=True)
    return View(file, start, size)


def after_tags(file: BinaryIO) -> int:
    """Where the ID3v2 tags at the beginning of a file end (ID3v2.4, section 3.1); 0 without."""
    at = 0
    for _ in range(_MOST_PARTS):
        file.seek(at)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10:
            break
        size = 0
        for byte in head[6:]:  # seven bits a byte
            size = size << 7 | byte & 127
        at += 10 + size + (10 if head[5] & 0x10 else 0)  # the footer
    return at
