"""The header of a WAV, read in one place for three uses.

- Files of 16-bit PCM, the usual ones, are read without libsndfile: a clip in a tenth of the time.
  Only a file whose header is right in every respect is; libsndfile forgives more.
- Sizes that a writer to a pipe left unknown are mended for libsndfile.
- A WAV that comes in by a pipe says in its header how the samples that follow are stored.

Multimedia Programming Interface and Data Specifications 1.0 (IBM and Microsoft, 1991), "Waveform
Audio File Format"; RF64: EBU Tech 3306.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from ser_edge.audio.base import MAX_CHANNELS, MAX_RATE, MIN_RATE, AudioError

_PCM: Final = 1
_FLOAT: Final = 3
_EXTENSIBLE: Final = 0xFFFE
_SAMPLE_BYTES: Final = 2
_OF_FULL_SCALE: Final = np.float32(2.0**-15)
SIZES_UNKNOWN: Final = 0x7FFF_0000
"""Data sizes from here on are what writers to pipes put in (sox 0x7FFFF000, ffmpeg 0xFFFFFFFF)."""

_MOST_CHUNKS: Final = 10_000  # before the samples
_MAX_HEADER: Final = 2**20  # bytes before the samples that come by a pipe; images may be in them


@dataclass(frozen=True)
class WavHeader:
    """What stands before the samples.

    Parameters
    ----------
    riff : bytes
        ``b"RIFF"`` or ``b"RF64"``.
    formats : tuple of bytes
        Content of each ``fmt`` chunk, 40 bytes of it at the most.
    ds64 : int or None
        Position of the content of the ``ds64`` chunk, which holds the sizes of an RF64.
    start : int
        Position of the first sample.
    stated : int
        Bytes of samples, as the header says.
    """

    riff: bytes
    formats: tuple[bytes, ...]
    ds64: int | None
    start: int
    stated: int


def is_wav(head: bytes) -> bool:
    """Whether a file that begins with these bytes, 12 or more, is a WAV."""
    return head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE"


def chunks(
    read_at: Callable[[int, int], bytes], order: str = "<"
) -> Iterator[tuple[bytes, int, int]]:
    """The chunks of a RIFF (``order`` ``"<"``) or FORM (``">"``): name, position and length."""
    at = 12
    for _ in range(_MOST_CHUNKS):
        chunk = read_at(at, 8)
        if len(chunk) < 8:
            return
        name, length = struct.unpack(f"{order}4sI", chunk)
        yield name, at + 8, length
        at += 8 + length + length % 2


def read_header(read_at: Callable[[int, int], bytes]) -> WavHeader | None:
    """The header of a WAV; None where the file is something else, or has no samples.

    Parameters
    ----------
    read_at : callable
        Position and count -> so many bytes from there, fewer at the end of the file.
    """
    head = read_at(0, 12)
    if not is_wav(head):
        return None
    ds64 = None
    formats: list[bytes] = []
    for name, at, length in chunks(read_at):
        if name == b"data":
            return WavHeader(head[:4], tuple(formats), ds64, at, length)
        if name == b"fmt ":
            formats.append(read_at(at, min(length, 40)))
        elif name == b"ds64" and length >= 24:
            ds64 = at
    return None


def reader(file: BinaryIO) -> Callable[[int, int], bytes]:
    """Position and count -> so many bytes of a file from there."""

    def read_at(position: int, count: int) -> bytes:
        file.seek(position)
        return file.read(count)

    return read_at


# ------------------------------------------------------------------------------------ plain files


@dataclass(frozen=True)
class PcmWav:
    """Where the samples of a WAV of 16-bit PCM lie.

    Parameters
    ----------
    rate : int
        Hz.
    channels : int
    start : int
        Byte of the file at which the first sample begins.
    frames : int
        Samples of each channel.
    """

    rate: int
    channels: int
    start: int
    frames: int

    def blocks(self, file: BinaryIO, most: int) -> Iterator[npt.NDArray[np.float32]]:
        """The samples in blocks of ``float32 (n, channels)``, n <= ``most``; full scale is 1.0.

        Where the file has become shorter, they end with it.

        Raises
        ------
        OSError, ValueError
            The file cannot be read.
        """
        step, done = self.channels * _SAMPLE_BYTES, 0
        while done < self.frames:
            file.seek(self.start + done * step)
            data = file.read(min(most, self.frames - done) * step)
            count = len(data) // step
            if not count:
                return
            done += count
            samples = np.frombuffer(data, "<i2", count * self.channels)
            yield np.multiply(samples, _OF_FULL_SCALE, dtype=np.float32).reshape(
                count, self.channels
            )


def pcm_wav(file: BinaryIO) -> PcmWav | None:
    """A file as a WAV of 16-bit PCM; None where it is something else or anything is odd about it.

    Raises
    ------
    OSError, ValueError
        The file cannot be read.
    """
    size = file.seek(0, io.SEEK_END)
    header = read_header(reader(file))
    if header is None or header.riff != b"RIFF" or len(header.formats) != 1:
        return None
    if len(header.formats[0]) < 16 or not 0 < header.stated <= size - header.start:
        return None
    kind, channels, rate, byte_rate, step, bits = struct.unpack_from("<HHIIHH", header.formats[0])
    right = (_PCM, channels * _SAMPLE_BYTES, rate * step, 8 * _SAMPLE_BYTES)
    if (kind, step, byte_rate, bits) != right or channels == 0 or header.stated % step:
        return None
    return PcmWav(rate, channels, header.start, header.stated // step)


# -------------------------------------------------------------------------------- sizes left open


def size_patches(file: BinaryIO, size: int) -> dict[int, bytes]:
    """Sizes for a header that a pipe left at 0 or "unknown": position -> bytes.

    Parameters
    ----------
    file : binary file object
    size : int
        Bytes of the file.
    """
    header = read_header(reader(file))
    if header is None or header.start >= size:
        return {}
    rest = size - header.start
    if header.ds64 is not None and header.stated == 0xFFFF_FFFF:
        file.seek(header.ds64 + 8)
        unknown = file.read(8) == bytes(8)
        return {header.ds64: struct.pack("<QQ", size - 8, rest)} if unknown else {}
    file.seek(header.start)
    if header.stated >= SIZES_UNKNOWN or (header.stated == 0 and _no_chunk(file, rest)):
        return {
            4: struct.pack("<I", min(size - 8, 0xFFFF_FFFE)),
            header.start - 4: struct.pack("<I", min(rest, 0xFFFF_FFFE)),
        }
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


# ------------------------------------------------------------------------------------------ pipes


@dataclass(frozen=True)
class PcmFormat:
    """How raw samples are stored: ``kind`` is NumPy's type of one, ``bits`` 24 for packed ones."""

    rate: int
    channels: int = 1
    kind: str = "<i2"
    bits: int = 16

    def __post_init__(self) -> None:
        if not MIN_RATE <= self.rate <= MAX_RATE:
            raise ValueError(f"rate is {self.rate}, allowed: {MIN_RATE} to {MAX_RATE} Hz")
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise ValueError(f"channels are {self.channels}, allowed: 1 to {MAX_CHANNELS}")

    @property
    def frame_bytes(self) -> int:
        return self.channels * self.bits // 8

    def mono(self, data: bytes) -> npt.NDArray[Any]:
        """Whole frames of bytes -> samples ``(n,)``, ``int16`` or ``float32``, mean of channels."""
        if self.bits == 24:
            packed = np.frombuffer(data, dtype=np.uint8).reshape(-1, 3)
            wide = np.zeros((len(packed), 4), dtype=np.uint8)
            wide[:, 1:] = packed
            values = wide.reshape(-1).view("<i4")
        else:
            values = np.frombuffer(data, dtype=self.kind)
        if self.channels == 1 and values.dtype == np.int16:
            return values
        if values.dtype.kind == "u":  # 8 bits
            scaled = (values.astype(np.float32) - 128) / 128
        elif values.dtype.kind == "i":
            scaled = values.astype(np.float32) / np.float32(-float(np.iinfo(values.dtype).min))
        else:
            scaled = values.astype(np.float32)
        return np.asarray(scaled.reshape(-1, self.channels).mean(axis=1, dtype=np.float32))


