"""Delivers events to sinks, so that a slow or broken sink never blocks the audio loop."""

from __future__ import annotations

import re
import sys
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import Final, Protocol

from edge_app.output.files import AppendedFile, StandardOutput, TextSink
from edge_app.output.formats import FORMATS
from edge_app.results import EVENT_KINDS, Event

WAITING_LIMIT: Final = 10_000
"""Events kept for a failing sink: about 12 MB, 83 minutes of a window every 0.5 s."""

DELAYS: Final = (0.5, 5.0)
"""Seconds before a retry of a failed sink: the first delay, which doubles up to the second."""

_STUCK: Final = 10.0  # seconds that a sink may take for one event before it counts as failing
_IDLE_CHECK: Final = 1.0  # seconds between checks of a sink that has nothing to do
_REASONS: Final = 3  # messages in one outage: connection lost, then refused, ...
_REPEAT: Final = 600.0  # seconds between two messages about dropped events


class EventSink(Protocol):
    """Takes events one after the other, in a thread of its own.

    A sink may also have ``problem``, a str or None: what is wrong with it while no event is
    waiting (such as a lost connection).

    Attributes
    ----------
    name : str
        For health reports and messages; without passwords.
    """

    name: str

    def event(self, event: Event) -> None:
        """Write one event; may block.

        Raises
        ------
        OSError
            Temporary: the same event is passed again later.
        Exception
            Any other is permanent: the event is dropped and counted.
        """

    def close(self) -> None:
        """Release resources; called once, after the last event."""


@dataclass(frozen=True)
class SinkHealth:
    """State of a sink.

    Parameters
    ----------
    name : str
    ok : bool
        False while it fails.
    written, waiting, dropped : int
        Numbers of events. They are dropped when too many wait or when they cannot be written.
    error : str or None
        What is wrong; None if nothing is.
    """

    name: str
    ok: bool
    written: int
    waiting: int
    dropped: int
    error: str | None


