"""Logits of a clip's windows -> scores -> an emotion or "unknown"."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ser_edge.emotions import EMOTIONS, UNKNOWN

Float64 = npt.NDArray[np.float64]

ACTIVE_RANGE_DB: Final = 35.0
"""A stretch of sound this far below the clip's loudest one is pause, not speech."""

SILENCE_DB: Final = -75.0
"""Below this level (RMS re full scale) there is nothing: 16-bit dither lies near -90 dB."""


@dataclass(frozen=True)
class Calibration:
    """What turns logits into scores and scores into an answer.

    Parameters
    ----------
    temperature : float
        Logits are divided by it (Guo et al. 2017, arXiv 1706.04599); 0.01 to 100.
    threshold : float
        The highest score must reach it, else the answer is "unknown"; 0 to 1.
    """

    temperature: float = 1.0
    threshold: float = 0.0

    def __post_init__(self) -> None:
        if not 0.01 <= self.temperature <= 100:
            raise ValueError(f"temperature is {self.temperature}, allowed: 0.01 to 100")
        if not 0 <= self.threshold <= 1:
            raise ValueError(f"threshold is {self.threshold}, allowed: 0 to 1")


@dataclass(frozen=True)
class Decision:
    """An answer: ``scores`` are all eight, in the order of the labels, and sum to 1."""

    emotion: str
    confidence: float
    scores: tuple[float, ...]


def softmax(logits: npt.ArrayLike, temperature: float = 1.0) -> Float64:
    """Scores from logits.

    Parameters
    ----------
    logits : array_like
        ``(..., classes)``.
    temperature : float
        Above 0.

    Returns
    -------
    ndarray
        ``float64 (..., classes)``, each row sums to 1.
    """
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    scaled = scaled - scaled.max(axis=-1, keepdims=True)
    exponentials = np.exp(scaled)
    return np.asarray(exponentials / exponentials.sum(axis=-1, keepdims=True))


def speech_weights(levels: Sequence[npt.NDArray[np.float32]]) -> Float64:
    """How much of each window of a clip is speech.

    Speech is told from pause by level alone: within 35 dB of the clip's loudest 50 ms and above
    the noise of a 16-bit recording.

    Parameters
    ----------
    levels : sequence of ndarray
        For each window its levels in dB (:func:`ser_edge.audio.windows.levels`).

    Returns
    -------
    ndarray
        ``float64 (windows,)``, 0 to 1; all 0 where the clip is silent.
    """
    if not levels:
        return np.empty(0)
    loudest = max(float(window.max()) for window in levels)
    least = max(loudest - ACTIVE_RANGE_DB, SILENCE_DB)
    return np.array([float(np.mean(window >= least)) for window in levels])


def pool(logits: npt.ArrayLike, weights: npt.ArrayLike) -> Float64:
    """Mean of the windows' logits, weighted.

    Parameters
    ----------
    logits : array_like
        ``(windows, classes)``.
    weights : array_like
        ``(windows,)``, not negative.

    Returns
    -------
    ndarray
        ``float64 (classes,)``; all 0 where every weight is 0: no speech says nothing about
        emotion, so every score is the same.
    """
    values = np.asarray(logits, dtype=np.float64)
    shares = np.asarray(weights, dtype=np.float64)
    total = shares.sum()
    if total <= 0:
        return np.zeros(values.shape[-1])
    return np.asarray(shares @ values / total)


def decide(
    logits: npt.ArrayLike, calibration: Calibration, labels: Sequence[str] = EMOTIONS
) -> Decision:
    """Logits of one clip or window -> the answer.

    Parameters
    ----------
    logits : array_like
        ``(classes,)``.
    calibration : Calibration
    labels : sequence of str
        Names of the classes.

    Returns
    -------
    Decision
        ``emotion`` is the label of the highest score, or "unknown" if that is below the threshold
        or no higher than all others (a silent clip).
    """
    scores = softmax(logits, calibration.temperature)
    best = int(scores.argmax())
    confidence = float(scores[best])
    sure = confidence >= calibration.threshold and confidence > scores.min()
    return Decision(labels[best] if sure else UNKNOWN, confidence, tuple(scores.tolist()))
