"""Robustness figures as JSON, and as the tables that docs hold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from ser_edge.evaluation.robustness.results import LEAST_NOT_SPEECH_UNKNOWN, Robustness
from ser_edge.files import write_whole
from ser_edge.markdown import table
from ser_edge.metrics import bootstrap
from ser_edge.metrics.bootstrap import Difference

JSON: Final = "robustness.json"
MARKDOWN: Final = "robustness.md"

MOST_ECE: Final = 0.06
MOST_CLIPS_UNKNOWN: Final = 0.10


def to_dict(found: Robustness) -> dict[str, Any]:
    """Plain values, ready for JSON."""

    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    result: dict[str, Any] = {
        "model": found.model,
        "precision": found.precision,
        "folds": list(found.folds),
        "seed": found.seed,
        "temperature": found.calibration.temperature,
        "threshold": found.calibration.threshold,
    }
    if found.clips:
        result["clean"] = {
            "clips": found.clips,
            "speakers": found.speakers or None,
            "uar": rounded(found.uar),
            "ece": rounded(found.ece),
            "unknown_share": rounded(found.unknown),
        }
        result["degraded"] = {
            row.trial.name: {
                "title": row.trial.title,
                "clips": row.clips,
                "uar": None if row.uar is None else rounded(row.uar.b),
                "loss_points": None if row.loss is None else round(row.loss, 2) + 0.0,
                "uar_less_clean": None if row.uar is None else bootstrap.to_dict(row.uar),
                "unchanged_share": rounded(row.unchanged),
                "unknown_share": rounded(row.unknown),
                "limit": row.limit or None,
                "passed": row.passed,
            }
            for row in found.rows
        }
    if found.kinds:
        result["not_speech"] = {
            "unknown_share": rounded(found.not_speech_unknown),
            "kinds": {
                kind.kind: {
                    "answers": kind.answers,
                    "unknown_share": rounded(kind.share),
                    "most_often_else": kind.most_often or None,
                    "times": kind.times,
                    "passed": kind.passed,
                }
                for kind in found.kinds
            },
        }
    result["limits"] = [
        {"what": what, "value": rounded(value), "limit": limit, "passed": passed}
        for what, value, limit, passed in limits(found)
    ]
    if found.problems:
        result["problems"] = [f"{p.path.name}: {p.cause}" for p in found.problems]
    return result | {"provenance": dict(found.provenance)}


def limits(found: Robustness) -> list[tuple[str, float, str, bool]]:
    """The limits of the whole: name, value, limit as text, whether it is held.

    Of a single model only those that need neither labels nor held-out speakers.
    """
    result = []
    if found.ece is not None:
        result.append(
            ("ECE of the clean clips", found.ece, f"<= {MOST_ECE:g}", found.ece <= MOST_ECE)
        )
    share = found.not_speech_unknown
    if share is not None:
        least = LEAST_NOT_SPEECH_UNKNOWN
        result.append(("sounds that are no speech unknown", share, f">= {least:g}", share >= least))
    if found.folds and found.unknown is not None:
        most = MOST_CLIPS_UNKNOWN
        unknown = found.unknown
        result.append(("clean test clips unknown", unknown, f"<= {most:g}", unknown <= most))
    return result


def markdown(found: Robustness) -> str:
    """The tables, for a terminal and for docs."""
    parts = [_heading(found)]
    whole = limits(found)
    if whole:
        parts.append(
            table(
                ("asked of the whole", "", "limit", ""),
                [(what, f"{value:.3f}", limit, _verdict(ok)) for what, value, limit, ok in whole],
                "lr",
            )
        )
    if found.rows:
        parts.append(_degraded(found))
    if found.kinds:
        parts.append(_not_speech(found))
    return "\n\n".join(parts) + "\n"


def _heading(found: Robustness) -> str:
    name = f"{found.model} {found.precision}"
    calibration = (
        f"temperature {found.calibration.temperature}, threshold {found.calibration.threshold}"
    )
    if found.folds:
        return (
            f"{name}, through the edge app: {found.clips} test clips of {found.speakers} speakers "
            f"held out of the tested network's training (fold {', '.join(found.folds)}); "
            f"{calibration}, fitted on validation speakers; seed {found.seed}."
        )
    clips = f"{found.clips} clips without labels; " if found.clips else ""
    return f"{name}, through the edge app: {clips}{calibration}, its own; seed {found.seed}."


def _degraded(found: Robustness) -> str:
    if found.uar is None:
        return table(
            ("degradation", "clips", "label unchanged", "unknown", "limit", ""),
            [
                ("clean", str(found.clips), "", _percent(found.unknown), "", ""),
                *(
                    (
                        row.trial.title,
                        str(row.clips),
                        _percent(row.unchanged),
                        _percent(row.unknown),
                        row.limit,
                        _verdict(row.passed),
                    )
                    for row in found.rows
                ),
            ],
            "lr",
        )
    by_speaker = all(row.uar is not None and row.uar.by_speaker for row in found.rows)
    interval = f"95 % by {'speaker' if by_speaker else 'clip'}"
    head = ("degradation", "clips", "UAR", "loss, points", interval, "label unchanged")
    return table(
        (*head, "unknown", "limit", ""),
        [
            (
                *("clean", str(found.clips), f"{found.uar:.3f}", "", "", ""),
                *(_percent(found.unknown), "", ""),
            ),
            *(
                (
                    row.trial.title,
                    str(row.clips),
                    "" if row.uar is None else f"{row.uar.b:.3f}",
                    "" if row.loss is None else _points(row.loss),
                    _interval(row.uar, by_speaker),
                    _percent(row.unchanged),
                    _percent(row.unknown),
                    row.limit,
                    _verdict(row.passed),
                )
                for row in found.rows
            ),
        ],
        "lr",
    )


def _not_speech(found: Robustness) -> str:
    answers = sum(kind.answers for kind in found.kinds)
    least = f">= {LEAST_NOT_SPEECH_UNKNOWN:.0%}"
    lines = [
        (
            kind.kind,
            str(kind.answers),
            _percent(kind.share),
            f"{kind.most_often} ({kind.times})" if kind.times else "",
            least,
            _verdict(kind.passed),
        )
        for kind in found.kinds
    ]
    share = found.not_speech_unknown
    overall = share is not None and share >= LEAST_NOT_SPEECH_UNKNOWN
    lines.append(("**all**", str(answers), _percent(share), "", least, _verdict(overall)))
    if found.unknown is not None:
        most, passed = "", None
        if found.folds:  # of clips that it may have been trained on, nothing can be asked
            most, passed = f"<= {MOST_CLIPS_UNKNOWN:.0%}", found.unknown <= MOST_CLIPS_UNKNOWN
        name = "real test clips" if found.folds else "the clips, clean"
        clips = str(found.clips)
        lines.append((name, clips, _percent(found.unknown), "", most, _verdict(passed)))
    return table(("no speech", "answers", "unknown", "else most often", "limit", ""), lines, "lr")


def _interval(uar: Difference | None, by_speaker: bool) -> str:
    """Of the loss: the ends change places with the sign."""
    if uar is None:
        return ""
    found = uar.by_speaker if by_speaker else uar.by_clip
    return "" if found is None else f"{_points(-100 * found.high)} to {_points(-100 * found.low)}"


def _points(value: float) -> str:
    return f"{round(value, 1) + 0.0:.1f}"  # never -0.0


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _verdict(passed: bool | None) -> str:
    return {True: "pass", False: "FAIL", None: ""}[passed]


def write(found: Robustness, out: Path) -> None:
    """Write ``robustness.json`` and ``robustness.md``."""
    write_whole(out / JSON, json.dumps(to_dict(found), indent=2, allow_nan=False) + "\n")
    write_whole(out / MARKDOWN, markdown(found))
