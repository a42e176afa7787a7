"""SAVEE: Haq & Jackson 2010, in Machine Audition, doi 10.4018/978-1-61520-919-4.ch017.

Four men, folders ``DC``, ``JE``, ``JK``, ``KL`` of names like ``sa03``: emotion and sentence; or,
as the set circulates, flat names like ``DC_sa03``, which is what an utterance is called here in
either layout. The scheme is that of Info.txt in the archive (480 clips, 44.1 kHz;
http://kahlan.eps.surrey.ac.uk/savee). Of each emotion there are sentences 1 to 15, of neutral 1 to
30. Free of charge for research, on registration. The speakers were asked for no intensity.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ser_edge.corpora.scheme import Fields, NamedCorpus, check, numbers

_SPEAKERS: Final = ("DC", "JE", "JK", "KL")
_EMOTIONS: Final = {
    "a": "angry",
    "d": "disgust",
    "f": "fearful",
    "h": "happy",
    "n": "neutral",
    "sa": "sad",
    "su": "surprised",
}


def _resolve(path: Path, fields: Fields) -> Fields:
    """Take the speaker from the folder where the name has none."""
    code = fields["emotion"]
    speaker = fields["speaker"] or path.parent.name
    check("speaker" if fields["speaker"] else "folder", speaker, _SPEAKERS)
    check("emotion", code, _EMOTIONS)
    last = 30 if code == "n" else 15
    check(f"sentence of {_EMOTIONS[code]}", fields["sentence"], numbers(1, last, 2))
    return {"speaker": speaker, "emotion": code, "code": code, "sentence": fields["sentence"]}


CORPUS: Final = NamedCorpus(
    name="savee",
    licence="research, on registration",
    citation="Haq & Jackson 2010, Multimodal Emotion Recognition, in Machine Audition, "
    "doi 10.4018/978-1-61520-919-4.ch017",
    languages=("en",),
    ships_weights=False,
    clips=480,
    sexes=dict.fromkeys(_SPEAKERS, "male"),
    emotions=_EMOTIONS,
    pattern=r"(?:(?P<speaker>[A-Z]{2})_)?(?P<emotion>[a-z]{1,2})(?P<sentence>\d\d)",
    form="emotion and sentence like sa03 or DC_sa03",
    resolve=_resolve,
    statement="sentence {code}{sentence}",
    clip="{speaker}_{code}{sentence}",
)
