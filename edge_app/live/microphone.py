"""Microphones through PortAudio (sounddevice, the extra ``mic``), with reconnection.

The number of a USB microphone changes after a reboot or a loose plug. So a lost microphone is
searched for by its name until it is back, and every loss is reported.
"""

from __future__ import annotations

import queue
import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from edge_app.live.sources import POLL_SECONDS, InputStatus, Item, Lost, Say, Sound
from ser_edge.audio.base import MAX_RATE, MIN_RATE

BLOCK_SECONDS: Final = 0.1
QUEUE_SECONDS: Final = 30.0
"""Audio that may wait for the program before further audio is dropped."""

SILENT_DRIVER_SECONDS: Final = 3.0
"""A microphone without a block for this long is lost: drivers do not always report it."""

FIRST_DELAY: Final = 0.5
LAST_DELAY: Final = 30.0
"""Seconds between attempts: the delay doubles up to this."""

_CLOSE_SECONDS: Final = 1.0  # closing a removed device may hang
_ADDRESS: Final = re.compile(r"\s*\((?:plug)?hw:[^)]*\)\s*$")


class MicrophoneError(RuntimeError):
    """There is no microphone, none of that name, or it cannot be opened."""


@dataclass(frozen=True)
class Device:
    """A microphone in PortAudio's list; ``number`` is valid until the list is refreshed."""

    number: int
    name: str
    channels: int
    rate: int

    @property
    def plain_name(self) -> str:
        """The name without ALSA's address, which changes with the port."""
        return _ADDRESS.sub("", self.name)


def sounddevice() -> Any:
    """The module ``sounddevice``.

    Raises
    ------
    MicrophoneError
        It is not installed; the message says what to install.
    """
    try:
        import sounddevice as module
    except ImportError:
        raise MicrophoneError(
            "microphones need the extra mic: pip install 'ser-edge[mic]'; or pipe audio in: "
            "arecord -f S16_LE -r 16000 -t raw | edge-app listen - --rate 16000"
        ) from None
    except OSError as error:  # PortAudio itself
        raise MicrophoneError(
            f"PortAudio is not installed ({error}): sudo apt install libportaudio2"
        ) from None
    return module


def microphones(module: Any = None) -> tuple[Device, ...]:
    """The available microphones.

    Raises
    ------
    MicrophoneError
        sounddevice or PortAudio is missing or fails.
    """
    module = module or sounddevice()
    try:
        listed = list(module.query_devices())
    except Exception as error:  # PortAudioError; its module is imported lazily
        raise MicrophoneError(f"PortAudio cannot list microphones: {_clause(error)}") from None
    return tuple(
        Device(
            number, str(one["name"]), int(one["max_input_channels"]), int(one["default_samplerate"])
        )
        for number, one in enumerate(listed)
        if one["max_input_channels"] > 0
    )


def find(wanted: str | None, devices: tuple[Device, ...], default: int | None = None) -> Device:
    """A microphone by number, name or part of a name; None for the system's default.

    Raises
    ------
    MicrophoneError
        None or several match; the message lists the available ones.
    """
    available = "; ".join(f"{one.number}: {one.name}" for one in devices) or "none"
    if not devices:
        raise MicrophoneError("there is no microphone")
    if wanted is None:
        for one in devices:
            if one.number == default:
                return one
        return devices[0]
    if wanted.isdigit():
        for one in devices:
            if one.number == int(wanted):
                return one
        raise MicrophoneError(f"there is no microphone number {wanted}; available: {available}")
    low = wanted.lower()
    for matches in (
        [one for one in devices if one.name == wanted],
        [one for one in devices if one.plain_name.lower() == _ADDRESS.sub("", low)],
        [one for one in devices if low in one.name.lower()],
    ):
        if len({one.plain_name for one in matches}) == 1:
            return matches[0]  # of two of the same make, the first
        if matches:
            several = ", ".join(repr(one.name) for one in matches)
            raise MicrophoneError(f"microphone {wanted!r} is ambiguous, give more of it: {several}")
    raise MicrophoneError(f"there is no microphone {wanted!r}; available: {available}")


