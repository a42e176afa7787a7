"""Events and answers for tests, and waiting for other threads."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_app import Event, Prediction, Segment
from ser_edge.emotions import EMOTIONS

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


def prediction(
    scores: dict[str, float], emotion: str, *segments: tuple[float, float, str]
) -> Prediction:
    """An answer with these scores, emotion and segments (start, end, emotion)."""
    every = {label: scores.get(label, 0.0) for label in EMOTIONS}
    parts = tuple(Segment(start, end, name, 0.5, every) for start, end, name in segments)
    seconds = parts[-1].end if parts else 3.0
    return Prediction(
        "clip.wav", emotion, max(every.values()), every, seconds, "CPU", "m", (), None, parts
    )


def until(true: Callable[[], bool]) -> None:
    """Wait until a condition holds that another thread changes."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, "waited for a minute"
        time.sleep(0.01)


def start(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Run code in a separate process, with ``open_sinks`` and the names of this module."""
    support = Path(__file__).resolve().parent
    head = (
        f"import sys; sys.path[:0] = [{str(support.parent.parent)!r}, {str(support)!r}]\n"
        "from edge_app.output.delivery import open_sinks; from events import *\n"
    )
    return subprocess.Popen(
        [sys.executable, "-c", head + code, *map(str, arguments)], text=True, **options
    )
