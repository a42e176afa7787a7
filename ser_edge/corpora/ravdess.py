"""RAVDESS, audio only: Livingstone & Russo 2018, doi 10.1371/journal.pone.0196391.

Names are seven two-digit fields, ``03-01-06-01-02-01-12``: modality, vocal channel, emotion,
intensity, statement, repetition, actor; actors with even numbers are women. Songs have the first
six emotions, neutral clips have no strong intensity. The scheme and the checksums of the two
archives of sound are those of the Zenodo record 1188976.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ser_edge.corpora.download import Archive
from ser_edge.corpora.scheme import Fields, NamedCorpus, check, numbers
from ser_edge.emotions import EMOTIONS


def _resolve(_: Path, fields: Fields) -> Fields:
    if fields["vocal_channel"] == "02":
        check("emotion of a song", fields["emotion"], numbers(1, 6, 2))
    if fields["emotion"] == "01":
        check("intensity of a neutral clip", fields["intensity"], ["01"])
    return fields


CORPUS: Final = NamedCorpus(
    name="ravdess",
    licence="CC BY-NC-SA 4.0",
    citation="Livingstone & Russo 2018, PLOS ONE 13(5) e0196391, doi 10.1371/journal.pone.0196391",
    languages=("en",),
    archives=(
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
    ),
    clips=2452,
    sexes={actor: "male" if int(actor) % 2 else "female" for actor in numbers(1, 24, 2)},
    emotions=dict(zip(numbers(1, 8, 2), EMOTIONS, strict=True)),
    pattern=r"(?P<modality>\d\d)-(?P<vocal_channel>\d\d)-(?P<emotion>\d\d)-(?P<intensity>\d\d)"
    r"-(?P<statement>\d\d)-(?P<repetition>\d\d)-(?P<actor>\d\d)",
    form="seven two-digit fields like 03-01-06-01-02-01-12",
    values={
        "modality": ("03",),
        "vocal_channel": {"01": "speech", "02": "song"},
        "intensity": {"01": "normal", "02": "strong"},
        "statement": {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"},
        "repetition": ("01", "02"),
    },
    resolve=_resolve,
    speaker="actor",
    statement="{statement}",
    repetition="{repetition}",
    intensity="{intensity}",
    channel="{vocal_channel}",
)
