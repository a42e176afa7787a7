"""The corpora by name. A new one is a file beside this one and a line in :data:`CORPORA`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ser_edge.corpora import crema_d, emodb, esd, nemo, own, ravdess, savee, tess
from ser_edge.corpora.base import Corpus, Problem, Scan, Utterance

__all__ = ["CORPORA", "Corpus", "Problem", "Scan", "Utterance"]

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