def piped_wav(head: bytes, data: Iterator[bytes], name: str) -> tuple[PcmFormat, bytes, int | None]:
    """Read the header of a WAV from a pipe.

    Parameters
    ----------
    head : bytes
        The first of it, 12 bytes or more.
    data : iterator of bytes
        The rest as it comes.
    name : str
        What messages call it.

    Returns
    -------
    tuple
        How its samples are stored; bytes of the sound that were read already; how many bytes of
        sound it has, or None where its header does not say.

    Raises
    ------
    AudioError
        Cut off or damaged in the header, or samples of a kind that is not read here.
    """

    def read_at(position: int, count: int) -> bytes:
        nonlocal head
        if position + count > _MAX_HEADER:
            raise AudioError(name, "its WAV header is damaged: the sound begins nowhere")
        while len(head) < position + count:
            chunk = next(data, b"")
            if not chunk:
                raise AudioError(name, "it is cut off inside its WAV header")
            head += chunk
        return head[position : position + count]

    header = read_header(read_at)
    if header is None:
        raise AudioError(name, "its WAV header is damaged: the sound begins nowhere")
    if not header.formats:
        raise AudioError(name, "its WAV header does not say how the samples are stored")
    known = 0 < header.stated < SIZES_UNKNOWN
    samples = _pcm_format(header.formats[-1], name)
    return samples, head[header.start :], header.stated if known else None


def _pcm_format(chunk: bytes, name: str) -> PcmFormat:
    if len(chunk) < 16:
        raise AudioError(name, "its WAV header is damaged: fmt is too short")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk)
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        tag = struct.unpack_from("<H", chunk, 24)[0]
    kinds = {
        (_PCM, 8): "u1", (_PCM, 16): "<i2", (_PCM, 24): "", (_PCM, 32): "<i4",
        (_FLOAT, 32): "<f4", (_FLOAT, 64): "<f8",
    }  # fmt: skip
    if (tag, bits) not in kinds:
        raise AudioError(
            name,
            f"its samples are of {bits} bits and type {tag}, allowed: PCM of 8, 16, 24, 32 bits, "
            "float of 32, 64",
        )
    try:
        return PcmFormat(rate, channels, kinds[tag, bits], bits)
    except ValueError as error:
        raise AudioError(name, f"in its WAV header, {error}") from None
