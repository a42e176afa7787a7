"""TESS: Pichora-Fuller & Dupuis 2020, Toronto emotional speech set, doi 10.5683/SP2/E8H2MF.

Names are three fields, ``OAF_back_angry``: speaker, word ("Say the word back"), emotion; ``ps`` is
pleasant surprise. OAF is the older of the two women, YAF the younger. The archives hold folders
``OAF_angry``, ``OAF_Pleasant_surprise``, ``YAF_pleasant_surprised`` and the like, whose case and
spelling vary; the name says everything, and a folder that says something else is a contradiction.
``OA_bite_neutral`` is published so and is OAF's. One archive that circulates holds all files twice.

The licence allows no derivatives: experiments may use the corpus, shipped weights may not. The
speakers were asked for no intensity.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from ser_edge.corpora.scheme import Fields, NamedCorpus, check

_IN_NAMES: Final = {
    "angry": "angry",
    "disgust": "disgust",
    "fear": "fearful",
    "happy": "happy",
    "neutral": "neutral",
    "ps": "surprised",
    "sad": "sad",
}
_IN_FOLDERS: Final = {"pleasant_surprise": "surprised", "pleasant_surprised": "surprised"}
_EMOTIONS: Final = {**_IN_NAMES, **_IN_FOLDERS}


def _resolve(path: Path, fields: Fields) -> Fields:
    """Compare the name with its folder, whose emotion has several spellings."""
    emotion = fields["emotion"].lower()
    check("emotion", emotion, _IN_NAMES)
    folder = re.fullmatch(r"(OAF|YAF)_([a-z_]+)", path.parent.name, re.ASCII | re.IGNORECASE)
    if folder is not None:
        inside = _EMOTIONS.get(folder[2].lower(), _EMOTIONS[emotion])
        if (folder[1].upper(), inside) != (fields["speaker"], _EMOTIONS[emotion]):
            raise ValueError(f"its name is {path.stem}, its folder {path.parent.name}: which?")
    return {**fields, "emotion": emotion, "word": fields["word"].lower()}


CORPUS: Final = NamedCorpus(
    name="tess",
    licence="CC BY-NC-ND 4.0",
    citation="Pichora-Fuller & Dupuis 2020, Toronto emotional speech set, doi 10.5683/SP2/E8H2MF",
    languages=("en",),
    ships_weights=False,
    clips=2800,
    sexes={"OAF": "female", "YAF": "female"},
    emotions=_EMOTIONS,
    pattern=r"(?P<speaker>[A-Z]+)_(?P<word>[A-Za-z]+)_(?P<emotion>[A-Za-z]+)",
    form="speaker, word and emotion like OAF_back_angry",
    misspelt={"OA_bite_neutral": "OAF_bite_neutral"},
    resolve=_resolve,
    statement="Say the word {word}",
)
