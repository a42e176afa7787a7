"""The registry of corpora as text and as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ser_edge.corpora import CORPORA
from ser_edge.emotions import CORPUS_EMOTIONS, EMOTIONS, WITHOUT_PLACE


def to_dict() -> dict[str, Any]:
    """All corpora as plain values, ready for JSON."""
    return {
        name: {
            "languages": list(corpus.languages),
            "licence": corpus.licence,
            "citation": corpus.citation,
            "weights_may_ship": corpus.ships_weights,
            "can_be_downloaded": bool(corpus.archives),
            "emotions": [e for e in EMOTIONS if e in CORPUS_EMOTIONS[name].values()],
            "emotions_left_out": sorted(WITHOUT_PLACE.get(name, {}).values()),
            "clips_left_out": dict(corpus.faults),
        }
        for name, corpus in CORPORA.items()
    }


def table() -> str:
    """All corpora as text for a terminal."""
    return "\n\n".join("\n".join(_lines(name, entry)) for name, entry in to_dict().items())


def _lines(name: str, entry: dict[str, Any]) -> Iterator[str]:
    fetched = "; scripts/download.py fetches it" if entry["can_be_downloaded"] else ""
    yield f"{name}{fetched}"
    yield f"  language  {', '.join(entry['languages']) or 'any'}"
    shipped = "" if entry["weights_may_ship"] else "; no shipped weights"
    yield f"  licence   {entry['licence']}{shipped}"
    yield f"  citation  {entry['citation']}"
    yield f"  emotions  {', '.join(entry['emotions'])}"
    for emotion in entry["emotions_left_out"]:
        yield f"  left out  {emotion}: it is none of the eight"
    for clip, cause in entry["clips_left_out"].items():
        yield f"  left out  {clip}: {cause}"
