"""A stream of sound -> events: windows every hop, changes once they are certain, ended segments."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

import numpy.typing as npt

from edge_app.classifier import Classifier
from edge_app.results import SILENCE, Event, Segment, WindowPrediction
from edge_app.segmentation.segments import Timeline, TimelineSettings, Turn
from edge_app.segmentation.vad import SpeechSpan, VADSettings, VoiceActivityDetector
from ser_edge.audio.base import MAX_RATE, MIN_RATE
from ser_edge.audio.resample import Resampler, live_block
from ser_edge.mel.image import UInt8
from ser_edge.mel.streaming import MelWindow, MelWindower

WINDOW: Final = "window"

SHORTEST_SECONDS: Final = 1.0
"""A stream that has just begun is a short clip; what is shorter than this gets no answer."""


def _now() -> datetime:
    return datetime.now().astimezone()


@dataclass(frozen=True)
class LiveSettings:
    """How a stream is analysed.

    Parameters
    ----------
    hop : float
        Seconds from window to window: whole frames, at most a window (checked by :class:`Live`,
        which knows the model's frames).
    timeline : TimelineSettings
        Smoothing, hysteresis, minimum duration.
    vad : VADSettings
        What counts as speech.
    """

    hop: float = 0.5
    timeline: TimelineSettings = field(default_factory=TimelineSettings)
    vad: VADSettings = field(default_factory=VADSettings)

    def __post_init__(self) -> None:
        if not self.hop > 0:
            raise ValueError(f"hop is {self.hop:g} s, it should be above 0")


class Live:
    """Blocks of one stream -> events.

    Time is counted in samples: it does not drift, whatever the clock does. Where nobody speaks the
    network does not run.

    Parameters
    ----------
    classifier : Classifier
        May be shared by several streams.
    rate : int
        Of the samples, 8,000 to 192,000 Hz.
    source : str
        What the events call the stream.
    settings : LiveSettings
    clock : callable, optional
        Gives the time of day, with its zone.

    Attributes
    ----------
    image : ndarray or None
        ``uint8 (n_mels, frames)``: mel image of the latest window; None before the first second.
    emotion : str or None
        The present one, smoothed; "silence" where nobody speaks, None where it is not certain yet.

    Raises
    ------
    ValueError
        A rate or hop that is not allowed.

    Examples
    --------
    >>> live = Live(Classifier(), rate=48_000)  # doctest: +SKIP
    >>> for event in live.feed(block):  # doctest: +SKIP
    ...     print(event.kind, event.emotion)
    """

    def __init__(
        self,
        classifier: Classifier,
        rate: int,
        source: str = "stream",
        settings: LiveSettings = LiveSettings(),
        clock: Callable[[], datetime] = _now,
    ) -> None:
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ValueError(f"rate is {rate}, allowed: {MIN_RATE} to {MAX_RATE} Hz")
        self.rate, self.source, self.settings = rate, source, settings
        self._classifier, self._clock = classifier, clock
        self._spec = spec = classifier.manifest.spec
        self._shortest = min(round(SHORTEST_SECONDS * spec.sample_rate), spec.window_samples)
        self._windower = MelWindower(spec, settings.hop)
        self._vad = VoiceActivityDetector(spec, settings.vad)
        self._timeline = Timeline(classifier.labels, settings.timeline)
        self._unspoken = dict.fromkeys(classifier.labels, 1.0 / len(classifier.labels))
        self.reset()

    def __repr__(self) -> str:
        return f"Live({self._classifier!r}, rate={self.rate}, source={self.source!r})"

    @property
    def seconds(self) -> float:
        """Seconds of sound that have come since the start or the last reset."""
        return self._received / self.rate

    @property
    def emotion(self) -> str | None:
        return self._timeline.emotion

    def reset(self) -> None:
        """Forget everything: time begins at 0."""
        self._received = 0
        self._begin()

    def feed(self, samples: npt.ArrayLike) -> list[Event]:
        """Take sound in.

        Parameters
        ----------
        samples : array_like
            ``(n,)``, mono, at ``rate``, of any length: floats of full scale 1.0, or integers of
            their type's range.

        Returns
        -------
        list of Event
            All kinds, in the order in which they became known.

        Raises
        ------
        AudioError
            No numbers, not one-dimensional, NaN or infinite: nothing of it is taken in.
        DeviceError
            The device failed. What came before the failure is lost; feeding may go on.
        """
        sound = live_block(samples, self.source)
        self._received += sound.size
        windows = self._windower.feed(self._resampler.feed(sound))
        return [event for window in windows for event in self._hop(window)]

    def finish(self) -> list[Event]:
        """The stream ends or is interrupted: close the open segment.

        What is fed afterwards is a new stream whose time continues, as after a microphone was lost.
        """
        events: list[Event] = []
        for window in self._windower.feed(self._resampler.finish()):
            events += self._hop(window)
        for window in self._windower.finish():  # less than a hop: no answer
            events += self._hop(window, answered=False)
        end = self.seconds
        turns = self._timeline.feed(None, self._moved(self._vad.finish(end - self._base)))
        turns += self._timeline.finish(end)
        events += self._events(turns)
        self._begin()
        return events

    def _begin(self) -> None:
        self._base = self.seconds
        self.image: UInt8 | None = None
        self._speech: deque[SpeechSpan] = deque()
        self._windower.reset()
        self._resampler = Resampler(self.rate, self._spec.sample_rate)
        self._vad.reset()
        self._timeline.reset(self._base)

    def _hop(self, window: MelWindow, *, answered: bool = True) -> Iterator[Event]:
        rate = self._spec.sample_rate
        start, end = self._base + window.start / rate, self._base + window.end / rate
        speech = self._moved(self._vad.feed(window.frames))
        self._speech.extend(speech)
        while self._speech and self._speech[0].end < start:
            self._speech.popleft()
        answer = None
        if answered and window.end >= self._shortest:
            self.image = window.image
            answer = self._answer(window.image, start, end)
            yield self._event(WINDOW, answer)
        yield from self._events(self._timeline.feed(answer, speech, self._base + self._vad.until))

    def _answer(self, image: UInt8, start: float, end: float) -> WindowPrediction:
        spoken = sum(span.end - max(span.start, start) for span in self._speech)
        if self._vad.speaking:
            spoken += end - (self._base + self._vad.until)
        if spoken < self.settings.timeline.min_speech:
            return WindowPrediction(
                start, end, SILENCE, 1.0 / len(self._unspoken), dict(self._unspoken)
            )
        (answer,) = self._classifier.predict_images([image])
        scores = dict(zip(self._classifier.labels, answer.scores, strict=True))
        return WindowPrediction(start, end, answer.emotion, answer.confidence, scores)

    def _moved(self, spans: tuple[SpeechSpan, ...]) -> list[SpeechSpan]:
        return [SpeechSpan(self._base + span.start, self._base + span.end) for span in spans]

    def _events(self, turns: list[Turn]) -> list[Event]:
        return [self._event(turn.kind, turn.segment) for turn in turns]

    def _event(self, kind: str, part: WindowPrediction | Segment) -> Event:
        # Sound that came after the part's end is later than it.
        time = self._clock() - timedelta(seconds=self.seconds - part.end)
        return Event(
            kind=kind,
            start=part.start,
            end=part.end,
            time=time.isoformat(timespec="milliseconds"),
            emotion=part.emotion,
            confidence=part.confidence,
            scores=part.scores,
            source=self.source,
            device=self._classifier.device,
            model=self._classifier.manifest.name,
        )
