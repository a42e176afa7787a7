"""Microphones by way of PortAudio (sounddevice, the extra ``mic``): found, lost, found again.

A USB microphone comes and goes, and its number with it: after a reboot or a loose plug the numbers
are others. So it is looked for by its name, again and again, and every loss is said.
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
"""So far behind the program may be before sound is dropped."""

SILENT_DRIVER_SECONDS: Final = 3.0
"""A microphone that gives no block for so long is lost: drivers do not always say so."""

FIRST_DELAY: Final = 0.5
LAST_DELAY: Final = 30.0
"""Seconds between tries: each twice the one before, up to this."""

_CLOSE_SECONDS: Final = 1.0  # closing a device that is gone may hang
_ADDRESS: Final = re.compile(r"\s*\((?:plug)?hw:[^)]*\)\s*$")


class MicrophoneError(RuntimeError):
    """No microphones at all here, none of that name, or one that cannot be opened."""


@dataclass(frozen=True)
class Device:
    """A microphone as PortAudio lists it now; ``number`` holds until the next look."""

    number: int
    name: str
    channels: int
    rate: int

    @property
    def plain_name(self) -> str:
        """The name without ALSA's address, which changes with the plug."""
        return _ADDRESS.sub("", self.name)


def sounddevice() -> Any:
    """The module, or a sentence that says what to install.

    Raises
    ------
    MicrophoneError
    """
    try:
        import sounddevice as module
    except ImportError:
        raise MicrophoneError(
            "microphones need the extra mic: pip install 'ser-edge[mic]'; or pipe sound in: "
            "arecord -f S16_LE -r 16000 -t raw | edge-app listen - --rate 16000"
        ) from None
    except OSError as error:  # the library behind it
        raise MicrophoneError(
            f"PortAudio is not installed ({error}): sudo apt install libportaudio2"
        ) from None
    return module


def microphones(module: Any = None) -> tuple[Device, ...]:
    """The microphones that there are now.

    Raises
    ------
    MicrophoneError
        No sounddevice, no PortAudio, or it fails.
    """
    module = module or sounddevice()
    try:
        listed = list(module.query_devices())
    except Exception as error:  # PortAudioError, of a module that is imported lazily
        raise MicrophoneError(f"PortAudio cannot list microphones: {_clause(error)}") from None
    return tuple(
        Device(
            number, str(one["name"]), int(one["max_input_channels"]), int(one["default_samplerate"])
        )
        for number, one in enumerate(listed)
        if one["max_input_channels"] > 0
    )


def find(wanted: str | None, devices: tuple[Device, ...], default: int | None = None) -> Device:
    """A microphone by number, name or part of a name; None for the system's own choice.

    Raises
    ------
    MicrophoneError
        None or several of them; the message names those that there are.
    """
    there = "; ".join(f"{one.number}: {one.name}" for one in devices) or "none"
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
        raise MicrophoneError(f"there is no microphone of number {wanted}; there are: {there}")
    low = wanted.lower()
    for matches in (
        [one for one in devices if one.name == wanted],
        [one for one in devices if one.plain_name.lower() == _ADDRESS.sub("", low)],
        [one for one in devices if low in one.name.lower()],
    ):
        if len({one.plain_name for one in matches}) == 1:
            return matches[0]  # of two of one make, the first
        if matches:
            several = ", ".join(repr(one.name) for one in matches)
            raise MicrophoneError(f"microphone {wanted!r} may be {several}: say more of its name")
    raise MicrophoneError(f"there is no microphone {wanted!r}; there are: {there}")


