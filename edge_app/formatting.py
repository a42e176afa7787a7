"""Pieces of text that both answers and events are written with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

BAR: Final = 20
"""Characters of a whole bar."""


def score_bar(confidence: float) -> str:
    """``"########............  38%"``."""
    filled = round(confidence * BAR)
    return "#" * filled + "." * (BAR - filled) + f" {confidence:4.0%}"


def clock(seconds: float) -> str:
    """``"0:01:02.3"``: hours, minutes, seconds."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    return f"{minutes // 60}:{minutes % 60:02}:{rest / 10:04.1f}"


def three_best(scores: Mapping[str, float]) -> str:
    """``"(angry 38%, neutral 27%, disgust 10%)"``."""
    ranked = sorted(scores.items(), key=lambda item: -item[1])[:3]
    return "(" + ", ".join(f"{label} {score:.0%}" for label, score in ranked) + ")"


def json_line(values: Mapping[str, object]) -> str:
    """One JSON object and a line feed; ValueError where a number is not finite."""
    return json.dumps(values, allow_nan=False) + "\n"


def audacity_line(start: float, end: float, label: str) -> str:
    """A line of an Audacity label file: two times in seconds and a text, between tabs."""
    return f"{start:.6f}\t{end:.6f}\t{' '.join(label.split())}\n"
