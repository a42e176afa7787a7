"""The registry of corpora as text and as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ser_edge import markdown
from ser_edge.corpora import CORPORA, Corpus
from ser_edge.emotions import EMOTIONS

TABLE: Final = "corpora"
"""Name of the table in a document (:mod:`ser_edge.markdown.documents`)."""


def to_dict() -> dict[str, Any]:
    """All corpora as plain values, ready for JSON."""
    return {
        name: {
            "languages": list(corpus.languages),
            "licence": corpus.licence,
            "citation": corpus.citation,
            "weights_may_ship": corpus.ships_weights,
            "can_be_downloaded": bool(corpus.archives),
            "clips_published": corpus.clips,
            "speakers_published": corpus.speakers,
            "emotions": [e for e in EMOTIONS if e in corpus.emotions.values()],
            "emotions_left_out": sorted(corpus.other_emotions.values()),
            "clips_left_out": dict(corpus.faults),
        }
        for name, corpus in CORPORA.items()
    }


def table() -> str:
    """All corpora as text for a terminal."""
    return "\n\n".join("\n".join(_lines(name, entry)) for name, entry in to_dict().items())


def markdown_table() -> str:
    """All corpora but one's own as a Markdown table: a row each, codes -> our emotions."""
    return markdown.table(
        (
            *("corpus", "language", "clips", "speakers", "its names for ours", "left out"),
            *("licence", "weights trained on it may ship"),
        ),
        [
            (
                f"`{name}`",
                ", ".join(corpus.languages),
                f"{corpus.clips:,}",
                corpus.speakers,
                _mapping(corpus),
                ", ".join(_left_out(corpus)) or "-",
                corpus.licence,
                "yes" if corpus.ships_weights else "**no**",
            )
            for name, corpus in CORPORA.items()
            if corpus.clips
        ],
    )


def _left_out(corpus: Corpus) -> Iterator[str]:
    for code, emotion in corpus.other_emotions.items():
        yield f"{emotion} (`{code}`)"
    if corpus.faults:
        yield f"{len(corpus.faults)} clips that are published broken"


def _mapping(corpus: Corpus) -> str:
    codes: dict[str, list[str]] = {}
    for code, emotion in corpus.emotions.items():
        codes.setdefault(emotion, []).append(f"`{code}`")
    return ", ".join(f"{e} {' '.join(codes[e])}" for e in EMOTIONS if e in codes)


def _lines(name: str, entry: dict[str, Any]) -> Iterator[str]:
    fetched = "; scripts/download.py fetches it" if entry["can_be_downloaded"] else ""
    yield f"{name}{fetched}"
    if entry["clips_published"]:
        yield (
            f"  published {entry['clips_published']} clips of "
            f"{entry['speakers_published']} speakers"
        )
    yield f"  language  {', '.join(entry['languages']) or 'any'}"
    shipped = "" if entry["weights_may_ship"] else "; no shipped weights"
    yield f"  licence   {entry['licence']}{shipped}"
    yield f"  citation  {entry['citation']}"
    yield f"  emotions  {', '.join(entry['emotions'])}"
    for emotion in entry["emotions_left_out"]:
        yield f"  left out  {emotion}: it is none of the eight"
    for clip, cause in entry["clips_left_out"].items():
        yield f"  left out  {clip}: {cause}"
