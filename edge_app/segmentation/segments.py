"""Windows and spans of speech -> segments: "angry from 3.2 to 8.4 s", not ten windows.

In the style of silero-vad: hysteresis, a minimum duration, an explicit reset. One implementation
serves files (:func:`segments_of`) and streams (:class:`Timeline`), so both give the same.

Time is cut into silence and stretches of speech by :mod:`edge_app.segmentation.vad`, which is
exact to a tenth of a second. Within a stretch the windows' scores are smoothed; another emotion
takes over when it is better by a margin for a minimum duration. It then begins at the middle of
the first window in which it was: a window of 5 s describes its middle, not its end.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_app.results import SILENCE, Segment, WindowPrediction
from edge_app.segmentation.vad import SpeechSpan
from ser_edge.emotions import UNKNOWN

SEGMENT: Final = "segment"
CHANGE: Final = "change"

LAG: Final = 0.25
"""Delay of the VAD in seconds: a window covers the speech up to so long before its end, in files as
in streams."""


@dataclass(frozen=True)
class TimelineSettings:
    """How windows become segments.

    Parameters
    ----------
    smoothing : float
        Time constant of the scores' exponential mean in seconds; 0 (none) to 30.
    margin : float
        How much higher another emotion's smoothed score must be; 0 to 1.
    min_duration : float
        Seconds that it must be so; 0 to 30.
    min_speech : float
        A window with less speech than so many seconds does not vote; 0 to 5.

    Raises
    ------
    ValueError
        If a value is out of range; the message names it and what is allowed.
    """

    smoothing: float = 1.0
    margin: float = 0.05
    min_duration: float = 1.0
    min_speech: float = 0.5

    def __post_init__(self) -> None:
        for name, high in (
            ("smoothing", 30.0),
            ("margin", 1.0),
            ("min_duration", 30.0),
            ("min_speech", 5.0),
        ):
            value = getattr(self, name)
            if not 0 <= value <= high:
                raise ValueError(f"{name} is {value:g}, allowed: 0 to {high:g}")


@dataclass(frozen=True)
class Turn:
    """A segment that has ended, or a change of emotion.

    ``kind`` is "segment" (one has ended) or "change" (another emotion has begun: the segment's
    ``start`` is when, its ``end`` is when it became certain).
    """

    kind: str
    segment: Segment


@dataclass
class _Sums:
    """Scores of windows, weighted by the seconds that they cover."""

    scores: npt.NDArray[np.float64]
    seconds: float = 0.0

    def add(self, scores: npt.NDArray[np.float64], seconds: float) -> None:
        self.scores += seconds * scores
        self.seconds += seconds

    def mean(self) -> npt.NDArray[np.float64]:
        if self.seconds <= 0:
            return np.full(self.scores.size, 1.0 / self.scores.size)
        return self.scores / self.seconds


@dataclass
class _Open:
    """The segment that has not ended. ``label`` is None until it is certain.

    ``wanted`` is what may take over: for so many seconds, from there on, with these sums ``since``.
    """

    start: float
    label: str | None
    sums: _Sums
    since: _Sums
    smoothed: npt.NDArray[np.float64] | None = None
    unsure: float = 0.0
    wanted: str | None = None
    wanted_for: float = 0.0
    wanted_from: float = 0.0


class Timeline:
    """Windows of a stream, one by one -> segments as they end.

    Parameters
    ----------
    labels : sequence of str
        Of the windows' scores.
    settings : TimelineSettings
    start : float
        Seconds; where it begins.

    Attributes
    ----------
    emotion : str or None
        Of the latest window; "silence" where nobody speaks; None where it is not certain yet.
    """

    def __init__(
        self,
        labels: Sequence[str],
        settings: TimelineSettings = TimelineSettings(),
        start: float = 0.0,
    ) -> None:
        if not labels:
            raise ValueError("labels are none, there should be at least one")
        self.labels = tuple(labels)
        self.settings = settings
        self.reset(start)

    def reset(self, start: float = 0.0) -> None:
        """Forget everything; time begins at ``start``."""
        self._windows: deque[WindowPrediction] = deque()
        self._speech: deque[SpeechSpan] = deque()
        self._at = start  # decided up to here
        self._announced: str | None = None
        self._begin(start, SILENCE)

    def feed(
        self,
        window: WindowPrediction | None,
        speech: Iterable[SpeechSpan] = (),
        until: float = math.inf,
    ) -> list[Turn]:
        """Take one more window, and what is newly known of speech.

        Parameters
        ----------
        window : WindowPrediction or None
            The next one; later than all before.
        speech : iterable of SpeechSpan
            In their order; they may touch.
        until : float
            Seconds up to which all speech is known.

        Returns
        -------
        list of Turn
        """
        for span in speech:
            if self._speech and span.start <= self._speech[-1].end:
                last = self._speech.pop()
                span = SpeechSpan(last.start, max(last.end, span.end))
            self._speech.append(span)
        if window is not None:
            self._windows.append(window)
        turns: list[Turn] = []
        while self._windows and self._windows[0].end - LAG <= until:
            head = self._windows.popleft()
            turns += self._advance(head, head.end - LAG)
            while self._speech and self._speech[0].end < head.start:
                self._speech.popleft()
        return turns

    def finish(self, end: float) -> list[Turn]:
        """The sound ends here: close the open segment. :meth:`reset` begins another sound."""
        turns = self.feed(None)
        turns += self._advance(None, end)
        turns += self._close(end)
        return turns

    @property
    def emotion(self) -> str | None:
        return self._open.label

    # ----------------------------------------------------------------------------- one window

    def _advance(self, window: WindowPrediction | None, end: float) -> list[Turn]:
        """Decide the time up to ``end``, which ``window`` covers."""
        if end <= self._at:
            return []
        start, self._at = self._at, end
        now = end if window is None else window.end
        parts = [
            (max(span.start, start), min(span.end, end))
            for span in self._speech
            if span.start < end and span.end > start
        ]
        turns: list[Turn] = []
        done = start
        for begin, stop in parts:
            if begin > done:
                turns += self._be_silent(done, now)
            if self._open.label == SILENCE:
                turns += self._close(begin)
                self._begin(begin, None)
            if window is not None:
                turns += self._vote(window, stop - begin)
            done = stop
        if end > done:
            turns += self._be_silent(done, now)
        return turns

    def _be_silent(self, start: float, now: float) -> list[Turn]:
        turns: list[Turn] = []
        if self._open.label != SILENCE:
            turns = self._close(start)
            self._begin(start, SILENCE)
        return turns + self._announce(now)

    def _vote(self, window: WindowPrediction, seconds: float) -> list[Turn]:
        """A window covers so many seconds of the open stretch of speech."""
        if window.emotion == SILENCE:  # the network did not run
            return []
        scores = np.array([window.scores[label] for label in self.labels])
        self._open.sums.add(scores, seconds)
        self._open.since.add(scores, seconds)
        spoken = sum(
            max(0.0, min(span.end, window.end - LAG) - max(span.start, window.start))
            for span in self._speech
        )
        if spoken < self.settings.min_speech:
            return []
        unsure = 1.0 if window.emotion == UNKNOWN else 0.0
        if self._open.smoothed is None:
            self._open.smoothed, self._open.unsure = scores, unsure
        else:
            time = self.settings.smoothing
            share = 1.0 if time == 0 else 1.0 - math.exp(-seconds / time)
            self._open.smoothed = self._open.smoothed + share * (scores - self._open.smoothed)
            self._open.unsure += share * (unsure - self._open.unsure)
        candidate = self._candidate()
        if candidate == self._open.label:
            self._open.wanted = None
            return []
        if candidate != self._open.wanted:
            self._open.wanted, self._open.wanted_for = candidate, 0.0
            self._open.wanted_from = (window.start + window.end) / 2
            self._open.since = _Sums(seconds * scores, seconds)
        self._open.wanted_for += seconds
        # To the millisecond, so that ten hops of 0.1 s are a second.
        if round(self._open.wanted_for, 3) < self.settings.min_duration:
            return []
        return self._take_over(window.end)

    def _candidate(self) -> str:
        """What the smoothed windows say, with hysteresis."""
        assert self._open.smoothed is not None
        margin = self.settings.margin
        known = self._open.label not in (None, UNKNOWN)
        bound = 0.5
        if self._open.label is not None:
            bound += margin if known else -margin
        if self._open.unsure > bound:
            return UNKNOWN
        best = int(self._open.smoothed.argmax())
        if known:
            label = str(self._open.label)
            if self._open.smoothed[self.labels.index(label)] >= self._open.smoothed[best] - margin:
                return label
        return self.labels[best]

    def _take_over(self, now: float) -> list[Turn]:
        assert self._open.wanted is not None
        turns: list[Turn] = []
        before = self._open.wanted_from - self._open.start
        if self._open.label is None or before <= 0 or before < self.settings.min_duration:
            # It was so from the beginning of the speech: an early mistake leaves no fragment.
            self._open.label = self._open.wanted
        else:
            since, label = self._open.since, self._open.wanted
            self._open.sums.scores -= since.scores
            self._open.sums.seconds -= since.seconds
            begin = min(self._open.wanted_from, self._at)
            turns = self._close(begin)
            smoothed, unsure = self._open.smoothed, self._open.unsure
            self._begin(begin, label)
            self._open.sums, self._open.smoothed, self._open.unsure = since, smoothed, unsure
        self._open.wanted = None
        return turns + self._announce(now)

    # ---------------------------------------------------------------------------- one segment

    def _begin(self, start: float, label: str | None) -> None:
        size = len(self.labels)
        self._open = _Open(start, label, _Sums(np.zeros(size)), _Sums(np.zeros(size)))

    def _close(self, end: float) -> list[Turn]:
        """End the open segment."""
        if end <= self._open.start:
            return []
        turns: list[Turn] = []
        if self._open.label is None:  # too short to be certain: the latest candidate counts
            self._open.label = UNKNOWN if self._open.wanted is None else self._open.wanted
            turns = self._announce(end)
        return [*turns, Turn(SEGMENT, self._segment(end))]

    def _announce(self, now: float) -> list[Turn]:
        if self._open.label == self._announced:
            return []
        self._announced = self._open.label
        return [Turn(CHANGE, self._segment(now))]

    def _segment(self, end: float) -> Segment:
        assert self._open.label is not None
        scores = self._open.sums.mean()
        return Segment(
            float(self._open.start),
            float(end),
            self._open.label,
            float(scores.max()),
            dict(zip(self.labels, scores.tolist(), strict=True)),
        )


def segments_of(
    windows: Sequence[WindowPrediction],
    speech: Sequence[SpeechSpan],
    settings: TimelineSettings = TimelineSettings(),
    duration: float | None = None,
) -> tuple[Segment, ...]:
    """The segments of a whole sound.

    Parameters
    ----------
    windows : sequence of WindowPrediction
        In their order.
    speech : sequence of SpeechSpan
        In their order (:func:`edge_app.segmentation.vad.speech_of`).
    settings : TimelineSettings
    duration : float, optional
        Seconds; by default the end of the last window.

    Returns
    -------
    tuple of Segment
        From 0 to the end without a gap: emotions, "unknown" and "silence". Empty where there is no
        window.
    """
    if not windows:
        return ()
    timeline = Timeline(tuple(windows[0].scores), settings)
    turns: list[Turn] = []
    fed = 0
    for window in windows:
        # Only the speech that it can see: a window looks at all that the timeline holds.
        first = fed
        while fed < len(speech) and speech[fed].start < window.end:
            fed += 1
        turns += timeline.feed(window, speech[first:fed])
    turns += timeline.feed(None, speech[fed:])
    turns += timeline.finish(windows[-1].end if duration is None else duration)
    return tuple(turn.segment for turn in turns if turn.kind == SEGMENT)
