"""SAVEE: Haq & Jackson 2010, in Machine Audition, doi 10.4018/978-1-61520-919-4.ch017.

Four men, folders ``DC``, ``JE``, ``JK``, ``KL`` of names like ``sa03``: emotion and sentence; or,
as the set circulates, flat names like ``DC_sa03``, which is what an utterance is called here in
either layout. The scheme is that of Info.txt in the archive (480 clips, 44.1 kHz;
http://kahlan.eps.surrey.ac.uk/savee). Of each emotion there are sentences 1 to 15, of neutral 1 to
30. Free of charge for research, on registration. The speakers were asked for no intensity.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Final

from ser_edge.corpora.base import Corpus, Utterance, emotion_of, scan_names

SPEAKERS: Final = ("DC", "JE", "JK", "KL")

_NAME: Final = re.compile(r"(?:([A-Z]{2})_)?([a-z]{1,2})(\d\d)", re.ASCII)


def parse(path: Path) -> Utterance:
    """One file's name, and where that lacks the speaker its folder's -> its utterance.

    Raises
    ------
    ValueError
        If the name breaks the scheme, with the field and its allowed values.
    """
    fields = _NAME.fullmatch(path.stem)
    if fields is None:
        raise ValueError("its name is not emotion and sentence like sa03 or DC_sa03")
    named, emotion, sentence = fields.groups()
    where = "speaker" if named else "folder"
    speaker = named or path.parent.name
    if speaker not in SPEAKERS:
        raise ValueError(f"its {where} is {speaker}, allowed: {', '.join(SPEAKERS)}")
    label = emotion_of("savee", emotion)
    last = 30 if emotion == "n" else 15
    if not 1 <= int(sentence) <= last:
        raise ValueError(f"its sentence of {label} is {sentence}, allowed: 01 to {last}")
    return Utterance(
        path=path,
        corpus="savee",
        speaker=f"savee-{speaker.lower()}",
        sex="male",
        emotion=label,
        intensity="unknown",
        statement=f"sentence {emotion}{sentence}",
        repetition=1,
        channel="speech",
        name=f"{speaker}_{emotion}{sentence}",
        language="en",
    )


CORPUS: Final = Corpus(
    partial(scan_names, parse=parse),
    licence="research, on registration",
    citation="Haq & Jackson 2010, Multimodal Emotion Recognition, in Machine Audition, "
    "doi 10.4018/978-1-61520-919-4.ch017",
    languages=("en",),
    ships_weights=False,
    clips=480,
    speakers=4,
)
