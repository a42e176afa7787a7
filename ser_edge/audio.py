"""Any sound file or file object -> mono ``float32`` at one rate, in blocks or as 5-second windows.

libsndfile (soundfile) decodes, soxr converts the rate. Containers that libsndfile does not read
(M4A, WebM, ...) go to PyAV where the extra ``media`` is installed. Whatever is wrong with a sound
is an :class:`AudioError` with one sentence that names it.
"""

from __future__ import annotations

import importlib.util
import io
import os
import struct
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Float32 = npt.NDArray[np.float32]
Source: TypeAlias = "str | os.PathLike[str] | BinaryIO"

MIN_RATE: Final = 8_000
MAX_RATE: Final = 192_000
MAX_CHANNELS: Final = 8
MAX_AMPLITUDE: Final = 2.0**31
"""Full scale is 1.0; files that hold unscaled integers as floats reach 2**31."""

AUDIO_SUFFIXES: Final = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"})
"""What a folder is searched for; single files may have any suffix or none."""

MEDIA_SUFFIXES: Final = frozenset({".m4a", ".mp4", ".aac", ".webm", ".mka", ".mkv", ".wma"})
"""Searched for as well where the extra ``media`` is installed."""

FILE_HOP_SECONDS: Final = 2.5
"""Hop of the windows of a file longer than one window, in rendering and on the edge."""

_BLOCK_SECONDS: Final = 10
_SPOOL_BYTES: Final = 64 * 2**20
_LEVEL_SECONDS: Final = 0.05
_SIZES_UNKNOWN: Final = 0x7FFF_0000
"""Data sizes from here on are what writers to pipes put in (sox 0x7FFFF000, ffmpeg 0xFFFFFFFF)."""


class AudioError(ValueError):
    """A sound that cannot be used: ``str(error)`` is ``"<file>: <cause>"``.

    Parameters
    ----------
    file : str
        Path or name of the sound.
    cause : str
        One clause that says what is wrong and, where it helps, what is allowed.
    """

    def __init__(self, file: str, cause: str) -> None:
        super().__init__(f"{file}: {cause}")
        self.file = file
        self.cause = cause

    def __reduce__(self) -> tuple[type[AudioError], tuple[str, str]]:
        return type(self), (self.file, self.cause)  # so that it survives a process pool


def source_name(source: Source) -> str:
    """What messages call a source: its path, a file object's name, or ``<stream>``."""
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<stream>"


def media_installed() -> bool:
    """Whether the extra ``media`` (PyAV) is there."""
    return importlib.util.find_spec("av") is not None


# ----------------------------------------------------------------------------- public functions


def read_blocks(source: Source, rate: int) -> Iterator[Float32]:
    """Decode a sound block by block; memory does not grow with its length.

    Parameters
    ----------
    source : path or binary file object
        WAV, FLAC, Ogg Vorbis or Opus, MP3, whatever else libsndfile reads and, with the extra
        ``media``, M4A, WebM and others; 8 to 192 kHz, 1 to 8 channels. A file object is read from
        its start where it can seek, else to its end. It is left open.
    rate : int
        Rate wanted, in Hz.

    Yields
    ------
    ndarray
        ``float32 (n,)``, mono (mean of the channels), finite, n > 0. Full scale is 1.0.

    Raises
    ------
    AudioError
        Missing, a folder, not readable, empty, not sound, cut off inside the header, damaged, no
        samples, NaN or infinite samples, unsupported rate or channel count.
    """
    name = source_name(source)
    with _opened(source, name) as file:
        samples = 0
        for block in _resampled(_decoded(file, name), rate, name):
            if block.size:
                samples += block.size
                yield block
        if not samples:
            raise AudioError(name, "it has no samples")


def load(source: Source, rate: int) -> Float32:
    """Decode a whole sound: :func:`read_blocks`, put together.

    Returns
    -------
    ndarray
        ``float32 (samples,)``, mono, at ``rate``.

    Raises
    ------
    AudioError
        As :func:`read_blocks`.
    """
    return np.concatenate(list(read_blocks(source, rate)))