class Microphone:
    """One microphone that is reopened whenever it comes back.

    Parameters
    ----------
    wanted : str or None
        Number, name or part of a name; None for the system's default. A number is resolved to a
        name once.
    rate : int or None
        Sample rate in Hz; None for the microphone's default.
    say : callable
        Receives messages: lost, found again, too slow.
    module : module
        ``sounddevice``, or a stand-in.
    clock : callable
        Monotonic time in seconds.

    Raises
    ------
    MicrophoneError
        sounddevice is missing, or there is no microphone of that number. A microphone given by
        name may be connected later.
    ValueError
        The rate is out of range.
    """

    def __init__(
        self,
        wanted: str | None = None,
        rate: int | None = None,
        say: Say = lambda message: None,
        module: Any = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if rate is not None and not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(f"rate is {rate}, allowed: {MIN_RATE} to {MAX_RATE} Hz")
        self._module = module or sounddevice()
        self._say, self._clock = say, clock
        self._rate = rate
        self._wanted = wanted
        if wanted is not None and wanted.isdigit():
            self._wanted = find(wanted, microphones(self._module)).name
        self._status = InputStatus(self._wanted or "default microphone", rate=rate)
        # None marks dropped audio.
        self._queue: queue.Queue[npt.NDArray[np.int16] | None] = queue.Queue(
            round(QUEUE_SECONDS / BLOCK_SECONDS)
        )
        self._stream: Any = None
        self._received = 0
        self._lost_at: float | None = None
        self._overruns = 0  # these are set by PortAudio's thread
        self._dropped = 0
        self._dropping = False
        self._latest = 0.0
        self._say_overruns, self._say_dropped = 1, BLOCK_SECONDS / 2

    @property
    def status(self) -> InputStatus:
        return self._status

    def items(self, stop: threading.Event) -> Iterator[Item]:
        """Audio while the microphone works, :class:`Lost` at each gap; reconnects until stopped."""
        delay = FIRST_DELAY
        try:
            while not stop.is_set():
                try:
                    device = self._open()
                except MicrophoneError as error:
                    if str(error) != self._status.error or delay >= LAST_DELAY:
                        self._say(f"{error}; retrying every {LAST_DELAY:g} s or sooner")
                    self._set(error=str(error))
                else:
                    for item in self._listen(device, stop):
                        if isinstance(item, Sound):
                            delay = FIRST_DELAY
                        yield item
                if not stop.is_set():
                    stop.wait(delay)
                    delay = min(2 * delay, LAST_DELAY)
                    self._refresh_devices()
        finally:
            self._close()
            self._set(state="ended")

    def _listen(self, device: Device, stop: threading.Event) -> Iterator[Item]:
        """Audio of an open microphone until it is lost or stopped; closes it."""
        reason = ""
        while not stop.is_set() and not reason:
            try:
                samples = self._queue.get(timeout=POLL_SECONDS)
            except queue.Empty:
                reason = self._loss_reason()
                continue
            if self._status.state != "listening":
                if self._lost_at is not None:
                    seconds = self._clock() - self._lost_at
                    self._say(f"microphone found again: {device.name}, after {seconds:.1f} s")
                self._set(state="listening", error=None)
                self._lost_at = None
            if samples is None:
                yield Lost("the program was too slow")
                continue
            self._received += samples.size
            self._count()
            yield Sound(samples, self._rate or device.rate)
        self._close()
        if reason:
            self._lost_at = self._lost_at or self._clock()
            self._set(state="lost", lost=self._status.lost + 1, error=reason)
            self._say(f"microphone lost: {device.name}: {reason}; searching for it")
            yield Lost(reason)

    def _open(self) -> Device:
        default = None
        try:
            default = int(self._module.query_devices(kind="input")["index"])
        except Exception:  # there is no default device
            default = None
        device = find(self._wanted, microphones(self._module), default)
        rate = self._rate or min(max(device.rate, MIN_RATE), MAX_RATE)
        self._latest = self._clock()
        cause: Exception | None = None
        for channels in dict.fromkeys((1, min(2, device.channels), device.channels)):
            try:
                self._stream = self._module.InputStream(
                    device=device.number,
                    samplerate=rate,
                    channels=channels,
                    dtype="int16",
                    blocksize=round(rate * BLOCK_SECONDS),
                    callback=self._take,
                )
                self._stream.start()
            except Exception as error:  # PortAudioError: busy, removed, or wrong number of channels
                cause = error
                self._close()
                continue
            # Reconnect only to this microphone at this rate, which the session expects.
            self._wanted, self._rate = device.name if self._wanted else None, rate
            self._set(source=device.name, rate=rate)
            return device
        assert cause is not None
        raise MicrophoneError(f"microphone {device.name} cannot be opened: {_clause(cause)}")

    def _take(self, block: npt.NDArray[np.int16], frames: int, when: Any, flags: Any) -> None:
        """Callback in PortAudio's thread: must be quick and not raise."""
        self._latest = self._clock()
        if getattr(flags, "input_overflow", False):
            self._overruns += 1
        # A copy: PortAudio reuses the buffer.
        mono = block.mean(axis=1).astype(np.int16) if block.shape[1] > 1 else block[:, 0].copy()
        # After an overflow, one long stretch is dropped in place of many short ones.
        if self._dropping and self._queue.qsize() <= self._queue.maxsize // 2:
            self._dropping = False
            self._queue.put_nowait(None)
        if self._dropping or self._queue.full():
            self._dropping = True
            self._dropped += mono.size
        else:
            self._queue.put_nowait(mono)

    def _loss_reason(self) -> str:
        silence = self._clock() - self._latest
        if self._stream is not None and not self._stream.active:
            return "it stopped"
        return f"no audio for {silence:.0f} s" if silence > SILENT_DRIVER_SECONDS else ""

    def _count(self) -> None:
        rate = self._rate or 1
        dropped, overruns = self._dropped / rate, self._overruns
        # Reported again at twice the number, so that months of it do not fill a log.
        if overruns >= self._say_overruns:
            self._say(f"overrun: the driver lost audio ({overruns} times so far)")
            self._say_overruns = 2 * overruns
        if dropped >= self._say_dropped:
            self._say(f"too slow: {dropped:.1f} s of audio dropped so far")
            self._say_dropped = 2 * dropped
        self._set(heard=self._received / rate, overruns=overruns, dropped=dropped)

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return

        def close() -> None:
            try:
                stream.abort()
                stream.close()
            except Exception:  # the device is removed, so it is closed
                return

        closing = threading.Thread(target=close, name="close-microphone", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _refresh_devices(self) -> None:
        """Restart PortAudio, which lists the devices only once."""
        try:
            self._module._terminate()
            self._module._initialize()
        except Exception as error:
            self._set(error=f"PortAudio cannot be restarted: {_clause(error)}")

    def _set(self, **values: Any) -> None:
        self._status = InputStatus(**{**asdict(self._status), **values})


def _clause(error: Exception) -> str:
    """PortAudio's error message without its number."""
    text = str(error.args[0]) if error.args else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