class Delivery:
    """Passes events to sinks, with a thread and a bounded queue for each.

    A sink that fails is retried with the same event until it succeeds, so order is kept. When more
    events wait than the limit, the oldest are dropped, since the latest matter most.

    Parameters
    ----------
    sinks : iterable of (EventSink, kinds)
        Each sink with the kinds of events that it receives.
    limit : int
        Events that may wait for a sink, beside the one that it is writing.
    delays : (float, float)
        Seconds before a retry: the first delay, which doubles up to the second.
    log : function, optional
        Receives one line when a sink fails, works again or has lost events; by default written to
        standard error. Called from the sinks' threads, once an outage and not once an event.
    """

    def __init__(
        self,
        sinks: Iterable[tuple[EventSink, Collection[str]]],
        limit: int = WAITING_LIMIT,
        delays: tuple[float, float] = DELAYS,
        log: Callable[[str], None] | None = None,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit is {limit}, it must be 1 or more")
        self._workers = [
            _Worker(sink, frozenset(kinds), limit, delays, log or _log) for sink, kinds in sinks
        ]

    def event(self, event: Event) -> None:
        """Queue one event. Never blocks, never raises."""
        for worker in self._workers:
            worker.put(event)

    def close(self, timeout: float = 1.5) -> None:
        """Write waiting events and close the sinks, within ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.request_end(deadline)
        for worker in self._workers:
            worker.end(deadline)

    def health(self) -> tuple[SinkHealth, ...]:
        """State of each sink, in the order of the sinks."""
        return tuple(worker.health() for worker in self._workers)


class _Worker:
    """One sink, its thread and its queue."""

    def __init__(
        self,
        sink: EventSink,
        kinds: frozenset[str],
        limit: int,
        delays: tuple[float, float],
        log: Callable[[str], None],
    ) -> None:
        self._sink, self._kinds, self._limit, self._delays = sink, kinds, limit, delays
        self._log = log
        self._changed = Condition()  # guards the attributes below
        self._waiting: deque[Event] = deque()
        self._current: Event | None = None
        self._since: float | None = None  # when the sink was passed the current event
        self._written = self._dropped = 0
        self._error: str | None = None
        self._deadline: float | None = None  # for the end, once it was requested
        self._ended = False
        # Used by the thread alone:
        self._logged_errors: set[str] = set()  # of this outage
        self._logged_dropped = 0
        self._logged_at = -_REPEAT
        self._thread = Thread(target=self._run, name=f"sink {sink.name}", daemon=True)
        self._thread.start()

    def put(self, event: Event) -> None:
        if event.kind not in self._kinds:
            return
        with self._changed:
            if self._deadline is not None:
                self._dropped += 1
                return
            if len(self._waiting) >= self._limit:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(event)
            self._changed.notify()

    def health(self) -> SinkHealth:
        with self._changed:
            error = self._error or self._problem()
            if error is None and self._since is not None:
                seconds = time.monotonic() - self._since
                if seconds > _STUCK:
                    error = f"it has been writing one event for {seconds:.0f} s"
            waiting = len(self._waiting) + (self._current is not None)
            return SinkHealth(
                self._sink.name, error is None, self._written, waiting, self._dropped, error
            )

    def request_end(self, deadline: float) -> None:
        with self._changed:
            if self._deadline is None:
                self._deadline = deadline
            self._changed.notify()

    def end(self, deadline: float) -> None:
        self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            if self._ended:
                return
            self._ended = True
            # A sink that is stuck may still write the current event; it is counted as lost.
            lost = len(self._waiting) + (self._current is not None)
            self._waiting.clear()
            self._current = None
            self._dropped += lost
        if lost:
            self._log(f"{self._sink.name}: stopped with {_events(lost)} not written")

    def _run(self) -> None:
        delay = self._delays[0]
        while True:
            event = self._next()
            if event is None:
                break
            try:
                self._sink.event(event)
            except OSError as error:  # temporary
                self._failed(error)
                if not self._pause(delay):
                    break
                delay = min(2 * delay, self._delays[1])
            except Exception as error:  # permanent: continue with the next event
                self._rejected(error)
            else:
                delay = self._delays[0]
                self._succeeded()
        with suppress(Exception):
            self._sink.close()

    def _next(self) -> Event | None:
        """The current event, or the next; None when it is time to end."""
        while True:
            with self._changed:
                if self._late():
                    return None
                if self._current is None and self._waiting:
                    self._current = self._waiting.popleft()
                if self._current is not None:
                    self._since = time.monotonic()
                    return self._current
                if self._deadline is not None:
                    return None
                self._changed.wait(_IDLE_CHECK if hasattr(self._sink, "problem") else None)
                idle = self._current is None and not self._waiting and self._deadline is None
            if idle:
                self._report(self._error or self._problem())

    def _late(self) -> bool:
        return self._ended or (self._deadline is not None and time.monotonic() > self._deadline)

    def _pause(self, delay: float) -> bool:
        """Wait before a retry; False if the end was requested."""
        with self._changed:
            if self._deadline is not None:
                return False
            self._changed.wait_for(lambda: self._deadline is not None, delay)
            return True

    def _failed(self, error: OSError) -> None:
        with self._changed:
            self._since = None
            self._error = text = _text(error)
        self._report(text)

    def _rejected(self, error: Exception) -> None:
        with self._changed:
            self._since = self._current = None
            self._dropped += 1
            self._error = text = f"an event cannot be written: {_text(error)}"
        self._report(text)

    def _succeeded(self) -> None:
        with self._changed:
            self._since = None
            if not self._ended:  # otherwise the event was counted as lost
                self._current = None
                self._written += 1
            self._error = None
        self._report(None)

    def _report(self, error: str | None) -> None:
        """Log changes: the sink fails, works again, or has lost events."""
        with self._changed:
            if self._ended:  # the last message has been logged
                return
            name, dropped = self._sink.name, self._dropped
        if error is not None and error not in self._logged_errors:
            if not self._logged_errors:
                self._log(f"{name}: {error}; retrying, up to {_events(self._limit)} are kept")
            elif len(self._logged_errors) < _REASONS:
                self._log(f"{name}: {error}")
            if len(self._logged_errors) < _REASONS:
                self._logged_errors.add(error)
        new, now = dropped - self._logged_dropped, time.monotonic()
        recovered = error is None and bool(self._logged_errors)
        if new and (recovered or now - self._logged_at >= _REPEAT):
            self._logged_dropped, self._logged_at = dropped, now
            self._log(f"{name}: {_events(new)} dropped, {dropped} in all")
        if recovered:
            self._logged_errors.clear()
            self._logged_at = -_REPEAT
            self._log(f"{name}: works again")

    def _problem(self) -> str | None:
        problem = getattr(self._sink, "problem", None)
        return None if problem is None else str(problem)


def open_sinks(specs: Sequence[str], labels: Sequence[str], every: str = "segment") -> Delivery:
    """Open the sinks that a user names.

    Parameters
    ----------
    specs : sequence of str
        ``table``, ``jsonl``, ``csv``, ``audacity`` for standard output (one of them at most),
        ``jsonl:PATH`` and so on for a file, ``mqtt://[user@]host[:port]/prefix`` or ``mqtts://``
        (:class:`edge_app.output.mqtt.MqttAddress`).
    labels : sequence of str
        The model's, in their order.
    every : {"window", "segment", "change"}
        Kind of events that are written. MQTT also receives changes: they are the state that Home
        Assistant shows.

    Returns
    -------
    Delivery

    Raises
    ------
    ValueError
        A spec is wrong, a file cannot be written or paho-mqtt is missing; the message names the
        spec (without a password) and what is allowed.
    """
    if every not in EVENT_KINDS:
        raise ValueError(f"every is {every!r}, allowed: {', '.join(EVENT_KINDS)}")
    opened: list[tuple[EventSink, frozenset[str]]] = []
    try:
        for spec in specs:
            sink = _open(spec, labels, every)
            kinds = {every, "change"} if _is_mqtt(spec) else {every}
            if sink.name in [other.name for other, _ in opened]:
                sink.close()
                raise ValueError(f"two sinks write to {sink.name}")
            opened.append((sink, frozenset(kinds)))
    except ValueError:
        for sink, _ in opened:
            sink.close()
        raise
    return Delivery(opened)


def _open(spec: str, labels: Sequence[str], every: str) -> EventSink:
    if _is_mqtt(spec):
        from edge_app.output.mqtt import Mqtt, MqttAddress

        return Mqtt(MqttAddress.parse(spec), labels, every)
    kind, colon, path = spec.partition(":")
    if kind not in FORMATS or (colon and not path):
        forms = ", ".join(FORMATS)
        raise ValueError(
            f"there is no sink {_without_password(spec)!r}, allowed: {forms}, each also as "
            "FORMAT:PATH, mqtt://[user@]host[:port]/prefix, mqtts://..."
        )
    form = FORMATS[kind](labels)
    if not path:
        return TextSink("standard output", form, StandardOutput())
    try:
        file = Path(path).expanduser().absolute()
    except RuntimeError as error:  # ~user, and there is no such user
        raise ValueError(f"{path}: {error}") from None
    return TextSink(str(file), form, AppendedFile(file, form.events_header))


def _is_mqtt(spec: str) -> bool:
    return spec.partition(":")[0].lower() in ("mqtt", "mqtts")


def _without_password(spec: str) -> str:
    return re.sub(r"//.*@", "//...@", spec)


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _events(count: int) -> str:
    return f"{count} event" if count == 1 else f"{count} events"


def _log(message: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # closed, or the disk is full
            print(f"edge-app: {message}", file=sys.stderr, flush=True)
