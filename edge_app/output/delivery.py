"""Events -> sinks, without a slow or broken sink ever holding up who listens."""

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

from edge_app.output.event_formats import LINE_FORMATS
from edge_app.output.files import LineFile, LineSink, StandardOutput
from edge_app.results import Event

KINDS: Final = ("window", "segment", "change")
"""What ``every`` may be: the kinds of an :class:`~edge_app.results.Event`."""

WAITING_LIMIT: Final = 10_000
"""Events that are kept for a sink that fails: about 12 MB, 83 minutes of windows every 0.5 s."""

DELAYS: Final = (0.5, 5.0)
"""Seconds until a sink that failed is tried again, at first and at most; doubled in between."""

_STUCK: Final = 10.0  # seconds in one event after which a sink is no longer called well
_GLANCE: Final = 1.0  # seconds between looks at a sink that has nothing to do
_REASONS: Final = 3  # that are told in one outage: lost, then refused, ...
_REPEAT: Final = 600.0  # seconds between two messages that events were dropped


class EventSink(Protocol):
    """Takes events one after the other, in a thread of its own.

    A sink may also have ``problem``, a str or None: what is wrong with it while nothing waits to be
    written (a broker that is away).

    Attributes
    ----------
    name : str
        How health and messages call it; without passwords.
    """

    name: str

    def event(self, event: Event) -> None:
        """Take one event for good; it may block.

        Raises
        ------
        OSError
            Not now: the same event is given again later.
        Exception
            Any other: never; the event is dropped and counted.
        """

    def close(self) -> None:
        """Finish; called once, after the last event."""


@dataclass(frozen=True)
class SinkHealth:
    """How a sink does.

    Parameters
    ----------
    name : str
    ok : bool
        False while it fails.
    written, waiting, dropped : int
        Events: taken, still to be taken, and lost because too many waited or it could not
        write them.
    error : str or None
        What is wrong, None where it is well.
    """

    name: str
    ok: bool
    written: int
    waiting: int
    dropped: int
    error: str | None