def as_mono(waveform: npt.ArrayLike, waveform_rate: int, rate: int) -> Float32:
    """An array of samples -> mono at one rate, by the same checks and conversion as a file.

    Parameters
    ----------
    waveform : array_like
        ``(samples,)`` or ``(samples, channels)``; integers are scaled by their type's range.
    waveform_rate : int
        Its rate in Hz, 8,000 to 192,000.
    rate : int
        Rate wanted, in Hz.

    Returns
    -------
    ndarray
        ``float32 (n,)``.

    Raises
    ------
    AudioError
        No samples, more than two axes, NaN or infinite samples, unsupported rate or channels.
    """
    name = "<waveform>"
    samples = np.asarray(waveform)
    if samples.ndim not in (1, 2) or samples.dtype.kind not in "fiu":
        raise AudioError(
            name,
            f"shape {samples.shape} of {samples.dtype}, allowed: (samples,) or "
            "(samples, channels) of numbers",
        )
    if samples.size == 0:
        raise AudioError(name, "it has no samples")
    if samples.dtype.kind == "i":
        samples = samples.astype(np.float64) / -float(np.iinfo(samples.dtype).min)
    elif samples.dtype.kind == "u":
        middle = (np.iinfo(samples.dtype).max + 1) / 2
        samples = (samples.astype(np.float64) - middle) / middle
    if samples.ndim == 1:
        samples = samples[:, None]
    stream = _Stream(waveform_rate, samples.shape[1], iter([samples.astype(np.float32)]))
    return np.concatenate(list(_resampled(stream, rate, name)))


@dataclass(frozen=True)
class Window:
    """A piece of a sound: ``start`` in samples, ``waveform`` ``float32 (n,)``, n <= the length."""

    start: int
    waveform: Float32


def windows(blocks: Iterable[Float32], length: int, hop: int) -> Iterator[Window]:
    """Cut a stream into windows of equal length, the last one flush with the end.

    A stream shorter than ``length`` gives one shorter window.

    Parameters
    ----------
    blocks : iterable of ndarray
        Consecutive ``float32 (n,)`` blocks.
    length, hop : int
        Samples, ``0 < hop <= length``.

    Yields
    ------
    Window
    """
    if not 0 < hop <= length:
        raise ValueError(f"hop is {hop}, allowed: 1 to the window's {length} samples")
    kept: Float32 = np.empty(0, dtype=np.float32)
    kept_start, next_start = 0, 0
    for block in blocks:
        kept = np.concatenate([kept, block])
        while kept_start + kept.size >= next_start + length:
            at = next_start - kept_start
            yield Window(next_start, kept[at : at + length])
            next_start += hop
        # The last `length` samples are kept: the final window is made of them.
        spare = min(kept.size - length, next_start - kept_start)
        if spare > 0:
            kept = kept[spare:].copy()
            kept_start += spare
    end = kept_start + kept.size
    last_start = max(0, end - length)
    if end > 0 and last_start != next_start - hop:  # else the last window is out already
        yield Window(last_start, kept[last_start - kept_start :])


