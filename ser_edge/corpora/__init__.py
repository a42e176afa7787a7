"""The corpora by name. A new one is a file beside this one and a line in :data:`CORPORA`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from ser_edge.corpora import own, ravdess
from ser_edge.corpora.base import Problem, Scan, Utterance
from ser_edge.corpora.download import Archive

__all__ = ["CORPORA", "Corpus", "Problem", "Scan", "Utterance"]


@dataclass(frozen=True)
class Corpus:
    """How a corpus is found on disk, fetched, and under which licence it stands."""

    scan: Callable[[Path], Scan]
    archives: tuple[Archive, ...]
    licence: str


CORPORA: Final[Mapping[str, Corpus]] = MappingProxyType(
    {
        "own": Corpus(own.scan, (), own.LICENCE),
        "ravdess": Corpus(ravdess.scan, ravdess.ARCHIVES, ravdess.LICENCE),
    }
)
