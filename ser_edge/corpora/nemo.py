"""nEMO, Polish: Christop 2024, LREC-COLING, arXiv 2404.06292.

Names are three fields, ``EB0_anger_12``: speaker, emotion, sentence. The scheme and the speakers'
sexes are those of README.md and data.tsv in https://github.com/amu-cai/nEMO, where the sound lies
in ``samples/``. Nine actors said 90 sentences in six emotions; what is missing of the 4,860 was not
published. The speakers were asked for no intensity.
"""

from __future__ import annotations

from typing import Final

from ser_edge.corpora.scheme import NamedCorpus, numbers

CORPUS: Final = NamedCorpus(
    name="nemo",
    licence="CC BY-NC-SA 4.0",
    citation="Christop 2024, LREC-COLING, arXiv 2404.06292",
    languages=("pl",),
    clips=4481,
    sexes={
        "EB0": "female",
        "IC0": "female",
        "KD0": "female",
        "KS0": "male",
        "MK0": "female",
        "MP0": "male",
        "SM0": "male",
        "TP0": "male",
        "WR0": "male",
    },
    emotions={
        "anger": "angry",
        "fear": "fearful",
        "happiness": "happy",
        "neutral": "neutral",
        "sadness": "sad",
        "surprised": "surprised",
    },
    pattern=r"(?P<speaker>[A-Z0-9]+)_(?P<emotion>[a-z]+)_0*(?P<sentence>\d+)",
    form="speaker, emotion and sentence like EB0_anger_12",
    values={"sentence": numbers(1, 90)},
    statement="sentence {sentence}",
)
