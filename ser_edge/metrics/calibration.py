"""Fits the temperature and the "unknown" threshold that ``decision.py`` applies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from ser_edge.decision import Calibration, softmax
from ser_edge.emotions import emotion_index
from ser_edge.metrics.classification import ClipPrediction, negative_log_likelihood

UNKNOWN_SHARE: Final = 0.05
"""Share of real validation clips that the threshold turns into "unknown"."""

_TEMPERATURES: Final = (0.05, 20.0)


def fit_calibration(
    predictions: Sequence[ClipPrediction], unknown_share: float = UNKNOWN_SHARE
) -> Calibration:
    """Temperature of least NLL (Guo et al. 2017), then the threshold.

    Parameters
    ----------
    predictions : sequence of ClipPrediction
        Of validation speakers, never of test speakers.
    unknown_share : float
        Quantile of the highest score that becomes the threshold.

    Returns
    -------
    Calibration

    Raises
    ------
    ValueError
        If there are no predictions.
    """
    if not predictions:
        raise ValueError("no validation predictions to calibrate on")
    logits = np.array([prediction.logits for prediction in predictions])
    truth = np.array([emotion_index(prediction.emotion) for prediction in predictions])

    # NLL has one minimum over 1 / temperature (it is convex there), so a grid refined three times
    # finds it to under a thousandth.
    low, high = _TEMPERATURES
    for _ in range(4):
        grid = np.geomspace(low, high, 41)
        losses = [negative_log_likelihood(softmax(logits, float(t)), truth) for t in grid]
        best = int(np.argmin(losses))
        low, high = grid[max(0, best - 1)], grid[min(len(grid) - 1, best + 1)]
    temperature = round(float(grid[best]), 4)
    confidence = softmax(logits, temperature).max(axis=1)
    return Calibration(temperature, round(float(np.quantile(confidence, unknown_share)), 4))
