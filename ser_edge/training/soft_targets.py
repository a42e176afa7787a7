"""Soft targets of clips in a file: what a teacher says of each, as logits.

``<name>.csv`` has a row a clip; ``<name>.json`` beside it tells what made them of which speakers.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch

from ser_edge.data.datasets import Clip
from ser_edge.emotions import EMOTIONS
from ser_edge.files import write_whole
from ser_edge.runs.lineage import Lineage, file_lineage

_KEYS: Final = ("corpus", "utterance")


@dataclass(frozen=True)
class SoftTargets:
    """Logits by corpus and utterance, and what went into them."""

    path: Path
    logits: Mapping[tuple[str, str], tuple[float, ...]]
    lineage: Lineage

    def of(self, clips: Sequence[Clip]) -> torch.Tensor:
        """Logits of clips in order, ``float32 (clips, classes)``.

        Raises
        ------
        ValueError
            There are none for some of the clips.
        """
        keys = [(clip.rows[0].corpus, clip.utterance) for clip in clips]
        missing = [
            utterance for corpus, utterance in keys if (corpus, utterance) not in self.logits
        ]
        if missing:
            raise ValueError(
                f"{self.path}: no targets for {len(missing)} of {len(clips)} training clips, the "
                f"first {missing[0]}; was it made for the same fold and renderings?"
            )
        return torch.tensor([self.logits[key] for key in keys])


def record_of(path: Path) -> Path:
    """Where the JSON beside a file of soft targets lies."""
    return path.with_suffix(".json")


def write_soft_targets(
    path: Path, clips: Sequence[Clip], logits: torch.Tensor, record: Mapping[str, Any]
) -> None:
    """Write soft targets and, beside them, what is known of them.

    Parameters
    ----------
    path : Path
        A CSV file.
    clips : sequence of Clip
    logits : Tensor
        ``float (clips, classes)``.
    record : mapping
        Plain values, with what :func:`ser_edge.runs.lineage.file_lineage` wants.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*_KEYS, *EMOTIONS])
    for clip, row in zip(clips, logits.tolist(), strict=True):
        writer.writerow([clip.rows[0].corpus, clip.utterance, *(f"{value:.5f}" for value in row)])
    write_whole(record_of(path), json.dumps(record, indent=2) + "\n")
    write_whole(path, buffer.getvalue())


def read_soft_targets(path: Path) -> SoftTargets:
    """Read what :func:`write_soft_targets` wrote.

    Raises
    ------
    ValueError
        A file is missing or is no such file; the message names it.
    """
    logits: dict[tuple[str, str], tuple[float, ...]] = {}
    try:
        with open(path, newline="") as file:
            reader = csv.DictReader(file)
            if list(reader.fieldnames or ()) != [*_KEYS, *EMOTIONS]:
                raise ValueError(
                    f"{path}: its columns should be {', '.join((*_KEYS, *EMOTIONS))}; "
                    "scripts/teach.py makes such files"
                )
            for row in reader:
                try:
                    values = tuple(float(row[emotion]) for emotion in EMOTIONS)
                except (TypeError, ValueError) as error:
                    raise ValueError(f"{path}: line {reader.line_num}: {error}") from None
                logits[row["corpus"], row["utterance"]] = values
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    return SoftTargets(path, logits, file_lineage(path, record_of(path)))
