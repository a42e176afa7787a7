"""Events as a listener gives them, and waiting for what another thread does."""

from __future__ import annotations

import time
from collections.abc import Callable

from edge_app import Event

LABELS = ("calm", "angry", "sad")


def event(number: int = 0, kind: str = "segment", **values: object) -> Event:
    """An event that starts at ``number`` seconds."""
    fields = {
        "kind": kind, "start": float(number), "end": number + 2.5,
        "time": "2026-11-21T16:02:11.250+01:00", "emotion": "angry", "confidence": 0.625,
        "scores": {"calm": 0.25, "angry": 0.625, "sad": 0.125},
        "source": "USB mic", "device": "CPU", "model": "compact",
    } | values  # fmt: skip
    return Event(**fields)  # type: ignore[arg-type]


def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens in another thread."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.01)
