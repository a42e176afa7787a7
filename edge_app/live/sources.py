"""Sources of live sound: what all of them give, and standard input as one.

A source gives :class:`Sound` and :class:`Lost` in turn. It reads in a thread of its own, so that a
slow moment of the program costs no sound; what is lost all the same is counted and reported.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy.typing as npt

from ser_edge.audio.base import AudioError
from ser_edge.audio.containers import container_of_bytes
from ser_edge.audio.wav import PcmFormat, is_wav, piped_wav

POLL_SECONDS: Final = 0.2
"""So soon a source notices that it should stop."""

STANDARD_INPUT_NAME: Final = "standard input"

_READ_BYTES: Final = 2**15
_QUEUED_BLOCKS: Final = 64  # then the writer has to wait


@dataclass(frozen=True)
class Sound:
    """``samples`` ``(n,)``, mono, ``int16`` or ``float32`` of full scale 1.0; ``rate`` in Hz."""

    samples: npt.NDArray[Any]
    rate: int


@dataclass(frozen=True)
class Lost:
    """Sound stops here for a while; what comes next does not continue it."""

    reason: str


Item: TypeAlias = "Sound | Lost"


@dataclass(frozen=True)
class InputStatus:
    """How a source is, for people and for ``/healthz``.

    Parameters
    ----------
    source : str
        Its name.
    state : {"waiting", "listening", "lost", "ended"}
        Not there yet; there; was there and is sought; over.
    rate : int or None
        Hz, once it is known.
    heard : float
        Seconds of sound that it gave.
    lost : int
        How often it vanished.
    overruns : int
        How often its driver said that sound came too fast to be taken.
    dropped : float
        Seconds that came while the program was too far behind.
    error : str or None
        What was wrong last; None while all is well.
    """

    source: str
    state: str = "waiting"
    rate: int | None = None
    heard: float = 0.0
    lost: int = 0
    overruns: int = 0
    dropped: float = 0.0
    error: str | None = None

    @property
    def ok(self) -> bool:
        return self.state == "listening"

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return {**asdict(self), "heard": round(self.heard, 3), "dropped": round(self.dropped, 3)}


class SoundInput(Protocol):
    """A source of live sound."""

    @property
    def status(self) -> InputStatus:
        """Its present state; any thread may read it."""

    def items(self, stop: threading.Event) -> Iterator[Item]:
        """Sound as it comes, until it ends or ``stop`` is set."""


# ------------------------------------------------------------------------------ standard input


class StandardInput:
    """Raw 16-bit little-endian PCM, or WAV, as it is piped in.

    A WAV is recognised by its first bytes and states its rate; a length in its header that is 0 or
    far too large, as pipes have, means that it lasts until it ends.

    Parameters
    ----------
    descriptor : int
        Of the file to read.
    rate : int or None
        Of raw sound, in Hz; None where it must be a WAV.
    channels : int
        Of raw sound.
    """

    def __init__(self, descriptor: int, rate: int | None = None, channels: int = 1) -> None:
        self._raw = None if rate is None else PcmFormat(rate, channels)
        self._descriptor = descriptor
        self._status = InputStatus(STANDARD_INPUT_NAME)
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUED_BLOCKS)
        self._failure: str | None = None

    @property
    def status(self) -> InputStatus:
        return self._status

    def items(self, stop: threading.Event) -> Iterator[Item]:
        """Sound as it comes.

        Raises
        ------
        AudioError
            It is neither a WAV nor, for want of a rate, raw sound; or it cannot be read.
        """
        # A daemon: nothing but the writer can end a read.
        threading.Thread(target=self._read, name="standard-input", daemon=True).start()
        data = self._data(stop)
        head = b""
        for chunk in data:
            head += chunk
            if len(head) >= 12:
                break
        found = self._format(head, data)
        if found is None:
            return
        form, rest, left = found
        self._set(state="listening", rate=form.rate)
        chunk, rest, frames = rest, b"", 0
        while not stop.is_set():
            if left is not None:
                chunk = chunk[:left]
                left -= len(chunk)
            rest += chunk
            whole = len(rest) - len(rest) % form.frame_bytes
            if whole:
                samples = form.mono(rest[:whole])
                frames += len(samples)
                self._set(heard=frames / form.rate)
                yield Sound(samples, form.rate)
            rest = rest[whole:]
            chunk = next(data, b"") if left is None or left > 0 else b""
            if not chunk:
                break
        self._set(state="ended")

    def _format(
        self, head: bytes, data: Iterator[bytes]
    ) -> tuple[PcmFormat, bytes, int | None] | None:
        """How the sound is stored, what of it is read already, and the bytes it has or None."""
        name = STANDARD_INPUT_NAME
        if not head:
            if self._raw is None:
                raise AudioError(name, "it is empty")
            return None
        if is_wav(head):
            return piped_wav(head, data, name)
        if self._raw is not None:
            return self._raw, head, None
        container = container_of_bytes(head)
        if container is not None:
            raise AudioError(
                name,
                f"it is {container.name}, allowed: WAV, or raw with --rate; "
                "put ffmpeg -i ... -f wav - before it",
            )
        raise AudioError(name, "it is no WAV; if it is raw 16-bit PCM, say so with --rate 16000")

    def _read(self) -> None:
        try:
            while chunk := os.read(self._descriptor, _READ_BYTES):
                self._queue.put(chunk)  # the writer waits while this does
        except OSError as error:
            self._failure = error.strerror or str(error)
        self._queue.put(None)

    def _data(self, stop: threading.Event) -> Iterator[bytes]:
        while not stop.is_set():
            try:
                chunk = self._queue.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if chunk is None:
                if self._failure is not None:
                    self._set(state="ended", error=self._failure)
                    raise AudioError(STANDARD_INPUT_NAME, f"it cannot be read: {self._failure}")
                return
            yield chunk

    def _set(self, **values: Any) -> None:
        self._status = InputStatus(**{**asdict(self._status), **values})


Say: TypeAlias = "Callable[[str], None]"
"""Where a source says what happens to it, one sentence each."""
