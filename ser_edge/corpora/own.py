"""One's own recordings: a folder for each emotion, or a table.

Folders: ``happy/monday.wav``, or with several speakers ``anna/happy/monday.wav`` or
``happy/anna/monday.wav``. Table: ``labels.csv`` in the folder, with the columns ``file`` and
``emotion``, and where they are known ``speaker`` and ``sex``.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Final, cast

from ser_edge.audio.files import AUDIO_SUFFIXES, files_below
from ser_edge.corpora.base import Corpus, Problem, Sex, Utterance
from ser_edge.emotions import EMOTIONS

TABLE: Final = "labels.csv"
ONE_SPEAKER: Final = "own"
"""Name of the speaker where none is given."""

LABELS: Final = {
    **{name: name for name in EMOTIONS},
    "neutrality": "neutral",
    "calmness": "calm",
    "happiness": "happy",
    "joy": "happy",
    "sadness": "sad",
    "anger": "angry",
    "fear": "fearful",
    "disgusted": "disgust",
    "surprise": "surprised",
}
"""Our names and others that are common -> ours."""

_COLUMNS: Final = ("file", "emotion")
_SEXES: Final = ("female", "male", "unknown")


def recording_name(path: Path, root: Path) -> str:
    """``happy/monday.wav`` -> ``happy-monday``: unique though stems may repeat."""
    return "-".join(path.relative_to(root).with_suffix("").parts)


class OwnRecordings(Corpus):
    """A folder of one's own; if it holds ``labels.csv``, that is what counts."""

    def find(self, root: Path) -> Iterator[Utterance | Problem]:
        """Every recording below a folder: an utterance, or why it is none.

        Raises
        ------
        ValueError
            The table lacks a column; the message names those that are allowed.
        """
        table = root / TABLE
        return _from_table(table) if table.is_file() else _from_folders(root)


def _from_folders(root: Path) -> Iterator[Utterance | Problem]:
    for path in files_below(root, AUDIO_SUFFIXES):
        folders = path.relative_to(root).parts[:-1]
        labels = [i for i, folder in enumerate(folders) if folder.lower() in LABELS]
        if len(labels) != 1:
            yield Problem(
                path,
                f"{len(labels) or 'none'} of its folders is an emotion; one should be: "
                + ", ".join(LABELS),
            )
            continue
        others = [folder for i, folder in enumerate(folders) if i != labels[0]]
        yield _utterance(
            path,
            recording_name(path, root),
            folders[labels[0]],
            others[0] if others else "",
            "unknown",
        )


def _from_table(table: Path) -> Iterator[Utterance | Problem]:
    with open(table, newline="", encoding="utf-8-sig") as file:  # spreadsheets write a BOM
        reader = csv.DictReader(file)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(
                f"{table}: it lacks the column {', '.join(missing)}; columns are file, emotion, "
                "and if known speaker, sex"
            )
        for row in reader:
            name = (row["file"] or "").strip()
            path = table.parent / name
            if not name or not path.is_file():
                yield Problem(path, f"line {reader.line_num} of {table.name}: no such file")
                continue
            sex = (row.get("sex") or "unknown").strip().lower()
            try:
                inside = recording_name(path.resolve(), table.parent.resolve())
                if sex not in _SEXES:
                    raise ValueError(f"sex is {sex!r}, allowed: {', '.join(_SEXES)}")
                yield _utterance(path, inside, row["emotion"] or "", row.get("speaker") or "", sex)
            except ValueError as error:
                yield Problem(path, f"line {reader.line_num} of {table.name}: {error}")


def _utterance(path: Path, name: str, emotion: str, speaker: str, sex: str) -> Utterance:
    label = LABELS.get(emotion.strip().lower())
    if label is None:
        raise ValueError(f"emotion is {emotion!r}, allowed: {', '.join(LABELS)}")
    return Utterance(
        path=path,
        corpus="own",
        speaker=f"own-{speaker.strip() or ONE_SPEAKER}",
        sex=cast(Sex, sex),
        emotion=label,
        intensity="normal",
        statement="",
        repetition=1,
        channel="speech",
        name=name,
    )


CORPUS: Final = OwnRecordings(
    name="own", licence="your own", citation="none", languages=(), emotions=LABELS
)
