"""What the edge app answers: the same object from command line, Python and, later, the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "emotion": self.emotion,
            "confidence": round(self.confidence, 6),
            "scores": _rounded(self.scores),
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
        Name of the person's profile that was used (:mod:`ser_edge.profile`).
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
        }


def _rounded(scores: dict[str, float]) -> dict[str, float]:
    return {label: round(score, 6) for label, score in scores.items()}
