"""Any sound file or file object -> mono ``float32`` at one rate, in blocks or whole.

libsndfile (soundfile) decodes, all but plain WAVs; soxr converts the rate. Containers that
libsndfile does not read (M4A, WebM, ...) go to PyAV where the extra ``media`` is installed.
Whatever is wrong with a sound is an :class:`AudioError` with one sentence that names it.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO, Final, cast

import numpy as np
import soundfile

from ser_edge.audio.base import (
    BLOCK_SAMPLES,
    MAX_SECONDS,
    READABLE,
    AudioError,
    Float32,
    SoundTooLongError,
    Source,
    clause,
    reason,
)
from ser_edge.audio.containers import NO_SOUND, View, container_of, views
from ser_edge.audio.files import media_installed, open_source, source_name
from ser_edge.audio.media import decode_media
from ser_edge.audio.resample import Stream, checked, resampled
from ser_edge.audio.truncation import truncation
from ser_edge.audio.wav import PcmWav, pcm_wav

_LOG: Final = logging.getLogger(__name__)

MAX_SOUNDS: Final = 4096
"""Of sounds glued together in one Ogg file."""

_AFTER_THE_END: Final = 4096  # samples of a channel that are requested after a short block
_FORMATS: Final = frozenset(
    {"WAV", "WAVEX", "RF64", "W64", "NIST", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3", "MPEG"}
)
"""Of libsndfile; its readers of instruments and of the formats of old samplers are not for us."""

_EXACT: Final = frozenset({"WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC"})
"""Of these libsndfile knows the length; of the others it guesses."""

_SDS: Final = b"\xf0\x7e"  # rejected unopened: libsndfile's reader prints to standard output

_LFS_POINTER: Final = b"version https://git-lfs"


def read_blocks(
    source: Source, rate: int, *, name: str | None = None, max_seconds: float = MAX_SECONDS
) -> Iterator[Float32]:
    """Decode a sound block by block; memory does not grow with its length.

    Parameters
    ----------
    source : path or binary file object
        WAV, FLAC, Ogg Vorbis or Opus, MP3, whatever else libsndfile reads and, with the extra
        ``media``, M4A, WebM and others; 8 to 192 kHz, 1 to 8 channels. A file object is read from
        its start where it can seek, else to its end. It is left open.
    rate : int
        Rate wanted, in Hz.
    name : str, optional
        What errors call the sound; by default its path or the file object's name.
    max_seconds : float
        A longer sound is rejected as soon as that is known.

    Yields
    ------
    ndarray
        ``float32 (n,)``, mono (mean of the channels), finite, n > 0. Full scale is 1.0.

    For a file that ends before its sound does, the log (``ser_edge``) has a warning.

    Raises
    ------
    AudioError
        Missing, a folder, not readable, empty, not sound, cut off inside the header, damaged, no
        samples, NaN or infinite samples, unsupported rate or channel count.
    SoundTooLongError
        Longer than ``max_seconds``.

    Notes
    -----
    For a file that ends before its sound does, the log (``ser_edge``) has a warning.
    """
    name = name or source_name(source)
    with open_source(source, name) as file:
        samples = 0
        for stream in _decoded(file, name, max_seconds):
            for block in resampled(stream, rate, name):
                if block.size:
                    samples += block.size
                    if samples > max_seconds * rate:
                        raise SoundTooLongError(name, max_seconds)
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
    with open_source(source, name) as file:
        for stream in _decoded(file, name, MAX_SECONDS):
            blocks = list(checked(stream, name))
            if blocks:
                found.append(Stored(stream.rate, np.concatenate(blocks)))
    if not found:
        raise AudioError(name, "it has no samples")
    return found


class _Sound(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A sound that is read on, never sought: its stated length may be unknown or wrong."""

    def seekable(self) -> bool:
        return False


def _decoded(file: BinaryIO, name: str, max_seconds: float) -> Iterator[Stream]:
    """The sounds of a file, as a rule one."""
    try:
        plain = pcm_wav(file)
        parts = views(file) if plain is None else []
    except (OSError, ValueError) as error:
        raise AudioError(name, f"it cannot be read: {reason(error)}") from None
    if plain is not None:
        if plain.frames > max_seconds * plain.rate:
            raise SoundTooLongError(name, max_seconds)
        yield Stream(plain.rate, plain.channels, _pcm_blocks(plain, file, name), whole_numbers=True)
        return
    if len(parts) > MAX_SOUNDS:
        raise AudioError(name, f"{len(parts)} sounds glued together, allowed: {MAX_SOUNDS}")
    for number, view in enumerate(parts):
        if view.read(2) == _SDS:
            raise AudioError(name, f"it is SDS (Midi Sample Dump Standard), {READABLE}")
        view.seek(0)
        try:
            sound = _Sound(cast(BinaryIO, view))
        except (soundfile.LibsndfileError, RuntimeError, TypeError, ValueError, OSError) as error:
            if view.spent:
                raise AudioError(name, f"its header is damaged ({NO_SOUND})") from None
            if number > 0:
                raise AudioError(
                    name, f"it is damaged in its part {number + 1} ({clause(error)})"
                ) from None
            yield _without_libsndfile(file, name, error)
            return
        if sound.format not in _FORMATS:
            sound.close()
            raise AudioError(name, f"it is {sound.format_info}, {READABLE}")
        if sound.format in _EXACT and max_seconds * sound.samplerate < sound.frames < 2**40:
            sound.close()
            raise SoundTooLongError(name, max_seconds)  # at once, not after a day of it
        yield Stream(sound.samplerate, sound.channels, _sndfile_blocks(sound, view, name))


def _without_libsndfile(file: BinaryIO, name: str, error: Exception) -> Stream:
    container = container_of(file)
    if container is None:
        file.seek(0)
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:  # a clone of CREMA-D without git lfs
            raise AudioError(
                name, "it is a pointer of Git LFS, not the sound; `git lfs pull` fetches that"
            ) from None
        raise AudioError(name, f"it is not sound that can be read here, {READABLE}") from None
    if container.demuxer is not None:
        if media_installed():
            return decode_media(file, name, container)
        if container.name != "Ogg":
            raise AudioError(
                name, f"{container.name} needs the extra media: pip install 'ser-edge[media]'"
            ) from None
    raise AudioError(
        name,
        f"it is cut off or damaged inside its {container.name} header ({clause(error)})",
    ) from None


def _sndfile_blocks(sound: soundfile.SoundFile, view: View, name: str) -> Iterator[Float32]:
    done, most = 0, max(1, BLOCK_SAMPLES // sound.channels)
    exact, wanted = sound.format in _EXACT and 0 < sound.frames < 2**40, most
    with sound:
        while True:
            # What is requested beyond the end is filled with zeros: two megabytes of them took
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
                raise AudioError(name, f"{cause} ({clause(error)})") from None
            if view.failure is not None:
                raise AudioError(name, f"it cannot be read: {reason(view.failure)}") from None
            if view.spent:
                at = f"after {(done + len(block)) / sound.samplerate:.2f} s"
                raise AudioError(name, f"it is damaged {at} ({NO_SOUND})")
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
        yield from plain.blocks(file, max(1, BLOCK_SAMPLES // plain.channels))
    except (OSError, ValueError) as error:
        raise AudioError(name, f"it cannot be read: {reason(error)}") from None
