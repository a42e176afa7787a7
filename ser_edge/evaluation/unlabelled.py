"""Recordings without labels: a folder of them -> a model's answers."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from tqdm import tqdm

from ser_edge.audio.base import AudioError
from ser_edge.audio.files import files_below, sound_suffixes
from ser_edge.emotions import UNKNOWN
from ser_edge.evaluation.classifier import SoundAnswer, SoundClassifier
from ser_edge.files import write_whole
from ser_edge.manifest import Manifest
from ser_edge.provenance import provenance

ANSWERS: Final = "answers.jsonl"
SUMMARY: Final = "summary.json"
REPORT: Final = "report.html"


@dataclass(frozen=True)
class FileAnswer:
    """One file, by its path below the folder, and its answer."""

    file: str
    answer: SoundAnswer


@dataclass(frozen=True)
class Unreadable:
    """One file, by its path below the folder, and why it has no answer."""

    file: str
    cause: str


@dataclass(frozen=True)
class Share:
    """How often an emotion, or "unknown", was answered.

    ``of_clips`` and ``of_time`` (each clip weighted by its duration) are 0 to 1;
    ``mean_confidence`` is None where it never was.
    """

    emotion: str
    clips: int
    of_clips: float
    of_time: float
    mean_confidence: float | None


@dataclass(frozen=True)
class FolderAnswers:
    """All answers for a folder."""

    folder: str
    manifest: Manifest
    device: str
    answers: tuple[FileAnswer, ...]
    unreadable: tuple[Unreadable, ...]
    provenance: Mapping[str, str]

    @property
    def seconds(self) -> float:
        """Duration of all files with an answer."""
        return float(sum(file.answer.duration for file in self.answers))

    @property
    def mean_confidence(self) -> float | None:
        """Of all answers; None where there is none."""
        return _mean([file.answer.confidence for file in self.answers])

    @property
    def shares(self) -> tuple[Share, ...]:
        """A share for every label in its order, "unknown" last."""
        result = []
        for emotion in (*self.manifest.labels, UNKNOWN):
            answers = [f.answer for f in self.answers if f.answer.emotion == emotion]
            result.append(
                Share(
                    emotion,
                    len(answers),
                    len(answers) / max(1, len(self.answers)),
                    float(sum(a.duration for a in answers)) / (self.seconds or 1.0),
                    _mean([answer.confidence for answer in answers]),
                )
            )
        return tuple(result)

    @property
    def unknown(self) -> Share:
        return self.shares[-1]


def predict_folder(
    folder: Path, classifier: SoundClassifier, *, progress: bool = True
) -> FolderAnswers:
    """Every sound below a folder -> a model's answers.

    Parameters
    ----------
    folder : Path
        Searched through; hidden files are skipped.
    classifier : SoundClassifier
        The edge app's ``Classifier``.
    progress : bool
        Show a bar.

    Returns
    -------
    FolderAnswers
        Files that cannot be read, or that the device fails on, are in ``unreadable``.

    Raises
    ------
    ValueError
        There is no such folder, or no sound in it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder")
    suffixes = sound_suffixes()
    paths = list(files_below(folder, suffixes))
    if not paths:
        raise ValueError(f"{folder}: no sound in it; looked for {', '.join(sorted(suffixes))}")
    answers, unreadable = [], []
    for path in tqdm(paths, unit="file", desc="predict", disable=not progress):
        file = _printable(path.relative_to(folder))
        try:
            answers.append(FileAnswer(file, classifier.predict(str(path))))
        except AudioError as error:
            unreadable.append(Unreadable(file, error.cause))
        except RuntimeError as error:  # of the device
            unreadable.append(Unreadable(file, str(error)))
    name = _printable(Path(folder.resolve().name))
    return FolderAnswers(
        name,
        classifier.manifest,
        classifier.device,
        tuple(answers),
        tuple(unreadable),
        provenance(),
    )


def summary(found: FolderAnswers) -> dict[str, Any]:
    """The summary as plain values, ready for JSON."""
    calibration = found.manifest.calibration
    return {
        "folder": found.folder,
        "model": found.manifest.name,
        "precision": found.manifest.precision,
        "device": found.device,
        "temperature": calibration.temperature,
        "threshold": calibration.threshold,
        "files": len(found.answers),
        "seconds": round(found.seconds, 3),
        "windows": sum(len(file.answer.windows) for file in found.answers),
        "unknown_rate": round(found.unknown.of_clips, 4),
        "unknown_rate_by_time": round(found.unknown.of_time, 4),
        "mean_confidence": _rounded(found.mean_confidence),
        "shares": {
            share.emotion: {
                "files": share.clips,
                "of_files": round(share.of_clips, 4),
                "of_time": round(share.of_time, 4),
                "mean_confidence": _rounded(share.mean_confidence),
            }
            for share in found.shares
        },
        "unreadable": {item.file: item.cause for item in found.unreadable},
        "provenance": dict(found.provenance),
    }


def write(found: FolderAnswers, out: Path) -> None:
    """Write ``answers.jsonl``, an answer or ``{"file", "error"}`` a line, and ``summary.json``."""
    lines: list[dict[str, Any]] = [
        {**file.answer.to_dict(), "file": file.file} for file in found.answers
    ]
    lines += [{"file": item.file, "error": item.cause} for item in found.unreadable]
    lines.sort(key=lambda line: str(line["file"]))
    write_whole(out / ANSWERS, "".join(json.dumps(line, allow_nan=False) + "\n" for line in lines))
    write_whole(out / SUMMARY, json.dumps(summary(found), indent=2, allow_nan=False) + "\n")


def table(found: FolderAnswers) -> str:
    """The summary as text for a terminal."""
    lines = [
        f"{len(found.answers)} files, {found.seconds / 60:.1f} min, by "
        f"{found.manifest.name} {found.manifest.precision} on {found.device}",
        f"{'':<10} {'files':>6} {'share':>7} {'of time':>8} {'confidence':>11}",
    ]
    for share in found.shares:
        lines.append(
            f"{share.emotion:<10} {share.clips:>6} {share.of_clips:>7.1%} {share.of_time:>8.1%} "
            f"{percent(share.mean_confidence):>11}"
        )
    lines.append(
        f"unknown: {found.unknown.of_clips:.1%} of the files; "
        f"mean confidence {percent(found.mean_confidence)}"
    )
    return "\n".join(lines)


def percent(share: float | None) -> str:
    """``0.5`` -> ``50%``, None -> ``-``."""
    return "-" if share is None else f"{share:.0%}"


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)


def _printable(path: Path) -> str:
    """A path as text that can be written as UTF-8, whatever bytes the name holds."""
    return os.fsencode(path.as_posix()).decode("utf-8", "backslashreplace")
