"""nEMO, Polish: Christop 2024, LREC-COLING, arXiv 2404.06292.

Names are three fields, ``EB0_anger_12``: speaker, emotion, sentence. The scheme and the speakers'
sexes are those of README.md and data.tsv in https://github.com/amu-cai/nEMO, where the sound lies
in ``samples/``; licence CC BY-NC-SA 4.0. Nine actors said 90 sentences in six emotions; what is
missing of the 4,860 was not published. The speakers were asked for no intensity.
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
        "EB0": "female",
        "IC0": "female",
        "KD0": "female",
        "KS0": "male",
        "MK0": "female",
        "MP0": "male",
        "SM0": "male",
        "TP0": "male",
        "WR0": "male",
    }
)
SENTENCES: Final = 90

_NAME: Final = re.compile(r"([A-Z0-9]+)_([a-z]+)_([0-9]+)", re.ASCII)


def parse(path: Path) -> Utterance:
    """One file's name -> its utterance.

    Raises
    ------
    ValueError
        If the name breaks the scheme, with the field and its allowed values.
    """
    fields = _NAME.fullmatch(path.stem)
    if fields is None:
        raise ValueError("its name is not speaker, emotion and sentence like EB0_anger_12")
    speaker, emotion, sentence = fields.groups()
    if speaker not in SPEAKERS:
        raise ValueError(f"its speaker is {speaker}, allowed: {', '.join(SPEAKERS)}")
    label = emotion_of("nemo", emotion)
    if not 1 <= int(sentence) <= SENTENCES:
        raise ValueError(f"its sentence is {sentence}, allowed: 1 to {SENTENCES}")
    return Utterance(
        path=path,
        corpus="nemo",
        speaker=f"nemo-{speaker.lower()}",
        sex=SPEAKERS[speaker],
        emotion=label,
        intensity="unknown",
        statement=f"sentence {int(sentence)}",
        repetition=1,
        channel="speech",
        language="pl",
    )


CORPUS: Final = Corpus(
    partial(scan_names, parse=parse),
    licence="CC BY-NC-SA 4.0",
    citation="Christop 2024, LREC-COLING, arXiv 2404.06292",
    languages=("pl",),
    clips=4481,
    speakers=9,
)