def levels(waveform: Float32, rate: int) -> Float32:
    """Level of each 50 ms of a sound.

    Returns
    -------
    ndarray
        ``float32 (n,)``: RMS in dB re full scale, -200 at the least; a rest of under 50 ms counts
        as one more.
    """
    step = max(1, round(rate * _LEVEL_SECONDS))
    count = -(-waveform.size // step)
    padded = np.zeros(count * step, dtype=np.float32)
    padded[: waveform.size] = waveform
    power = np.mean(np.square(padded.reshape(count, step), dtype=np.float64), axis=1)
    decibels: Float32 = (10.0 * np.log10(np.maximum(power, 1e-20))).astype(np.float32)
    return decibels


# ------------------------------------------------------------------------------ opening, headers


class _View(io.RawIOBase):
    """A seekable file without its name (libsndfile must look inside), some bytes replaced."""

    def __init__(self, file: BinaryIO, patches: dict[int, bytes]) -> None:
        self._file = file
        self._patches = patches

    def readinto(self, buffer: Any) -> int:
        start = self._file.tell()
        view = memoryview(buffer).cast("B")
        data = self._file.read(len(view))
        view[: len(data)] = data
        for at, patch in self._patches.items():
            low, high = max(at, start), min(at + len(patch), start + len(data))
            if low < high:
                view[low - start : high - start] = patch[low - at : high - at]
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


@contextmanager
def _opened(source: Source, name: str) -> Iterator[BinaryIO]:
    """The source as a non-empty, seekable file at its start."""
    with ExitStack() as stack:
        if isinstance(source, (str, os.PathLike)):
            path = Path(source)
            try:
                if path.is_dir():
                    raise AudioError(name, "it is a folder, not a file")
                if path.exists() and not path.is_file():
                    raise AudioError(name, "it is not a regular file")
                file: BinaryIO = stack.enter_context(open(path, "rb"))
            except FileNotFoundError:
                raise AudioError(name, "there is no such file") from None
            except AudioError:
                raise
            except (OSError, ValueError) as error:  # ValueError: a NUL in the name
                raise AudioError(name, f"it cannot be opened: {_reason(error)}") from None
        elif isinstance(source.read(0), str):
            raise AudioError(name, "it is opened as text, it should be opened as bytes")
        elif _can_seek(source):
            file = source
        else:
            file = cast(
                BinaryIO, stack.enter_context(tempfile.SpooledTemporaryFile(_SPOOL_BYTES, "w+b"))
            )
            while chunk := source.read(2**20):
                file.write(chunk)
        try:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
        except OSError as error:
            raise AudioError(name, f"it cannot be read: {_reason(error)}") from None
        if size == 0:
            raise AudioError(name, "it is empty")
        yield file


def _can_seek(file: BinaryIO) -> bool:
    # SpooledTemporaryFile has no seekable() before Python 3.11, yet it can seek.
    ask = getattr(file, "seekable", None)
    return bool(ask()) if ask is not None else hasattr(file, "seek")


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _wav_patches(file: BinaryIO) -> dict[int, bytes]:
    """Position -> bytes that make a pipe's RIFF header (size 0 or "unknown") tell the true size."""
    file.seek(0)
    riff = file.read(12)
    if len(riff) < 12 or riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        return {}
    size = file.seek(0, io.SEEK_END)
    at = 12
    while at + 8 <= size:
        file.seek(at)
        chunk, length = struct.unpack("<4sI", file.read(8))
        if chunk == b"data":
            rest = size - at - 8
            if rest and (length >= _SIZES_UNKNOWN or (length == 0 and _no_chunk(file, rest))):
                true = struct.pack("<I", min(rest, 0xFFFF_FFFE))
                whole = struct.pack("<I", min(size - 8, 0xFFFF_FFFE))
                return {4: whole, at + 4: true}
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


_CONTAINERS: Final = (
    # offset, bytes there, what people call it, the name of ffmpeg's demuxer
    (4, b"ftyp", "M4A/MP4", "mov"),
    (0, b"\x1a\x45\xdf\xa3", "WebM/Matroska", "matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA", "asf"),
    (0, b"\xff\xf1", "AAC", "aac"),
    (0, b"\xff\xf9", "AAC", "aac"),
    (0, b"#!AMR", "AMR", "amr"),
    (0, b"FLV\x01", "Flash video", "flv"),
    (8, b"AVI ", "AVI", "avi"),
    (0, b"wvpk", "WavPack", "wv"),
    (0, b"OggS", "Ogg", "ogg"),
)

_KNOWN: Final = (
    (0, b"RIFF", "WAV"),
    (0, b"RIFX", "WAV"),
    (0, b"RF64", "WAV"),
    (0, b"fLaC", "FLAC"),
    (0, b"OggS", "Ogg"),
    (0, b"ID3", "MP3"),
    (0, b"FORM", "AIFF"),
)


# --------------------------------------------------------------------------------------- decoding


@dataclass(frozen=True)
class _Stream:
    """Decoded sound: ``blocks`` of ``float32 (n, channels)``."""

    rate: int
    channels: int
    blocks: Iterator[Float32]


def _decoded(file: BinaryIO, name: str) -> _Stream:
    patches = _wav_patches(file)
    file.seek(0)
    try:
        sound = soundfile.SoundFile(cast(BinaryIO, _View(file, patches)))
    except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError, OSError) as error:
        file.seek(0)
        head = file.read(16)
        for at, magic, kind, demuxer in _CONTAINERS:
            if head[at : at + len(magic)] == magic:
                if media_installed():
                    return _decoded_by_ffmpeg(file, name, kind, demuxer)
                if kind != "Ogg":
                    raise AudioError(
                        name, f"{kind} needs the extra media: pip install 'ser-edge[media]'"
                    ) from None
        for at, magic, kind in _KNOWN:
            if head[at : at + len(magic)] == magic:
                raise AudioError(
                    name, f"it is cut off or damaged inside its {kind} header ({_clause(error)})"
                ) from None
        raise AudioError(
            name,
            "it is not sound that can be read here (WAV, FLAC, Ogg Vorbis or Opus, MP3; with the "
            "extra media also M4A, WebM and others)",
        ) from None
    return _Stream(sound.samplerate, sound.channels, _sndfile_blocks(sound, name))


