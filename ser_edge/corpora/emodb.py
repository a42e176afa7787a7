"""EmoDB, German: Burkhardt et al. 2005, Interspeech, doi 10.21437/Interspeech.2005-446.

Names are ``03a01Fa``: speaker, text, emotion (first letter of the German word), version. The
scheme and the speakers' sexes are those of http://emodb.bilderbar.info; 535 clips lie in ``wav/``.
Boredom (L) is none of our eight and is left out. Licence: free to use with the citation; audEERING
publishes the set as CC0 1.0. The speakers were asked for no intensity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ser_edge.corpora.base import Corpus, Sex, Utterance, emotion_of, scan_names

SPEAKERS: Final[Mapping[str, Sex]] = MappingProxyType(
    {
        "03": "male",
        "08": "female",
        "09": "female",
        "10": "male",
        "11": "male",
        "12": "male",
        "13": "female",
        "14": "female",
        "15": "male",
        "16": "female",
    }
)

TEXTS: Final = ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10")

_NAME: Final = re.compile(r"(\d\d)([ab]\d\d)([A-Z])([a-z]?)", re.ASCII)


def parse(path: Path) -> Utterance:
    """One file's name -> its utterance.

    Raises
    ------
    NoPlaceError
        It is boredom.
    ValueError
        If the name breaks the scheme, with the field and its allowed values.
    """
    fields = _NAME.fullmatch(path.stem)
    if fields is None:
        raise ValueError("its name is not speaker, text, emotion and version like 03a01Fa")
    speaker, text, emotion, version = fields.groups()
    if speaker not in SPEAKERS:
        raise ValueError(f"its speaker is {speaker}, allowed: {', '.join(SPEAKERS)}")
    if text not in TEXTS:
        raise ValueError(f"its text is {text}, allowed: {', '.join(TEXTS)}")
    label = emotion_of("emodb", emotion)
    return Utterance(
        path=path,
        corpus="emodb",
        speaker=f"emodb-{speaker}",
        sex=SPEAKERS[speaker],
        emotion=label,
        intensity="unknown",
        statement=f"text {text}",
        repetition=ord(version or "a") - ord("a") + 1,
        channel="speech",
        language="de",
    )


CORPUS: Final = Corpus(
    partial(scan_names, parse=parse),
    licence="free to use with the citation; CC0 1.0 as audEERING publishes it",
    citation="Burkhardt et al. 2005, Interspeech, doi 10.21437/Interspeech.2005-446",
    languages=("de",),
    clips=535,
    speakers=10,
)