class Microphone:
    """One microphone, for months.

    Parameters
    ----------
    wanted : str or None
        Number, name or part of a name; None for the system's default. A number is looked up once,
        then the microphone is known by its name.
    rate : int or None
        Hz; None for the one the microphone prefers.
    say : callable
        Is told what happens: lost, found again, too slow.
    module : module
        ``sounddevice``, or something like it.
    clock : callable
        Seconds that only go up.

    Raises
    ------
    MicrophoneError
        No sounddevice, or no microphone of that number. One that has a name may come later.
    ValueError
        A rate that is not allowed.
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
        # None where sound had to be dropped.
        self._queue: queue.Queue[npt.NDArray[np.int16] | None] = queue.Queue(
            round(QUEUE_SECONDS / BLOCK_SECONDS)
        )
        self._stream: Any = None
        self._overruns = 0  # these are counted by the driver's thread
        self._dropped = 0
        self._dropping = False
        self._latest = 0.0
        self._say_overruns, self._say_dropped = 1, BLOCK_SECONDS / 2

    @property
    def status(self) -> InputStatus:
        return self._status

    def items(self, stop: threading.Event) -> Iterator[Item]:
        """Sound while there is some; :class:`Lost` where it breaks off; then sought again."""
        delay, gone = FIRST_DELAY, None
        heard = 0
        try:
            while not stop.is_set():
                try:
                    device = self._open()
                except MicrophoneError as error:
                    if str(error) != self._status.error or delay >= LAST_DELAY:
                        self._say(f"{error}; trying again every {LAST_DELAY:g} s or sooner")
                    self._set(error=str(error))
                    stop.wait(delay)
                    delay = min(2 * delay, LAST_DELAY)
                    self._look_again()
                    continue
                reason = ""
                while not stop.is_set() and not reason:
                    try:
                        samples = self._queue.get(timeout=POLL_SECONDS)
                    except queue.Empty:
                        reason = self._why_lost()
                        continue
                    if self._status.state != "listening":
                        if gone is not None:
                            away = self._clock() - gone
                            self._say(f"microphone found again: {device.name}, after {away:.1f} s")
                        self._set(state="listening", error=None)
                        delay, gone = FIRST_DELAY, None
                    if samples is None:
                        yield Lost("the program was too far behind")
                        continue
                    heard += samples.size
                    self._count(heard)
                    yield Sound(samples, self._rate or device.rate)
                self._close()
                if reason:
                    gone = gone or self._clock()
                    self._set(state="lost", lost=self._status.lost + 1, error=reason)
                    self._say(f"microphone lost: {device.name}: {reason}; looking for it")
                    yield Lost(reason)
                    stop.wait(delay)
                    delay = min(2 * delay, LAST_DELAY)
                    self._look_again()
        finally:
            self._close()
            self._set(state="ended")

    def _open(self) -> Device:
        default = None
        try:
            default = int(self._module.query_devices(kind="input")["index"])
        except Exception:  # there is no default, which is no error yet
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
            except Exception as error:  # PortAudioError: busy, gone, or not with these channels
                cause = error
                self._close()
                continue
            # From now on it is this one, at this rate: what listens to it has begun.
            self._wanted, self._rate = device.name if self._wanted else None, rate
            self._set(source=device.name, rate=rate)
            return device
        assert cause is not None
        raise MicrophoneError(f"microphone {device.name} cannot be opened: {_clause(cause)}")

    def _take(self, block: npt.NDArray[np.int16], frames: int, when: Any, flags: Any) -> None:
        """PortAudio's thread calls this: be quick, never raise."""
        self._latest = self._clock()
        if getattr(flags, "input_overflow", False):
            self._overruns += 1
        # A copy in any case: the buffer is PortAudio's.
        mono = block.mean(axis=1).astype(np.int16) if block.shape[1] > 1 else block[:, 0].copy()
        # Once too far behind, one long stretch is dropped, not a crumb here and there.
        if self._dropping and self._queue.qsize() <= self._queue.maxsize // 2:
            self._dropping = False
            self._queue.put_nowait(None)
        if self._dropping or self._queue.full():
            self._dropping = True
            self._dropped += mono.size
        else:
            self._queue.put_nowait(mono)

    def _why_lost(self) -> str:
        quiet = self._clock() - self._latest
        if self._stream is not None and not self._stream.active:
            return "it stopped"
        return f"no sound for {quiet:.0f} s" if quiet > SILENT_DRIVER_SECONDS else ""

    def _count(self, heard: int) -> None:
        rate = self._rate or 1
        dropped, overruns = self._dropped / rate, self._overruns
        # Twice as many until it is said again: months of it must not fill a log.
        if overruns >= self._say_overruns:
            self._say(f"overrun: the driver lost sound ({overruns} times so far)")
            self._say_overruns = 2 * overruns
        if dropped >= self._say_dropped:
            self._say(f"too slow: {dropped:.1f} s of sound dropped so far")
            self._say_dropped = 2 * dropped
        self._set(heard=heard / rate, overruns=overruns, dropped=dropped)

    def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is None:
            return

        def close() -> None:
            try:
                stream.abort()
                stream.close()
            except Exception:  # it is gone; what we wanted
                return

        closing = threading.Thread(target=close, name="close-microphone", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)

    def _look_again(self) -> None:
        """PortAudio lists devices once; only its restart sees those that came or went."""
        try:
            self._module._terminate()
            self._module._initialize()
        except Exception as error:
            self._set(error=f"PortAudio cannot be restarted: {_clause(error)}")

    def _set(self, **values: Any) -> None:
        self._status = InputStatus(**{**asdict(self._status), **values})


def _clause(error: Exception) -> str:
    """PortAudio's message without its number."""
    text = str(error.args[0]) if error.args else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