def _clause(error: Exception) -> str:
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return " ".join(text.split()) or type(error).__name__


def _sndfile_blocks(sound: soundfile.SoundFile, name: str) -> Iterator[Float32]:
    done = 0
    with sound:
        while True:
            try:
                block = sound.read(
                    _BLOCK_SECONDS * sound.samplerate, dtype="float32", always_2d=True
                )
            except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
                at = f"after {done / sound.samplerate:.2f} s"
                raise AudioError(name, f"it is damaged {at} ({_clause(error)})") from None
            if not len(block):
                break
            done += len(block)
            yield block
        # FLAC says exactly how long it is (unless a pipe wrote it); others estimate.
        if sound.format == "FLAC" and done < sound.frames < 2**40:
            raise AudioError(
                name,
                f"it is cut off or damaged after {done / sound.samplerate:.2f} s "
                f"of {sound.frames / sound.samplerate:.2f} s",
            )


def _decoded_by_ffmpeg(file: BinaryIO, name: str, kind: str, demuxer: str) -> _Stream:
    # The demuxer is named from the first bytes: ffmpeg's own guess would also take playlists, which
    # open other files and addresses.
    import av

    file.seek(0)
    try:
        container = av.open(file, mode="r", format=demuxer, metadata_errors="ignore")
        tracks = container.streams.audio
        if not tracks:
            raise AudioError(name, f"this {kind} file holds no sound track")
        rate, channels = tracks[0].rate or 0, tracks[0].channels or 0
    except AudioError:
        raise
    except (av.error.FFmpegError, ValueError, OSError) as error:
        raise AudioError(
            name, f"it is cut off or damaged inside its {kind} header ({_clause(error)})"
        ) from None
    return _Stream(rate, channels, _ffmpeg_blocks(container, name))


def _ffmpeg_blocks(container: Any, name: str) -> Iterator[Float32]:
    import av

    track = container.streams.audio[0]
    to_float = av.AudioResampler(format="fltp")
    pending: list[Float32] = []
    done = 0
    with container:
        try:
            for frame in container.decode(track):
                for part in to_float.resample(frame):
                    pending.append(part.to_ndarray().T)
                    done += len(pending[-1])
                if sum(map(len, pending)) >= _BLOCK_SECONDS * track.rate:
                    yield np.concatenate(pending).astype(np.float32, copy=False)
                    pending.clear()
        except (av.error.FFmpegError, ValueError, OSError) as error:
            at = f"after {done / track.rate:.2f} s"
            raise AudioError(name, f"it is damaged {at} ({_clause(error)})") from None
    if pending:
        yield np.concatenate(pending).astype(np.float32, copy=False)


def _resampled(stream: _Stream, rate: int, name: str) -> Iterator[Float32]:
    """Check, mix down and convert the rate of decoded blocks."""
    if not MIN_RATE <= stream.rate <= MAX_RATE:
        raise AudioError(name, f"its rate is {stream.rate} Hz, allowed: {MIN_RATE} to {MAX_RATE}")
    if not 1 <= stream.channels <= MAX_CHANNELS:
        raise AudioError(name, f"it has {stream.channels} channels, allowed: 1 to {MAX_CHANNELS}")
    converter = (
        None if stream.rate == rate else soxr.ResampleStream(stream.rate, rate, 1, dtype="float32")
    )
    done = 0
    for block in stream.blocks:
        # min and max carry NaN and infinity along and need no temporary.
        low, high = float(block.min()), float(block.max())
        if not (low >= -MAX_AMPLITUDE and high <= MAX_AMPLITUDE):
            finite = np.isfinite(block).all(axis=1)
            at = (done + int(np.argmin(finite))) / stream.rate
            if not finite.all():
                raise AudioError(name, f"it has NaN or infinite samples (first at {at:.3f} s)")
            raise AudioError(name, f"it has samples beyond {MAX_AMPLITUDE:.0f}: that is no sound")
        done += len(block)
        mono = block[:, 0] if stream.channels == 1 else block.mean(axis=1, dtype=np.float32)
        yield mono if converter is None else converter.resample_chunk(mono)
    if converter is not None and done:
        yield converter.resample_chunk(np.empty(0, dtype=np.float32), last=True)
