"""Whether a sound file ends before its sound does, by what its container says of its size.

Decoders pass over a missing end in silence. What they reject is not looked at here: a FLAC, AAC or
M4A file that is cut is an error.
"""

from __future__ import annotations

import io
import struct
from typing import BinaryIO, Final

from ser_edge.audio.containers import after_tags
from ser_edge.audio.wav import SIZES_UNKNOWN, chunks, reader

_HEAD: Final = 256
_MOST_OGG_PAGE: Final = 27 + 255 + 255 * 255
_XING_SHARE: Final = 0.99  # of its size: encoders count the tag's own frame or not


def truncation(file: BinaryIO) -> str | None:
    """What shows that a file is cut off, such as "192026 of 320044 bytes"; None if nothing does.

    Parameters
    ----------
    file : binary file object
        Seekable; where it stands afterwards is undefined.

    Raises
    ------
    OSError, ValueError
        The file cannot be read.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(_HEAD)
    if head[:4] == b"OggS":
        return None if _ogg_ends(file, size) else "its last Ogg page is missing"
    wanted = 0
    if head[:4] == b"RIFF":
        wanted = _end_of_chunk(file, "<", b"data")
    elif head[:4] == b"FORM":
        wanted = _end_of_chunk(file, ">", b"SSND")
    elif head[:4] == b".snd" and len(head) >= 12:
        start, length = struct.unpack(">II", head[4:12])
        wanted = start + length if length < SIZES_UNKNOWN else 0
    elif head[:4] == b"\x1a\x45\xdf\xa3":
        wanted = _end_of_segment(head)
    else:
        wanted = _end_of_mp3(file)
    return f"{size} of {wanted} bytes" if size < wanted else None


def _end_of_chunk(file: BinaryIO, order: str, sound: bytes) -> int:
    """Where the chunk of samples should end, in RIFF (WAV) or FORM (AIFF)."""
    for name, start, length in chunks(reader(file), order):
        if name == sound:
            return start + length if length < SIZES_UNKNOWN else 0
    return 0


def _end_of_segment(head: bytes) -> int:
    """Where the segment of a Matroska or WebM file should end; 0 where it is not said."""
    length, at = _vint(head, 4)
    at += length or 0
    if head[at : at + 4] != b"\x18\x53\x80\x67":
        return 0
    length, at = _vint(head, at + 4)
    return 0 if length is None else at + length


def _vint(data: bytes, at: int) -> tuple[int | None, int]:
    """EBML's number of variable length, None where it is unknown, and the position after it."""
    if at >= len(data) or data[at] == 0:
        return None, at
    length = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + length], "big") & ((1 << 7 * length) - 1)
    return (None if value == (1 << 7 * length) - 1 else value), at + length


def _end_of_mp3(file: BinaryIO) -> int:
    """Where the frames of an MP3 should end, by its Xing or Info header; 0 where it has none."""
    start = after_tags(file)
    file.seek(start)
    frame = file.read(_HEAD)
    at = max(frame.find(b"Xing", 0, 64), frame.find(b"Info", 0, 64))
    if frame[:1] != b"\xff" or at < 0 or len(frame) < at + 16:
        return 0
    flags = frame[at + 7]
    if not flags & 2:  # it does not count bytes
        return 0
    at += 12 if flags & 1 else 8
    return start + int(_XING_SHARE * struct.unpack(">I", frame[at : at + 4])[0])


def _ogg_ends(file: BinaryIO, size: int) -> bool:
    """Whether an Ogg file ends with a whole page that says that it is the last."""
    file.seek(max(0, size - _MOST_OGG_PAGE))
    tail = file.read()
    page = tail[tail.rfind(b"OggS") :]
    lengths = page[27 : 27 + page[26]] if len(page) > 26 else b""
    whole = len(page) > 26 and len(page) >= 27 + page[26] + sum(lengths)
    return whole and bool(page[5] & 4)
