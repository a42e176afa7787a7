"""Any sound file or file object -> mono ``float32`` at one rate, in blocks or as 5-second windows.

libsndfile (soundfile) decodes, all but plain WAVs; soxr converts the rate. Containers that
libsndfile does not read (M4A, WebM, ...) go to PyAV where the extra ``media`` is installed.
Whatever is wrong with a sound is an :class:`AudioError` with one sentence that names it.
"""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import stat
import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ser_edge.audio.containers import (
    MOST_READ,
    Container,
    View,
    after_tags,
    container_of,
    container_of_bytes,
    views,
)
from ser_edge.audio.truncation import truncation
from ser_edge.audio.wav import PcmWav, pcm_wav

Float32 = npt.NDArray[np.float32]
Source: TypeAlias = "str | os.PathLike[str] | BinaryIO"

_LOG: Final = logging.getLogger(__name__)

MIN_RATE: Final = 8_000
MAX_RATE: Final = 192_000
MAX_CHANNELS: Final = 8
MAX_AMPLITUDE: Final = 2.0**31
"""Full scale is 1.0; files that hold unscaled integers as floats reach 2**31."""

MAX_SECONDS: Final = 24 * 3600
"""Longer sounds are refused: a megabyte of FLAC can hold days of silence."""

MAX_SOUNDS: Final = 4096
"""Of sounds glued together in one Ogg file."""

AUDIO_SUFFIXES: Final = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"})
"""What a folder is searched for; single files may have any suffix or none."""

MEDIA_SUFFIXES: Final = frozenset({".m4a", ".mp4", ".aac", ".webm", ".mka", ".mkv", ".wma"})
"""Searched for as well where the extra ``media`` is installed."""

LEVEL_SECONDS: Final = 0.05
"""Of each value that :func:`levels` gives."""

