"""Why an answer: what the network says when parts of the mel image are taken away (occlusion).

After Zeiler & Fergus 2014 (arXiv 1311.2901). A patch of the image is made black and the network
runs again; where its answer weakens, the patch supports it.

Black means "no sound here": silence is black in every mel image, and the stripes of SpecAugment
that the networks were trained with are black too, so a black patch is nothing strange to them. A
median or a mean of the image would add sound where there was none, in pauses and in the padding
behind a short clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from edge_app.results import Prediction, WindowPrediction
from ser_edge.decision import softmax
from ser_edge.mel.image import UInt8
from ser_edge.mel.spec import MelImageSpec

Float64 = npt.NDArray[np.float64]

PATCH_SECONDS: Final = 0.25
"""Width of a patch, about a syllable; it moves by half of that."""

PATCH_BANDS: Final = 8
"""A patch is so many times lower than the image; it moves by half of its height."""


LEAST_PEAK: Final = 0.1
"""Nats: where no part of the image has this effect, no region is reported."""

_PEAKS: Final = 8  # of the heat, that are measured


@dataclass(frozen=True)
class Spot:
    """A rectangle of the image that weighs most for an emotion, or against it.

    ``score`` is that of the explained emotion where just this rectangle is black, 0 to 1.
    """

    bands: slice
    frames: slice
    score: float


@dataclass(frozen=True)
class Explanation:
    """What supports an emotion, and what contradicts it, in one window of a sound.

    Parameters
    ----------
    prediction : Prediction
        The answer for the whole sound.
    window : WindowPrediction
        The window that is explained.
    emotion : str
        The label that is explained.
    spec : MelImageSpec
    image : ndarray
        ``uint8 (n_mels, frames)``, what the network saw; row 0 the lowest band.
    heat : ndarray
        ``float64 (n_mels, frames)``. By how much the log-odds of ``emotion`` (nats) fall where
        that part is black; below 0 where they rise (:func:`occlude`).
    most_for, most_against : Spot or None
        The regions that support the emotion most and contradict it most; None where there is none.
    offset : float
        Where the sound begins in the image, in seconds.
    """

    prediction: Prediction
    window: WindowPrediction
    emotion: str
    spec: MelImageSpec
    image: UInt8
    heat: Float64
    most_for: Spot | None
    most_against: Spot | None
    offset: float


def occlude(
    logits: Callable[[UInt8], npt.ArrayLike],
    image: UInt8,
    label: int,
    spec: MelImageSpec,
    temperature: float = 1.0,
) -> Float64:
    """By how much the log-odds of a label fall where a patch of the image is black.

    Log-odds neither stick at 1 as scores do, nor move where all logits move alike.

    Parameters
    ----------
    logits : callable
        The network: mel image -> ``(classes,)``. Run once for the whole image and once for
        every patch that is not black already (600 for five seconds of speech).
    image : ndarray
        ``uint8 (n_mels, frames)``.
    label : int
        Position of the label among the logits.
    spec : MelImageSpec
    temperature : float
        Of the scores that are shown beside it.

    Returns
    -------
    ndarray
        ``float64 (n_mels, frames)``, nats; mean over the patches that cover a point, each weighted
        by how near its middle is; 0 where the image is black all around.
    """
    whole = log_odds(logits(image), label, temperature)
    total, times = np.zeros(image.shape), np.zeros(image.shape)
    for patch in patches(spec):
        near = np.outer(*(_hill(part.stop - part.start) for part in patch))
        near = near[: image.shape[0] - patch[0].start, : image.shape[1] - patch[1].start]
        times[patch] += near
        if not image[patch].any():
            continue
        hidden = image.copy()
        hidden[patch] = 0
        total[patch] += near * (whole - log_odds(logits(hidden), label, temperature))
    return total / times


def patches(spec: MelImageSpec) -> Iterator[tuple[slice, slice]]:
    """Bands and frames of the patches: half overlapping, every point in at least one."""
    bands = max(2, spec.n_mels // PATCH_BANDS)
    frames = max(2, round(PATCH_SECONDS * spec.sample_rate / spec.hop_length))
    for low in _starts(spec.n_mels, bands):
        for first in _starts(spec.frames, frames):
            yield slice(low, low + bands), slice(first, first + frames)


def find_spot(
    logits: Callable[[UInt8], npt.ArrayLike],
    image: UInt8,
    label: int,
    heat: Float64,
    temperature: float = 1.0,
    against: bool = False,
) -> Spot | None:
    """The rectangle that weighs most, and the label's score without it.

    Around each of the highest peaks of the heat one reaches, along time and along pitch, as far as
    the heat is half of its peak. The network runs once more for each, so that the score is
    measured and not added up from patches, and the one that changes it most is chosen: a peak may
    be made of patches that weigh only together.

    Parameters
    ----------
    logits, image, label, temperature
        As :func:`occlude`.
    heat : ndarray
        ``(n_mels, frames)``.
    against : bool
        Look for what contradicts the label.

    Returns
    -------
    Spot or None
        None where the heat stays below :data:`LEAST_PEAK`.
    """
    sign = -1.0 if against else 1.0
    left = sign * heat
    spots = []
    for _ in range(_PEAKS):
        band, frame = (int(i) for i in np.unravel_index(int(left.argmax()), left.shape))
        peak = left[band, frame]
        if peak < LEAST_PEAK:
            break
        bands = _around(left[:, frame] >= peak / 2, band)
        frames = _around(left[band] >= peak / 2, frame)
        left[bands, frames] = 0.0
        hidden = image.copy()
        hidden[bands, frames] = 0
        spots.append(Spot(bands, frames, float(softmax(logits(hidden), temperature)[label])))
    return min(spots, key=lambda spot: sign * spot.score, default=None)


def _around(there: npt.NDArray[np.bool_], at: int) -> slice:
    """The unbroken stretch around a position."""
    gaps = np.flatnonzero(~there)
    before, after = gaps[gaps < at], gaps[gaps > at]
    return slice(
        int(before[-1]) + 1 if before.size else 0, int(after[0]) if after.size else there.size
    )


def _hill(size: int) -> Float64:
    """Weights that fall from the middle to the ends, above 0 everywhere."""
    return np.hanning(size + 2)[1:-1]


def _starts(length: int, size: int) -> list[int]:
    last = max(0, length - size)
    return [*range(0, last, size // 2), last]


def log_odds(logits: npt.ArrayLike, label: int, temperature: float = 1.0) -> float:
    """ln(score / (1 - score)) of a label, computed without leaving the logits."""
    values = np.asarray(logits, dtype=np.float64) / temperature
    others = np.delete(values, label)
    highest = others.max()
    return float(values[label] - highest - np.log(np.exp(others - highest).sum()))