class Delivery:
    """Hands events to sinks: a thread and a bounded buffer for each.

    A sink that fails is tried again with the same event until it takes it, so order is kept. Where
    more events wait than the limit, the oldest are dropped: for who looks at it later, the latest
    count most.

    Parameters
    ----------
    sinks : iterable of (EventSink, kinds)
        Each with the kinds of events that it is given.
    limit : int
        Events that are kept for a sink, beside the one that it has in hand.
    delays : (float, float)
        Seconds until a sink that failed is tried again, at first and at most.
    say : function, optional
        Where it is told, in a line, that a sink fails, is well again or lost events; standard error
        without it. Called from the sinks' threads, once an outage and not once an event.
    """

    def __init__(
        self,
        sinks: Iterable[tuple[EventSink, Collection[str]]],
        limit: int = WAITING_LIMIT,
        delays: tuple[float, float] = DELAYS,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if limit < 1:
            raise ValueError(f"limit is {limit}, it must be 1 or more")
        self._workers = [
            _Worker(sink, frozenset(kinds), limit, delays, say or _say) for sink, kinds in sinks
        ]

    def event(self, event: Event) -> None:
        """Hand on one event. Never blocks, never raises."""
        for worker in self._workers:
            worker.put(event)

    def close(self, timeout: float = 1.5) -> None:
        """Write what waits and close the sinks, as far as that can be done in ``timeout`` s."""
        deadline = time.monotonic() + timeout
        for worker in self._workers:
            worker.ask_to_end(deadline)
        for worker in self._workers:
            worker.end(deadline)

    def health(self) -> tuple[SinkHealth, ...]:
        """How each sink does, in the order of the sinks."""
        return tuple(worker.health() for worker in self._workers)


class _Worker:
    """One sink, its thread and what waits for it."""

    def __init__(
        self,
        sink: EventSink,
        kinds: frozenset[str],
        limit: int,
        delays: tuple[float, float],
        say: Callable[[str], None],
    ) -> None:
        self._sink, self._kinds, self._limit, self._delays = sink, kinds, limit, delays
        self._say = say
        self._changed = Condition()  # guards all that follows
        self._waiting: deque[Event] = deque()
        self._in_hand: Event | None = None
        self._since: float | None = None  # when the sink was given it
        self._written = self._dropped = 0
        self._error: str | None = None
        self._deadline: float | None = None  # when to end, once that was asked
        self._ended = False
        # Only the thread's own:
        self._told_errors: set[str] = set()  # of this outage
        self._told_dropped = 0
        self._told_at = -_REPEAT
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
                    error = f"it has not taken an event for {seconds:.0f} s"
            waiting = len(self._waiting) + (self._in_hand is not None)
            return SinkHealth(
                self._sink.name, error is None, self._written, waiting, self._dropped, error
            )

    def ask_to_end(self, deadline: float) -> None:
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
            # In hand of a sink that is stuck: it may get there yet, but nobody will know.
            lost = len(self._waiting) + (self._in_hand is not None)
            self._waiting.clear()
            self._in_hand = None
            self._dropped += lost
        if lost:
            self._say(f"{self._sink.name}: ended with {_events(lost)} not written")

    def _run(self) -> None:
        delay = self._delays[0]
        while True:
            event = self._next()
            if event is None:
                break
            try:
                self._sink.event(event)
            except OSError as error:  # later perhaps
                self._failed(error)
                if not self._pause(delay):
                    break
                delay = min(2 * delay, self._delays[1])
            except Exception as error:  # never: do not let it stop those behind it
                self._refused(error)
            else:
                delay = self._delays[0]
                self._succeeded()
        with suppress(Exception):
            self._sink.close()

    def _next(self) -> Event | None:
        """The event in hand, or the next; None when it is time to end."""
        while True:
            with self._changed:
                if self._late():
                    return None
                if self._in_hand is None and self._waiting:
                    self._in_hand = self._waiting.popleft()
                if self._in_hand is not None:
                    self._since = time.monotonic()
                    return self._in_hand
                if self._deadline is not None:
                    return None
                self._changed.wait(_GLANCE if hasattr(self._sink, "problem") else None)
                idle = self._in_hand is None and not self._waiting and self._deadline is None
            if idle:
                self._tell(self._error or self._problem())

    def _late(self) -> bool:
        return self._ended or (self._deadline is not None and time.monotonic() > self._deadline)

    def _pause(self, delay: float) -> bool:
        """Wait before another attempt; False where there will be none."""
        with self._changed:
            if self._deadline is not None:
                return False
            self._changed.wait_for(lambda: self._deadline is not None, delay)
            return True

    def _failed(self, error: OSError) -> None:
        with self._changed:
            self._since = None
            self._error = text = _text(error)
        self._tell(text)

    def _refused(self, error: Exception) -> None:
        with self._changed:
            self._since = self._in_hand = None
            self._dropped += 1
            self._error = text = f"an event cannot be written: {_text(error)}"
        self._tell(text)

    def _succeeded(self) -> None:
        with self._changed:
            self._since = None
            if not self._ended:  # else it was counted as lost
                self._in_hand = None
                self._written += 1
            self._error = None
        self._tell(None)

    def _tell(self, error: str | None) -> None:
        """Say what is new: it fails, it is well again, it lost events."""
        with self._changed:
            if self._ended:  # all has been said
                return
            name, dropped = self._sink.name, self._dropped
        if error is not None and error not in self._told_errors:
            if not self._told_errors:
                self._say(f"{name}: {error}; trying again, up to {_events(self._limit)} are kept")
            elif len(self._told_errors) < _REASONS:
                self._say(f"{name}: {error}")
            if len(self._told_errors) < _REASONS:
                self._told_errors.add(error)
        new, now = dropped - self._told_dropped, time.monotonic()
        recovered = error is None and bool(self._told_errors)
        if new and (recovered or now - self._told_at >= _REPEAT):
            self._told_dropped, self._told_at = dropped, now
            self._say(f"{name}: {_events(new)} dropped, {dropped} in all")
        if recovered:
            self._told_errors.clear()
            self._told_at = -_REPEAT
            self._say(f"{name}: well again")

    def _problem(self) -> str | None:
        problem = getattr(self._sink, "problem", None)
        return None if problem is None else str(problem)


def open_sinks(specs: Sequence[str], labels: Sequence[str], every: str = "segment") -> Delivery:
    """Sinks as a user names them.

    Parameters
    ----------
    specs : sequence of str
        ``table``, ``jsonl``, ``csv``, ``audacity`` for standard output (one of them at most),
        ``jsonl:PATH`` and so on for a file, ``mqtt://[user@]host[:port]/prefix`` or ``mqtts://``
        (:class:`edge_app.output.mqtt.MqttAddress`).
    labels : sequence of str
        The model's, in their order.
    every : {"window", "segment", "change"}
        Which events are written. MQTT is given changes as well: they are the state that Home
        Assistant shows.

    Returns
    -------
    Delivery

    Raises
    ------
    ValueError
        A wrong spec, a file that cannot be written, paho-mqtt missing; the message names the spec
        (without a password) and what is allowed.
    """
    if every not in KINDS:
        raise ValueError(f"every is {every!r}, allowed: {', '.join(KINDS)}")
    opened: list[tuple[EventSink, frozenset[str]]] = []
    try:
        for spec in specs:
            sink = _open(spec, labels, every)
            kinds = {every, "change"} if _is_mqtt(spec) else {every}
            if sink.name in [other.name for other, _ in opened]:
                sink.close()
                raise ValueError(f"two sinks go to {sink.name}")
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
    if kind not in LINE_FORMATS or (colon and not path):
        forms = ", ".join(LINE_FORMATS)
        raise ValueError(
            f"there is no sink {_without_password(spec)!r}, allowed: {forms}, each also as "
            "FORMAT:PATH, mqtt://[user@]host[:port]/prefix, mqtts://..."
        )
    form = LINE_FORMATS[kind](labels)
    if not path:
        return LineSink("standard output", form, StandardOutput())
    try:
        file = Path(path).expanduser().absolute()
    except RuntimeError as error:  # ~somebody who is not there
        raise ValueError(f"{path}: {error}") from None
    return LineSink(str(file), form, LineFile(file, form.header))


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


def _say(message: str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # closed or full: there is nobody to tell
            print(f"edge-app: {message}", file=sys.stderr, flush=True)