_BLOCK_SAMPLES: Final = 2**19  # of all channels together: 11 s of 48 kHz mono, 2 MB
_SPOOL_BYTES: Final = 64 * 2**20
_MAX_SPOOL: Final = 4 * 2**30  # of a stream that cannot seek: 3 hours of 48 kHz stereo in float
_STREAM_BLOCK: Final = 2**20
_AFTER_THE_END: Final = 4096  # samples of a channel that are asked for after a short block
_MAX_TRACKS: Final = 64  # of a film in many languages; each costs ffmpeg memory and time
_FORMATS: Final = frozenset(
    {"WAV", "WAVEX", "RF64", "W64", "NIST", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3", "MPEG"}
)
"""Of libsndfile; its readers of instruments and of the formats of old samplers are not for us."""

_EXACT: Final = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC"})
"""Of these libsndfile knows the length; of the others it guesses."""

_SDS: Final = b"\xf0\x7e"  # refused unopened: libsndfile's reader prints to standard output

_READABLE: Final = (
    "allowed: WAV, FLAC, Ogg Vorbis or Opus, MP3; with the extra media also M4A, WebM and others"
)

_LFS_POINTER: Final = b"version https://git-lfs"

_TOO_LONG: Final = f"it is longer than {MAX_SECONDS // 3600} hours, the most that is read as one"
_NO_SOUND: Final = f"{MOST_READ // 2**20} MB, or thousands of empty parts, without any sound"


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
        return os.fsdecode(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<stream>"


def media_installed() -> bool:
    """Whether the extra ``media`` (PyAV) is there."""
    return importlib.util.find_spec("av") is not None


# ----------------------------------------------------------------------------- public functions


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

    For a file that ends before its sound does, the log (``ser_edge``) has a warning.

    Raises
    ------
    AudioError
        Missing, a folder, not readable, empty, not sound, cut off inside the header, damaged, no
        samples, NaN or infinite samples, unsupported rate or channel count, over 24 hours.
    """
    name = source_name(source)
    with opened(source, name) as file:
        samples = 0
        for stream in _decoded(file, name):
            for block in _resampled(stream, rate, name):
                if block.size:
                    samples += block.size
                    if samples > MAX_SECONDS * rate:
                        raise AudioError(name, _TOO_LONG)
                    yield block
        if not samples:
            raise AudioError(name, "it has no samples")
        with suppress(OSError, ValueError):  # all that could be read was read
            if found := truncation(file):
                read = samples / rate
                _LOG.warning("%s: it is truncated (%s), %.2f s were read", name, found, read)


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


@dataclass(frozen=True)
class Stored:
    """A sound as it is stored: ``samples`` ``float32 (n, channels)`` at ``rate`` Hz."""

    rate: float
    samples: Float32


def load_stored(source: Source) -> list[Stored]:
    """Decode a whole sound as it is stored: neither mixed nor converted, for looking at it.

    Returns
    -------
    list of Stored
        As a rule one; more where sounds are glued together.

    Raises
    ------
    AudioError
        As :func:`read_blocks`.
    """
    name = source_name(source)
    found = []
    with opened(source, name) as file:
        for stream in _decoded(file, name):
            blocks = list(_checked(stream, name))
            if blocks:
                found.append(Stored(stream.rate, np.concatenate(blocks)))
    if not found:
        raise AudioError(name, "it has no samples")
    return found


def as_mono(waveform: npt.ArrayLike, waveform_rate: float, rate: int) -> Float32:
    """An array of samples -> mono at one rate, by the same checks and conversion as a file.

    Parameters
    ----------
    waveform : array_like
        ``(samples,)`` or ``(samples, channels)``; integers are scaled by their type's range.
    waveform_rate : float
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
    try:
        waveform_rate = float(waveform_rate)
    except (TypeError, ValueError):
        raise AudioError(name, f"its rate is {waveform_rate!r}, it should be a number") from None
    try:
        samples = np.asarray(waveform)
    except ValueError as error:
        raise AudioError(name, f"it is no array of numbers: {_reason(error)}") from None
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
    with np.errstate(over="ignore"):  # what becomes infinite is refused below
        block = samples.astype(np.float32)
    stream = _Stream(waveform_rate, block.shape[1], iter([block]))
    mono = np.concatenate(list(_resampled(stream, rate, name)))
    if mono.size == 0:  # a sample or two at a high rate
        raise AudioError(name, f"it has no samples left at {rate} Hz")
    return mono


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
    step = max(1, round(rate * LEVEL_SECONDS))
    whole = waveform.size // step * step
    parts = [waveform[:whole].reshape(-1, step)]
    if whole < waveform.size:
        parts.append(waveform[None, whole:])
    energy = np.concatenate([np.einsum("ij,ij->i", part, part) for part in parts])
    decibels: Float32 = 10.0 * np.log10(np.maximum(energy / np.float32(step), np.float32(1e-20)))
    return decibels


# ---------------------------------------------------------------------------------------- opening


@contextmanager
def opened(source: Source, name: str) -> Iterator[BinaryIO]:
    """The source as a non-empty, seekable file at its start.

    Raises
    ------
    AudioError
        Missing, a folder, no regular file, not readable, opened as text, empty.
    """
    with ExitStack() as stack:
        if isinstance(source, (str, os.PathLike)):
            try:
                kind = Path(name).stat().st_mode  # before it is opened: a named pipe would wait
                if stat.S_ISDIR(kind):
                    raise AudioError(name, "it is a folder, not a file")
                if not stat.S_ISREG(kind):
                    raise AudioError(name, "it is not a regular file")
                file: BinaryIO = stack.enter_context(open(name, "rb"))
            except FileNotFoundError:
                raise AudioError(name, "there is no such file") from None
            except AudioError:
                raise
            except (OSError, ValueError) as error:  # ValueError: a NUL in the name
                raise AudioError(name, f"it cannot be opened: {_reason(error)}") from None
        else:
            try:
                file = _seekable(source, name, stack)
            except AudioError:
                raise
            except (OSError, ValueError, EOFError) as error:
                raise AudioError(name, f"it cannot be read: {_reason(error)}") from None
        try:
            size = file.seek(0, io.SEEK_END)
            file.seek(0)
        except (OSError, ValueError, EOFError) as error:
            raise AudioError(name, f"it cannot be read: {_reason(error)}") from None
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
                raise AudioError(name, f"it is not sound that can be read here, {_READABLE}")
            copy.seek(written)
    return copy


def _may_be_sound(head: bytes) -> bool:
    mpeg = len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0
    return mpeg or container_of_bytes(head) is not None


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


# --------------------------------------------------------------------------------------- decoding


@dataclass(frozen=True)
class _Stream:
    """Decoded sound: ``blocks`` of ``float32 (n, channels)``.

    Those of whole numbers cannot be NaN, infinite or beyond full scale.
    """

    rate: float
    channels: int
    blocks: Iterator[Float32]
    whole_numbers: bool = False


class _Sound(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound that is read on, never sought: its stated length may be unknown or wrong."""

    def seekable(self) -> bool:
        return False


def _decoded(file: BinaryIO, name: str) -> Iterator[_Stream]:
    """The sounds of a file, as a rule one."""
    try:
        plain = pcm_wav(file)
        parts = views(file) if plain is None else []
    except (OSError, ValueError) as error:
        raise AudioError(name, f"it cannot be read: {_reason(error)}") from None
    if plain is not None:
        if plain.frames > MAX_SECONDS * plain.rate:
            raise AudioError(name, _TOO_LONG)
        yield _Stream(
            plain.rate, plain.channels, _pcm_blocks(plain, file, name), whole_numbers=True
        )
        return
    if len(parts) > MAX_SOUNDS:
        raise AudioError(name, f"{len(parts)} sounds glued together, allowed: {MAX_SOUNDS}")
    for number, view in enumerate(parts):
        if view.read(2) == _SDS:
            raise AudioError(name, f"it is SDS (Midi Sample Dump Standard), {_READABLE}")
        view.seek(0)
        try:
            sound = _Sound(cast(BinaryIO, view))
        except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError, OSError) as error:
            if view.spent:
                raise AudioError(name, f"its header is damaged ({_NO_SOUND})") from None
            if number > 0:
                raise AudioError(
                    name, f"it is damaged in its part {number + 1} ({_clause(error)})"
                ) from None
            yield _without_libsndfile(file, name, error)
            return
        if sound.format not in _FORMATS:
            sound.close()
            raise AudioError(name, f"it is {sound.format_info}, {_READABLE}")
        if sound.format in _EXACT and MAX_SECONDS * sound.samplerate < sound.frames < 2**40:
            sound.close()
            raise AudioError(name, _TOO_LONG)  # at once, not after a day of it
        yield _Stream(sound.samplerate, sound.channels, _sndfile_blocks(sound, view, name))


def _without_libsndfile(file: BinaryIO, name: str, error: Exception) -> _Stream:
    container = container_of(file)
    if container is None:
        file.seek(0)
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:  # a clone of CREMA-D without git lfs
            raise AudioError(
                name, "it is a pointer of Git LFS, not the sound; `git lfs pull` fetches that"
            ) from None
        raise AudioError(name, f"it is not sound that can be read here, {_READABLE}") from None
    if container.demuxer is not None:
        if media_installed():
            return _decoded_by_ffmpeg(file, name, container)
        if container.name != "Ogg":
            raise AudioError(
                name, f"{container.name} needs the extra media: pip install 'ser-edge[media]'"
            ) from None
    raise AudioError(
        name,
        f"it is cut off or damaged inside its {container.name} header ({_clause(error)})",
    ) from None


def _clause(error: Exception) -> str:
    # libsndfile's message; else the system's or ffmpeg's, without number and name of the file
    text = getattr(error, "error_string", None) or getattr(error, "strerror", None) or str(error)
    text = str(text).strip().removeprefix("Error : ").rstrip(".")
    return " ".join(text.split()) or type(error).__name__


def _sndfile_blocks(sound: soundfile.SoundFile, view: View, name: str) -> Iterator[Float32]:
    done, most = 0, max(1, _BLOCK_SAMPLES // sound.channels)
    exact, wanted = sound.format in _EXACT and 0 < sound.frames < 2**40, most
    with sound:
        while True:
            # What is asked for beyond the end is filled with zeros: two megabytes of them took
            # longer than all the rest of decoding a short clip.
            if exact and (wanted := min(most, sound.frames - done)) == 0:
                break
            try:
                block = sound.read(wanted, dtype="float32", always_2d=True)
            except (soundfile.LibsndfileError, RuntimeError, OSError) as error:
                cause = f"it is damaged after {done / sound.samplerate:.2f} s"
                if sound.format == "FLAC" and view.tell() == view.seek(0, io.SEEK_END):
                    length = sound.frames / sound.samplerate
                    cause = f"it is truncated, it ends before the {length:.2f} s of its header"
                raise AudioError(name, f"{cause} ({_clause(error)})") from None
            if view.failure is not None:
                raise AudioError(name, f"it cannot be read: {_reason(view.failure)}") from None
            if view.spent:
                at = f"after {(done + len(block)) / sound.samplerate:.2f} s"
                raise AudioError(name, f"it is damaged {at} ({_NO_SOUND})")
            if not len(block):
                break
            view.renew()
            done += len(block)
            wanted = most if len(block) == wanted else min(most, _AFTER_THE_END)
            yield block
        # FLAC says exactly how long it is (unless a pipe wrote it); others estimate.
        if sound.format == "FLAC" and done < sound.frames < 2**40:
            raise AudioError(
                name,
                f"it is cut off or damaged after {done / sound.samplerate:.2f} s "
                f"of {sound.frames / sound.samplerate:.2f} s",
            )


def _pcm_blocks(plain: PcmWav, file: BinaryIO, name: str) -> Iterator[Float32]:
    try:
        yield from plain.blocks(file, max(1, _BLOCK_SAMPLES // plain.channels))
    except (OSError, ValueError) as error:
        raise AudioError(name, f"it cannot be read: {_reason(error)}") from None


def _decoded_by_ffmpeg(file: BinaryIO, name: str, container: Container) -> _Stream:
    # The demuxer is named from the first bytes: ffmpeg's own guess would also take playlists, which
    # open other files and addresses.
    import av

    view = View(file, after_tags(file), file.seek(0, io.SEEK_END))
    try:
        media = av.open(
            view,
            mode="r",
            format=container.demuxer,
            options={"max_streams": str(_MAX_TRACKS)},
            **_lenient(av.__version__),
        )
        tracks = media.streams.audio
        if not tracks:
            raise AudioError(name, f"this {container.name} file holds no sound track")
        if tracks[0].codec_context is None:
            raise AudioError(name, f"this {container.name} file is in a codec unknown here")
        rate, channels = tracks[0].rate or 0, tracks[0].channels or 0
    except AudioError:
        raise
    except (av.error.FFmpegError, ValueError, OSError) as error:
        if view.failure is not None:
            raise AudioError(name, f"it cannot be read: {_reason(view.failure)}") from None
        if view.spent:
            raise AudioError(name, f"its header is damaged ({_NO_SOUND})") from None
        raise AudioError(
            name, f"it is cut off or damaged inside its {container.name} header ({_clause(error)})"
        ) from None
    return _Stream(rate, channels, _ffmpeg_blocks(media, view, channels, name))


def _lenient(release: str) -> dict[str, str]:
    """What PyAV is told, that tags which are no UTF-8 are no reason to refuse a sound.

    From 19 on it always takes them so, and knows no such option.
    """
    return {"metadata_errors": "ignore"} if int(release.partition(".")[0]) < 19 else {}


def _ffmpeg_blocks(media: Any, view: View, channels: int, name: str) -> Iterator[Float32]:
    import av

    track = media.streams.audio[0]
    to_float = av.AudioResampler(format="fltp")
    pending: list[Float32] = []
    done = 0
    with media:
        try:
            for frame in media.decode(track):
                view.renew()
                for part in to_float.resample(frame):
                    pending.append(part.to_ndarray().T)
                    if pending[-1].shape[1] != channels:  # glued or damaged
                        at = f"after {done / track.rate:.2f} s"
                        raise AudioError(name, f"it changes its channels {at}")
                    done += len(pending[-1])
                if sum(part.size for part in pending) >= _BLOCK_SAMPLES:
                    yield np.concatenate(pending).astype(np.float32, copy=False)
                    pending.clear()
        except AudioError:
            raise
        except (av.error.FFmpegError, ValueError, OSError) as error:
            at = f"after {done / track.rate:.2f} s"
            raise AudioError(name, f"it is damaged {at} ({_clause(error)})") from None
    if view.failure is not None:
        raise AudioError(name, f"it cannot be read: {_reason(view.failure)}")
    if view.spent:
        raise AudioError(name, f"it is damaged after {done / track.rate:.2f} s ({_NO_SOUND})")
    if pending:
        yield np.concatenate(pending).astype(np.float32, copy=False)


def _checked(stream: _Stream, name: str) -> Iterator[Float32]:
    """Decoded blocks that are not empty, of a rate, channels and samples that can be used."""
    if not MIN_RATE <= stream.rate <= MAX_RATE:
        raise AudioError(name, f"its rate is {stream.rate:g} Hz, allowed: {MIN_RATE} to {MAX_RATE}")
    if not 1 <= stream.channels <= MAX_CHANNELS:
        raise AudioError(name, f"it has {stream.channels} channels, allowed: 1 to {MAX_CHANNELS}")
    done = 0
    for block in stream.blocks:
        if not len(block):
            continue
        if stream.whole_numbers:
            yield block
            continue
        # min and max carry NaN and infinity along and need no temporary.
        low, high = float(block.min()), float(block.max())
        if not (low >= -MAX_AMPLITUDE and high <= MAX_AMPLITUDE):
            finite = np.isfinite(block).all(axis=1)
            at = (done + int(np.argmin(finite))) / stream.rate
            if not finite.all():
                raise AudioError(name, f"it has NaN or infinite samples (first at {at:.3f} s)")
            raise AudioError(name, f"it has samples beyond {MAX_AMPLITUDE:.0f}: that is no sound")
        done += len(block)
        yield block


def _resampled(stream: _Stream, rate: int, name: str) -> Iterator[Float32]:
    """Check, mix down and convert the rate of decoded blocks."""
    mixed = (
        block[:, 0] if stream.channels == 1 else block.mean(axis=1, dtype=np.float32)
        for block in _checked(stream, name)
    )
    if stream.rate == rate:
        yield from mixed
        return
    first = next(mixed, None)
    if first is None:
        return
    second = next(mixed, None)
    if second is None:  # the same to the last bit, in three quarters of the time
        yield soxr.resample(first, stream.rate, rate)
        return
    # A rate that soxr does not take is refused before.
    converter = soxr.ResampleStream(stream.rate, rate, 1, dtype="float32")
    for mono in chain((first, second), mixed):
        yield converter.resample_chunk(mono)
    yield converter.resample_chunk(np.empty(0, dtype=np.float32), last=True)
