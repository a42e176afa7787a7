"""TESS: Pichora-Fuller & Dupuis 2020, Toronto emotional speech set, doi 10.5683/SP2/E8H2MF.

Names are three fields, ``OAF_back_angry``: speaker, word ("Say the word back"), emotion; ``ps`` is
pleasant surprise. OAF is the older of the two women, YAF the younger. The archives hold folders
``OAF_angry``, ``OAF_Pleasant_surprise``, ``YAF_pleasant_surprised`` and the like, whose case and
spelling vary; the name says everything, and a folder that says something else is a contradiction.
``OA_bite_neutral`` is published so and is OAF's. One archive that circulates holds all files twice.

Licence CC BY-NC-ND 4.0. It allows no derivatives: experiments may use it, shipped weights may not.
The speakers were asked for no intensity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ser_edge.corpora.base import Corpus, Utterance, emotion_of, scan_names
from ser_edge.emotions import CORPUS_EMOTIONS

SPEAKERS: Final[Mapping[str, str]] = MappingProxyType({"OAF": "oaf", "YAF": "yaf", "OA": "oaf"})
"""Name in files and folders -> speaker."""

_ODD: Final = "OA_bite_neutral"
_CODES: Final = ("angry", "disgust", "fear", "happy", "neutral", "ps", "sad")
_NAME: Final = re.compile(r"([A-Z]+)_([A-Za-z]+)_([A-Za-z]+)", re.ASCII)
_FOLDER: Final = re.compile(r"(OAF|YAF)_([a-z_]+)", re.ASCII | re.IGNORECASE)


def parse(path: Path) -> Utterance:
    """One file's name -> its utterance.

    Raises
    ------
    ValueError
        If the name breaks the scheme, with the field and its allowed values, or the folder says
        otherwise.
    """
    fields = _NAME.fullmatch(path.stem)
    if fields is None:
        raise ValueError("its name is not speaker, word and emotion like OAF_back_angry")
    speaker, word, code = fields.groups()
    if speaker not in SPEAKERS or (speaker == "OA" and path.stem != _ODD):
        raise ValueError(f"its speaker is {speaker}, allowed: OAF, YAF")
    if code.lower() not in _CODES:
        raise ValueError(f"its emotion is {code}, allowed: {', '.join(_CODES)}")
    emotion = emotion_of("tess", code.lower())
    folder = _FOLDER.fullmatch(path.parent.name)
    if folder is not None:
        told = CORPUS_EMOTIONS["tess"].get(folder[2].lower())
        if SPEAKERS[folder[1].upper()] != SPEAKERS[speaker] or (told and told != emotion):
            raise ValueError(f"its name is {path.stem}, its folder {path.parent.name}: which?")
    return Utterance(
        path=path,
        corpus="tess",
        speaker=f"tess-{SPEAKERS[speaker]}",
        sex="female",
        emotion=emotion,
        intensity="unknown",
        statement=f"Say the word {word.lower()}",
        repetition=1,
        channel="speech",
        language="en",
    )


CORPUS: Final = Corpus(
    partial(scan_names, parse=parse),
    licence="CC BY-NC-ND 4.0",
    citation="Pichora-Fuller & Dupuis 2020, Toronto emotional speech set, doi 10.5683/SP2/E8H2MF",
    languages=("en",),
    ships_weights=False,
    clips=2800,
    speakers=2,
)
