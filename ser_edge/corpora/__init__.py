r"""The corpora by name, how their files are named, and what a folder holds of one.

A new corpus is a file beside this one and a line in :data:`CORPORA`::

    from ser_edge.corpora.scheme import NamedCorpus, numbers

    CORPUS = NamedCorpus(
        name="mine", licence="CC BY 4.0", citation="none", languages=("en",), clips=60,
        sexes={"a": "female", "b": "male"},
        emotions={"ang": "angry", "hap": "happy"},
        pattern=r"(?P<speaker>[a-z])-(?P<emotion>[a-z]{3})-(?P<sentence>\d\d)",
        form="speaker, emotion and sentence like a-ang-01",
        values={"sentence": numbers(1, 15, 2)},
        statement="sentence {sentence}",
    )

It imports audio and the shared modules.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ser_edge.corpora import crema_d, emodb, esd, nemo, own, ravdess, savee, tess
from ser_edge.corpora.base import Corpus, Problem, Scan, Utterance
from ser_edge.corpora.scheme import NamedCorpus

__all__ = ["CORPORA", "Corpus", "NamedCorpus", "Problem", "Scan", "Utterance"]

CORPORA: Final[Mapping[str, Corpus]] = MappingProxyType(
    {
        "crema-d": crema_d.CORPUS,
        "emodb": emodb.CORPUS,
        "esd": esd.CORPUS,
        "nemo": nemo.CORPUS,
        "own": own.CORPUS,
        "ravdess": ravdess.CORPUS,
        "savee": savee.CORPUS,
        "tess": tess.CORPUS,
    }
)
