"""The eight RAVDESS emotions in their order, and every corpus's names for them.

The order is that of the RAVDESS file names (01 = neutral ... 08 = surprised) and of the network's
logits. A corpus adapter looks its own codes up here, so there is one table for all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
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

CORPUS_EMOTIONS: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        # Livingstone & Russo 2018, doi 10.5281/zenodo.1188976: third field of the file name.
        "ravdess": MappingProxyType({f"{i:02d}": name for i, name in enumerate(EMOTIONS, 1)}),
        # People's own recordings: our names, and words that are commonly used for them.
        "own": MappingProxyType(
            {
                **{name: name for name in EMOTIONS},
                "neutrality": "neutral",
                "calmness": "calm",
                "happiness": "happy",
                "joy": "happy",
                "sadness": "sad",
                "anger": "angry",
                "fear": "fearful",
                "disgusted": "disgust",
                "surprise": "surprised",
            }
        ),
    }
)
"""Corpus name -> that corpus's code -> one of :data:`EMOTIONS`."""


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
