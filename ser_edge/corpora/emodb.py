"""EmoDB, German: Burkhardt et al. 2005, Interspeech, doi 10.21437/Interspeech.2005-446.

Names are ``03a01Fa``: speaker, text, emotion (first letter of the German word: Wut, Ekel, Angst,
Freude, neutral, Trauer, Langeweile), version. The scheme and the speakers' sexes are those of
http://emodb.bilderbar.info; 535 clips lie in ``wav/``. Boredom (L) is none of our eight and is left
out. The speakers were asked for no intensity.
"""

from __future__ import annotations

from string import ascii_lowercase
from typing import Final

from ser_edge.corpora.scheme import NamedCorpus

CORPUS: Final = NamedCorpus(
    name="emodb",
    licence="free to use with the citation; CC0 1.0 as audEERING publishes it",
    citation="Burkhardt et al. 2005, Interspeech, doi 10.21437/Interspeech.2005-446",
    languages=("de",),
    clips=535,
    sexes={
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
    },
    emotions={
        "W": "angry",
        "E": "disgust",
        "A": "fearful",
        "F": "happy",
        "N": "neutral",
        "T": "sad",
    },
    other_emotions={"L": "boredom"},
    pattern=r"(?P<speaker>\d\d)(?P<text>[ab]\d\d)(?P<emotion>[A-Z])(?P<version>[a-z]?)",
    form="speaker, text, emotion and version like 03a01Fa",
    values={
        "text": ("a01", "a02", "a04", "a05", "a07", "b01", "b02", "b03", "b09", "b10"),
        "version": {"": "1", **{letter: str(i) for i, letter in enumerate(ascii_lowercase, 1)}},
    },
    statement="text {text}",
    repetition="{version}",
)
