"""The answers of the edge app: the same objects from command line, Python and server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

SILENCE: Final = "silence"
"""The emotion of an event where nobody speaks."""

EVENT_KINDS: Final = ("window", "segment", "change")
"""Kinds of an :class:`Event`."""


@dataclass(frozen=True)
class WindowPrediction:
    """One 5-second window: ``start`` and ``end`` in seconds, scores of all labels."""

    start: float
    end: float
    emotion: str
    confidence: float
    scores: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return _part(self)


@dataclass(frozen=True)
class Segment:
    """A stretch of one emotion: ``start`` and ``end`` in seconds, mean scores."""

    start: float
    end: float
    emotion: str
    confidence: float
    scores: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        return _part(self)


@dataclass(frozen=True)
class Event:
    """What a live stream gives: a window, a change or a segment.

    Parameters
    ----------
    kind : {"window", "segment", "change"}
        A window, every hop; a segment that has ended; or, as soon as it is certain, that another
        emotion has begun (``start`` is when, ``end`` is now).
    start, end : float
        Seconds of sound since listening began: counted in samples, so they never drift.
    time : str
        The wall clock at ``end``, ISO 8601 with its zone.
    emotion : str
        One of the model's labels, ``"unknown"``, or ``"silence"`` where nobody speaks.
    confidence : float
        The highest score, 0 to 1.
    scores : dict
        Label -> score, all labels, sums to 1.
    source, device, model : str
        The microphone or stream; OpenVINO's device; the model's name.
    """

    kind: str
    start: float
    end: float
    time: str
    emotion: str
    confidence: float
    scores: dict[str, float]
    source: str
    device: str
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values in this order, ready for JSON."""
        return {
            "kind": self.kind,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "time": self.time,
            "emotion": self.emotion,
            "confidence": round(self.confidence, 6),
            "scores": _rounded(self.scores),
            "source": self.source,
            "device": self.device,
            "model": self.model,
        }


@dataclass(frozen=True)
class Prediction:
    """The answer for one sound.

    Parameters
    ----------
    file : str
        Path or name of the sound.
    emotion : str
        One of the model's labels, or ``"unknown"`` where no score reaches the threshold.
    confidence : float
        The highest score, 0 to 1.
    scores : dict
        Label -> score, all labels, sums to 1, also when the emotion is unknown.
    duration : float
        Seconds.
    device : str
        OpenVINO device that ran the network.
    model : str
        Name of the model.
    windows : tuple of WindowPrediction
        One for up to 5 s, else every 2.5 s and one flush with the end.
    profile : str or None
        Name of the person's profile that was used (:mod:`ser_edge.profiles`).
    segments : tuple of Segment
        From 0 to the end without a gap: an emotion, ``"unknown"`` or, where nobody speaks,
        ``"silence"`` (:mod:`edge_app.segmentation.segments`).
    """

    file: str
    emotion: str
    confidence: float
    scores: dict[str, float]
    duration: float
    device: str
    model: str
    windows: tuple[WindowPrediction, ...]
    profile: str | None = None
    segments: tuple[Segment, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the documented order, ready for JSON."""
        return {
            "file": self.file,
            "emotion": self.emotion,
            "confidence": round(self.confidence, 6),
            "scores": _rounded(self.scores),
            "duration": round(self.duration, 3),
            "device": self.device,
            "model": self.model,
            "profile": self.profile,
            "windows": [window.to_dict() for window in self.windows],
            "segments": [segment.to_dict() for segment in self.segments],
        }


@dataclass(frozen=True, eq=False)
class WindowEmbedding:
    """The embedding of one window: ``start`` and ``end`` in seconds, ``vector`` ``float32 (n,)``.

    ``speech`` is the share of speech in it, 0 to 1: its weight in the sound's mean.
    """

    start: float
    end: float
    speech: float
    vector: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Embedding:
    """The input of the network's last layer, for one sound.

    Parameters
    ----------
    file : str
        Path or name of the sound.
    vector : ndarray
        ``float32 (features,)``, the mean over its windows, weighted as their logits are.
    duration : float
        Seconds.
    device, model : str
        As in :class:`Prediction`.
    windows : tuple of WindowEmbedding
    """

    file: str
    vector: npt.NDArray[np.float32]
    duration: float
    device: str
    model: str
    windows: tuple[WindowEmbedding, ...]


def _part(part: WindowPrediction | Segment) -> dict[str, Any]:
    return {
        "start": round(part.start, 3),
        "end": round(part.end, 3),
        "emotion": part.emotion,
        "confidence": round(part.confidence, 6),
        "scores": _rounded(part.scores),
    }


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {label: round(score, 6) for label, score in scores.items()}
