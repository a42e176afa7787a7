"""A source of sound -> events, until it ends or is stopped: what ``edge-app listen`` runs."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from edge_app.classifier import Classifier
from edge_app.live.session import Live, LiveSettings
from edge_app.live.sources import Item, Lost, SoundInput
from edge_app.results import Event

_FLOOR_DB: Final = -120.0


class Watcher(Protocol):
    """Observes the blocks and events: the live view."""

    def block(self, live: Live, level: float) -> None:
        """A block of sound came; ``level`` is its RMS in dB re full scale."""

    def event(self, event: Event) -> None:
        """An event was delivered."""


def listen(
    classifier: Classifier,
    source: SoundInput,
    deliver: Callable[[Event], None],
    stop: threading.Event,
    settings: LiveSettings | None = None,
    name: str | None = None,
    watcher: Watcher | None = None,
) -> None:
    """Listen until the source ends or ``stop`` is set; the open segment is closed in any case.

    Parameters
    ----------
    classifier : Classifier
    source : SoundInput
    deliver : callable
        Takes each event; should neither block nor raise.
    stop : threading.Event
    settings : LiveSettings, optional
    name : str, optional
        What the events call the source; by default its own name.
    watcher : Watcher, optional

    Raises
    ------
    AudioError, DeviceError
        The sound or the device failed; what was open has been closed and delivered.
    """
    live: Live | None = None

    def deliver_all(events: list[Event]) -> None:
        for event in events:
            deliver(event)
            if watcher is not None:
                watcher.event(event)

    items: Iterator[Item] = source.items(stop)
    try:
        for item in items:
            if isinstance(item, Lost):
                if live is not None:
                    deliver_all(live.finish())
                continue
            if live is None:
                live = Live(
                    classifier, item.rate, name or source.status.source, settings or LiveSettings()
                )
            elif item.rate != live.rate:
                raise ValueError(f"the rate changed from {live.rate} to {item.rate} Hz")
            deliver_all(live.feed(item.samples))
            if watcher is not None:
                watcher.block(live, level_of(item.samples))
    finally:
        if live is not None:
            deliver_all(live.finish())


def level_of(samples: npt.NDArray[Any]) -> float:
    """RMS of a block in dB re full scale, -120 at the least."""
    if not samples.size:
        return _FLOOR_DB
    scale = -float(np.iinfo(samples.dtype).min) if samples.dtype.kind == "i" else 1.0
    power = float(np.mean(np.square(samples.astype(np.float64) / scale)))
    return max(_FLOOR_DB, 10.0 * math.log10(max(power, 1e-20)))


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """Within the block SIGTERM and SIGINT set ``stop``; a second one ends the program at once."""
    before: dict[signal.Signals, Any] = {}

    def ask(number: int, frame: FrameType | None) -> None:
        stop.set()
        for each, handler in before.items():
            signal.signal(each, handler)

    for number in (signal.SIGTERM, signal.SIGINT):
        before[number] = signal.signal(number, ask)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
