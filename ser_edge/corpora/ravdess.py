"""RAVDESS, audio only: Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391.

Names are seven two-digit fields, ``03-01-06-01-02-01-12``: modality, vocal channel, emotion,
intensity, statement, repetition, actor. The scheme is that of the Zenodo record 1188976.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Final

from ser_edge.corpora.base import Corpus, Sex, Utterance, scan_names
from ser_edge.corpora.download import Archive
from ser_edge.emotions import CORPUS_EMOTIONS

ACTORS: Final = 24

STATEMENTS: Final = ("Kids are talking by the door", "Dogs are sitting by the door")

ARCHIVES: Final = (
    Archive(
        "https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
        "md5:bc696df654c87fed845eb13823edef8a",
        208_468_073,
    ),
    Archive(
        "https://zenodo.org/records/1188976/files/Audio_Song_Actors_01-24.zip",
        "md5:5411230427d67a21e18aa4d466e6d1b9",
        225_505_317,
    ),
)
"""The two official archives of sound; checksums as the Zenodo record gives them."""

_NAME: Final = re.compile(r"\d\d(-\d\d){6}", re.ASCII)


def parse(path: Path) -> Utterance:
    """One file's name -> its utterance.

    Raises
    ------
    ValueError
        If the name breaks the scheme, with the field and its allowed values.
    """
    if not _NAME.fullmatch(path.stem):
        raise ValueError("its name is not seven two-digit fields like 03-01-06-01-02-01-12")
    modality, channel, emotion, intensity, statement, repetition, actor = path.stem.split("-")
    song = channel == "02"
    emotions = [f"{i:02d}" for i in range(1, 7 if song else 9)]
    for field, value, allowed in (
        ("modality", modality, ["03"]),
        ("vocal channel", channel, ["01", "02"]),
        ("emotion", emotion, emotions),
        ("intensity", intensity, ["01"] if emotion == "01" else ["01", "02"]),
        ("statement", statement, ["01", "02"]),
        ("repetition", repetition, ["01", "02"]),
        ("actor", actor, [f"{i:02d}" for i in range(1, ACTORS + 1)]),
    ):
        if value not in allowed:
            where = " of a song" if field == "emotion" and song else ""
            where = " of a neutral clip" if field == "intensity" and emotion == "01" else where
            span = allowed[0] if len(allowed) == 1 else f"{allowed[0]} to {allowed[-1]}"
            raise ValueError(f"its {field}{where} is {value}, allowed: {span}")
    sex: Sex = "female" if int(actor) % 2 == 0 else "male"
    return Utterance(
        path=path,
        corpus="ravdess",
        speaker=f"ravdess-{actor}",
        sex=sex,
        emotion=CORPUS_EMOTIONS["ravdess"][emotion],
        intensity="strong" if intensity == "02" else "normal",
        statement=STATEMENTS[int(statement) - 1],
        repetition=int(repetition),
        channel="song" if song else "speech",
        language="en",
    )


CORPUS: Final = Corpus(
    partial(scan_names, parse=parse),
    licence="CC BY-NC-SA 4.0",
    citation="Livingstone & Russo 2018, PLOS ONE 13(5) e0196391, doi 10.1371/journal.pone.0196391",
    languages=("en",),
    archives=ARCHIVES,
    clips=2452,
    speakers=24,
)
