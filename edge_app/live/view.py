"""Terminal view of ``edge-app listen``: scores as bars, emotion, level, segments."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final, TextIO

from edge_app.formatting import bar, clock
from edge_app.live.session import WINDOW, Live
from edge_app.live.sources import InputStatus
from edge_app.results import SILENCE, Event
from edge_app.segmentation.segments import SEGMENT
from ser_edge.emotions import UNKNOWN

_SHOWN_SEGMENTS: Final = 6
_LEAST_BAR, _MOST_BAR = 8, 40
_LEVEL_DB: Final = 70.0  # the meter goes from -70 dB to full scale
_HIDE, _SHOW = "\x1b[?25l", "\x1b[?25h"
_BOLD, _DIM, _PLAIN = "\x1b[1m", "\x1b[2m", "\x1b[0m"
_CLEAR_DOWN: Final = "\x1b[J"
_UP: Final = "\x1b[{}F"


class LiveView:
    """A view that redraws itself twice a second. For terminals; :meth:`close` restores the cursor.

    Parameters
    ----------
    out : text stream
        The terminal.
    labels : sequence of str
    title : str
        Model and device.
    status : callable
        Returns the status of the source.
    environment : mapping
        ``NO_COLOR`` turns bold and dim off (no-color.org).
    """

    def __init__(
        self,
        out: TextIO,
        labels: tuple[str, ...],
        title: str,
        status: Callable[[], InputStatus],
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        self._out, self._labels, self._title = out, labels, title
        self._colour = not environment.get("NO_COLOR")
        self._window: Event | None = None
        self._segments: deque[Event] = deque(maxlen=_SHOWN_SEGMENTS)
        self._count = 0
        self._level = -_LEVEL_DB
        self._emotion: str | None = None
        self._seconds = 0.0
        self._drawn = 0
        self._status = status
        out.write(_HIDE)
        self._draw()

    def block(self, live: Live, level: float) -> None:
        """Update level, emotion and time after a block of audio."""
        self._level, self._emotion, self._seconds = level, live.emotion, live.seconds

    def event(self, event: Event) -> None:
        """Show an event; a window redraws the view."""
        if event.kind == SEGMENT and event.emotion != SILENCE:
            self._segments.append(event)
            self._count += 1
        if event.kind == WINDOW:
            self._window = event
            self._draw()

    def say(self, message: str) -> None:
        """Print a permanent line above the view."""
        self._erase()
        self._out.write(f"{message}\n")
        self._draw()

    def close(self) -> None:
        """Draw a last time and restore the cursor."""
        self._draw()
        self._out.write(_SHOW)
        self._out.flush()

    def lines(self, width: int) -> list[str]:
        """Lines of the view, at most ``width`` columns wide."""
        wide = max(map(len, (*self._labels, UNKNOWN)))
        bar_width = max(_LEAST_BAR, min(_MOST_BAR, width - wide - 10))
        silent = self._window is None or self._window.emotion == SILENCE
        scores = {} if silent or self._window is None else self._window.scores
        best = max(scores, key=lambda label: scores[label]) if scores else None
        rows = [self._dim(f"{self._title}, {self._state()}"[:width]), ""]
        for label in self._labels:
            score = scores.get(label, 0.0)
            text = f"{label:<{wide}}  {bar(score, bar_width)} {score:4.0%}"[:width]
            rows.append(self._bold(text) if label == best else text)
        share = max(0.0, min(1.0, 1.0 + self._level / _LEVEL_DB))
        rows += [f"{'level':<{wide}}  {bar(share, bar_width)} {self._level:4.0f} dB"[:width], ""]
        now = "waiting for sound" if self._window is None else self._emotion or "listening"
        rows.append(self._bold(f"{clock(self._seconds)}  {now}"[:width]))
        if self._segments:
            rows += ["", self._dim(f"segments so far: {self._count}"[:width])]
            rows += [
                f"{clock(one.start)} - {clock(one.end)}  {one.emotion:<{wide}} "
                f"{one.confidence:4.0%}"[:width]
                for one in self._segments
            ]
        return rows

    def _state(self) -> str:
        status = self._status()
        parts = [status.source, status.state]
        if status.overruns:
            parts.append(f"{status.overruns} overruns")
        if status.dropped:
            parts.append(f"{status.dropped:.1f} s dropped")
        return ", ".join(parts)

    def _draw(self) -> None:
        columns, rows = shutil.get_terminal_size()
        lines = self.lines(max(20, columns - 1))[: max(1, rows - 1)]
        self._erase()
        self._out.write("".join(f"{line}\n" for line in lines))
        self._out.flush()
        self._drawn = len(lines)

    def _erase(self) -> None:
        if self._drawn:
            self._out.write(_UP.format(self._drawn) + _CLEAR_DOWN)
        self._drawn = 0

    def _bold(self, text: str) -> str:
        return f"{_BOLD}{text}{_PLAIN}" if self._colour else text

    def _dim(self, text: str) -> str:
        return f"{_DIM}{text}{_PLAIN}" if self._colour else text
