"""The eight RAVDESS emotions in their order.

The order is that of the RAVDESS file names (01 = neutral ... 08 = surprised) and of the network's
logits. What each corpus calls them is in :mod:`ser_edge.corpora`.
"""

from __future__ import annotations

from typing import Final

EMOTIONS: Final[tuple[str, ...]] = (
    "neutral",
    "calm",
    "happy",
    "sad",
    "angry",
    "fearful",
    "disgust",
    "surprised",
)
"""The labels, in the order of the network's outputs."""

UNKNOWN: Final = "unknown"
"""The answer when no score reaches the threshold; never one of the network's outputs."""


def emotion_index(emotion: str) -> int:
    """Position of an emotion among the network's outputs.

    Parameters
    ----------
    emotion : str
        One of :data:`EMOTIONS`.

    Returns
    -------
    int
        0 to 7.

    Raises
    ------
    ValueError
        If ``emotion`` is none of the eight.
    """
    try:
        return EMOTIONS.index(emotion)
    except ValueError:
        raise ValueError(f"emotion {emotion!r} is none of {', '.join(EMOTIONS)}") from None
