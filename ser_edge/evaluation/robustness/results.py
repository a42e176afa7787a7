"""Degradations by name, and what was measured with them.

A :class:`Trial` is a degradation and its limit, a :class:`Row` what became of the clips under it, a
:class:`Kind` what became of sounds that are no speech.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from ser_edge.corpora import Problem
from ser_edge.decision import Calibration
from ser_edge.emotions import UNKNOWN
from ser_edge.evaluation.robustness.degradation import (
    Babble,
    Change,
    FileCut,
    Gain,
    LeadingSilence,
    Mp3,
    Noise,
    Room,
    SpeechCut,
    Telephone,
    Unchanged,
)
from ser_edge.metrics.bootstrap import Difference

CLEAN: Final = "clean"
NOT_SPEECH: Final = "not-speech"

LEAST_NOT_SPEECH_UNKNOWN: Final = 0.95


@dataclass(frozen=True)
class Trial:
    """A degradation by name, and the limit for a network under it.

    Parameters
    ----------
    name : str
        On the command line and in files' names.
    title : str
        In tables.
    change : Change
    most_loss : float, optional
        Points of UAR (hundredths) that may be lost.
    least_unchanged : float, optional
        Share of the clips whose label must stay, 0 to 1.
    """

    name: str
    title: str
    change: Change
    most_loss: float | None = None
    least_unchanged: float | None = None


TRIALS: Final = (
    Trial("gain-20", "gain -20 dB", Gain(-20), least_unchanged=0.97),
    Trial("gain-10", "gain -10 dB", Gain(-10), least_unchanged=0.97),
    Trial("gain+6", "gain +6 dB", Gain(6), least_unchanged=0.97),
    Trial("gain+12", "gain +12 dB", Gain(12), least_unchanged=0.97),
    Trial("white-20", "white noise, 20 dB SNR", Noise("white", 20), 8),
    Trial("pink-20", "pink noise, 20 dB SNR", Noise("pink", 20), 8),
    Trial("babble-20", "babble, 20 dB SNR", Babble(20), 8),
    Trial("white-10", "white noise, 10 dB SNR", Noise("white", 10), 15),
    Trial("pink-10", "pink noise, 10 dB SNR", Noise("pink", 10), 15),
    Trial("babble-10", "babble, 10 dB SNR", Babble(10), 15),
    Trial("telephone", "telephone, 300-3400 Hz, 8 kHz, mu-law", Telephone(), 15),
    Trial("mp3-32", "MP3, 32 kbit/s", Mp3(32), 15),
    Trial("room", "small room, RT60 0.4 s", Room(0.4), 15),
    Trial("file-cut", "first 0.3 s of the file missing", FileCut(0.3), 8),
    Trial("speech-cut", "first 0.3 s of the speech missing", SpeechCut(0.3), 8),
    Trial("leading-silence", "1.5 s of silence before", LeadingSilence(1.5), 8),
)

CLEAN_TRIAL: Final = Trial(CLEAN, "clean", Unchanged())


@dataclass(frozen=True)
class ClipAnswer:
    """A clip's label of the highest score, and the decision: that label or "unknown"."""

    name: str
    label: str
    decision: str


@dataclass(frozen=True)
class Row:
    """A degradation against the clean clips.

    ``unchanged`` and ``unknown`` are shares of the clips, 0 to 1. ``uar`` has the clean clips as A
    and the degraded ones as B, pooled over the folds; None where there are no labels.
    """

    trial: Trial
    clips: int
    unchanged: float
    unknown: float
    uar: Difference | None = None

    @property
    def loss(self) -> float | None:
        """Points of UAR lost."""
        return None if self.uar is None else -100 * self.uar.difference

    @property
    def limit(self) -> str:
        """The limit as text; empty where there is none, or none without labels."""
        if self.trial.least_unchanged is not None:
            return f"unchanged >= {self.trial.least_unchanged:.0%}"
        if self.trial.most_loss is not None and self.uar is not None:
            return f"loss <= {self.trial.most_loss:g}"
        return ""

    @property
    def passed(self) -> bool | None:
        """Whether the limit is held; None where there is none."""
        if self.trial.least_unchanged is not None:
            return self.unchanged >= self.trial.least_unchanged
        if self.trial.most_loss is not None and self.loss is not None:
            return self.loss <= self.trial.most_loss + 1e-9
        return None


@dataclass(frozen=True)
class Kind:
    """A kind of sound that is no speech: how often "unknown", and the most frequent other label."""

    kind: str
    answers: int
    unknown: int
    most_often: str
    times: int

    @property
    def share(self) -> float:
        return self.unknown / self.answers

    @property
    def passed(self) -> bool:
        return self.share >= LEAST_NOT_SPEECH_UNKNOWN


@dataclass(frozen=True)
class Robustness:
    """All that was measured of one model, or of the networks of an evaluation's folds.

    ``folds`` is empty of a single model. ``clips``, ``speakers``, ``uar``, ``ece`` and ``unknown``
    are of the clean clips; ``uar`` and ``ece`` are None where there are no labels.
    """

    model: str
    precision: str
    calibration: Calibration
    seed: int
    folds: tuple[str, ...]
    clips: int
    speakers: int
    uar: float | None
    ece: float | None
    unknown: float | None
    rows: tuple[Row, ...]
    kinds: tuple[Kind, ...]
    problems: tuple[Problem, ...]
    provenance: Mapping[str, str]

    @property
    def not_speech_unknown(self) -> float | None:
        """Share unknown of all sounds that are no speech; None where there was none."""
        answers = sum(kind.answers for kind in self.kinds)
        return sum(kind.unknown for kind in self.kinds) / answers if answers else None


def row(
    trial: Trial,
    clean: Sequence[ClipAnswer],
    degraded: Sequence[ClipAnswer],
    uar: Difference | None = None,
) -> Row | None:
    """Answers -> a degradation's row, over the clips answered both ways; None without such."""
    before = {answer.name: answer.label for answer in clean}
    both = [answer for answer in degraded if answer.name in before]
    if not both:
        return None
    unchanged = float(np.mean([answer.label == before[answer.name] for answer in both]))
    return Row(trial, len(both), unchanged, share_of_unknown(both), uar)


def kinds_of(answers: Sequence[ClipAnswer], kind_of: Mapping[str, str]) -> tuple[Kind, ...]:
    """Answers to sounds that are no speech, and the kind of each name -> an entry a kind."""
    result = []
    for kind in dict.fromkeys(kind_of.values()):
        decisions = Counter(answer.decision for answer in answers if kind_of[answer.name] == kind)
        total, unknown = decisions.total(), decisions.pop(UNKNOWN, 0)
        if total:
            most_often, times = decisions.most_common(1)[0] if decisions else ("", 0)
            result.append(Kind(kind, total, unknown, most_often, times))
    return tuple(result)


def share_of_unknown(answers: Sequence[ClipAnswer]) -> float:
    """The share of answers whose decision is "unknown", 0 to 1."""
    return float(np.mean([answer.decision == UNKNOWN for answer in answers]))


def chosen(only: Sequence[str]) -> tuple[tuple[Trial, ...], bool]:
    """Names -> trials, and whether sounds that are no speech are among them; none means all.

    Raises
    ------
    ValueError
        There is no such name.
    """
    names = [*(trial.name for trial in TRIALS), NOT_SPEECH]
    wrong = [name for name in only if name not in names]
    if wrong:
        raise ValueError(f"there is no degradation {wrong[0]!r}, allowed: {', '.join(names)}")
    wanted = only or names
    return tuple(trial for trial in TRIALS if trial.name in wanted), NOT_SPEECH in wanted
