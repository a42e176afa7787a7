"""The eight RAVDESS emotions in their order, and every corpus's names for them.

The order is that of the RAVDESS file names (01 = neutral ... 08 = surprised) and of the network's
logits. Corpora look up their codes here.
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
        # Cao et al. 2014, doi 10.1109/TAFFC.2014.2336244: third field of the file name.
        "crema-d": MappingProxyType(
            {
                "ANG": "angry",
                "DIS": "disgust",
                "FEA": "fearful",
                "HAP": "happy",
                "NEU": "neutral",
                "SAD": "sad",
            }
        ),
        # Burkhardt et al. 2005, doi 10.21437/Interspeech.2005-446: sixth letter of the file name,
        # the first of the German word (Wut, Ekel, Angst, Freude, neutral, Trauer).
        "emodb": MappingProxyType(
            {
                "W": "angry",
                "E": "disgust",
                "A": "fearful",
                "F": "happy",
                "N": "neutral",
                "T": "sad",
            }
        ),
        # Zhou et al. 2022, doi 10.1016/j.specom.2021.11.006: folders.
        "esd": MappingProxyType(
            {
                "Neutral": "neutral",
                "Angry": "angry",
                "Happy": "happy",
                "Sad": "sad",
                "Surprise": "surprised",
            }
        ),
        # Christop 2024, arXiv 2404.06292: second field of the file name.
        "nemo": MappingProxyType(
            {
                "anger": "angry",
                "fear": "fearful",
                "happiness": "happy",
                "neutral": "neutral",
                "sadness": "sad",
                "surprised": "surprised",
            }
        ),
        # Haq & Jackson 2010, doi 10.4018/978-1-61520-919-4.ch017: letters before the number.
        "savee": MappingProxyType(
            {
                "a": "angry",
                "d": "disgust",
                "f": "fearful",
                "h": "happy",
                "n": "neutral",
                "sa": "sad",
                "su": "surprised",
            }
        ),
        # Pichora-Fuller & Dupuis 2020, doi 10.5683/SP2/E8H2MF: third field of the file name, and
        # the folders' spellings of it (pleasant surprise).
        "tess": MappingProxyType(
            {
                "angry": "angry",
                "disgust": "disgust",
                "fear": "fearful",
                "happy": "happy",
                "neutral": "neutral",
                "ps": "surprised",
                "pleasant_surprise": "surprised",
                "pleasant_surprised": "surprised",
                "sad": "sad",
            }
        ),
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

WITHOUT_PLACE: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {"emodb": MappingProxyType({"L": "boredom"})}  # Langeweile
)
"""Corpus name -> that corpus's code -> an emotion that is none of :data:`EMOTIONS`: left out."""


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
