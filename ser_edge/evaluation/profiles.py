"""Does a person's profile help? From stored predictions for held-out speakers.

RAVDESS has every clip twice. Statistics are taken from an actor's first repetitions, without their
labels, and the second ones are scored with and without them. Only a network's predictions for its
own test (or validation) actors are used, so that it knows nothing of them but the profile.

The clips of the two repetitions are the same sentences with the same emotions, as many of each:
the kindest case for a profile. What happens in others is measured beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from ser_edge.corpora import ravdess
from ser_edge.data.splits import RANDOM
from ser_edge.decision import Calibration, softmax
from ser_edge.emotions import EMOTIONS, emotion_index
from ser_edge.markdown import table
from ser_edge.metrics import bootstrap
from ser_edge.metrics.bootstrap import Difference, Scored
from ser_edge.metrics.calibration import fit_calibration
from ser_edge.metrics.classification import (
    ClipPrediction,
    expected_calibration_error,
    negative_log_likelihood,
    read_predictions,
)
from ser_edge.profiles import BOUND, SHRINKAGE, correction

Float64 = npt.NDArray[np.float64]

DRAWS: Final = 20
"""Times that clips are drawn where they are drawn at random."""

MANY: Final = 30
"""Clips of one repetition: 8 emotions, 2 statements, 2 intensities, of neutral but one."""

BASELINES: Final = ("neutral", "calm")


@dataclass(frozen=True)
class Voice:
    """One network's predictions for one actor: those to enrol with, those to score."""

    fold: str
    speaker: str
    enrolled: tuple[ClipPrediction, ...]
    scored: tuple[ClipPrediction, ...]

    def turned(self) -> Voice:
        """The same with the two repetitions exchanged."""
        return Voice(self.fold, self.speaker, self.scored, self.enrolled)


Chosen = Callable[[Voice, Sequence[Voice], np.random.Generator], Iterator[Sequence[ClipPrediction]]]
"""A voice, all voices, random numbers -> one enrolment after another, each its clips."""


@dataclass(frozen=True)
class Setting:
    """What a person enrols with."""

    name: str
    choose: Chosen


def _all(
    voice: Voice, voices: Sequence[Voice], random: np.random.Generator
) -> Iterator[Sequence[ClipPrediction]]:
    yield voice.enrolled


def _some(count: int) -> Chosen:
    def choose(
        voice: Voice, voices: Sequence[Voice], random: np.random.Generator
    ) -> Iterator[Sequence[ClipPrediction]]:
        for _ in range(DRAWS):
            order = random.permutation(len(voice.enrolled))[:count]
            yield [voice.enrolled[i] for i in order]

    return choose


def _again(clips: Sequence[ClipPrediction]) -> list[ClipPrediction]:
    """Clips one after another, over and over, until there are as many as in a repetition."""
    return [clips[i % len(clips)] for i in range(MANY)]


def _baselines(
    voice: Voice, voices: Sequence[Voice], random: np.random.Generator
) -> Iterator[Sequence[ClipPrediction]]:
    clips = [p for p in voice.enrolled if p.emotion in BASELINES]
    if clips:
        yield _again(clips)


def _one_emotion(
    voice: Voice, voices: Sequence[Voice], random: np.random.Generator
) -> Iterator[Sequence[ClipPrediction]]:
    for emotion in EMOTIONS:
        clips = [p for p in voice.enrolled if p.emotion == emotion]
        if clips:
            yield _again(clips)


def _others(
    voice: Voice, voices: Sequence[Voice], random: np.random.Generator
) -> Iterator[Sequence[ClipPrediction]]:
    for other in voices:
        if other.fold == voice.fold and other.speaker != voice.speaker:
            yield other.enrolled


USUAL: Final = (
    Setting("all clips of repetition 1", _all),
    Setting("16 of them, at random", _some(16)),
    Setting("8 of them, at random", _some(8)),
)
UNUSUAL: Final = (
    Setting(f"{MANY} neutral and calm clips", _baselines),
    Setting(f"{MANY} clips of one emotion", _one_emotion),
    Setting("clips of another person", _others),
)
"""Where the assumption of a profile is broken; few clips are repeated until they are 30."""

SETTINGS: Final = USUAL + UNUSUAL


@dataclass(frozen=True)
class Rule:
    """Enrolled logits ``(clips, classes)`` and temperature -> what is added, in nats."""

    name: str
    added: Callable[[Float64, float], Float64]


def _mean_logits(shrinkage: float, bound: float) -> Callable[[Float64, float], Float64]:
    def added(logits: Float64, temperature: float) -> Float64:
        mean = logits.mean(axis=0)
        return correction(mean, len(logits), temperature, shrinkage=shrinkage, bound=bound)

    return added


def _mean_scores(
    shrinkage: float, bound: float, rounds: int = 1
) -> Callable[[Float64, float], Float64]:
    """Scores divided by their mean; with more rounds until the mean scores are even (Sinkhorn)."""

    def added(logits: Float64, temperature: float) -> Float64:
        total = np.zeros(logits.shape[1])
        for _ in range(rounds):
            total = total - np.log(softmax(logits / temperature + total).mean(axis=0))
        share = len(logits) / (len(logits) + shrinkage)
        return np.asarray(np.clip((total - total.mean()) * share, -bound, bound))

    return added


SHIPPED: Final = Rule(
    f"mean logits, n/(n+{SHRINKAGE:g}), at most {BOUND:g} nat", _mean_logits(SHRINKAGE, BOUND)
)
RULES: Final = (
    Rule("mean logits", _mean_logits(0, np.inf)),
    Rule("mean logits, n/(n+8)", _mean_logits(8, np.inf)),
    Rule("mean logits, at most 1 nat", _mean_logits(0, 1)),
    SHIPPED,
    Rule("mean logits, n/(n+16), at most 1 nat", _mean_logits(16, 1)),
    Rule("mean logits, n/(n+8), at most 0.5 nat", _mean_logits(8, 0.5)),
    Rule("mean scores", _mean_scores(0, np.inf)),
    Rule("mean scores, n/(n+8), at most 1 nat", _mean_scores(8, 1)),
    Rule("mean scores made even (10 rounds)", _mean_scores(0, np.inf, 10)),
    Rule("the same, n/(n+8), at most 1 nat", _mean_scores(8, 1, 10)),
)
"""What was tried: of these the shipped one was chosen, on validation voices."""


@dataclass(frozen=True)
class Sureness:
    """How far scores can be trusted: NLL, ECE, and the share that the threshold makes unknown."""

    nll: float
    ece: float
    unknown: float


@dataclass(frozen=True)
class Row:
    """A setting: figures without (A) and with the profile (B), pooled over all voices.

    ``clips`` are those of one enrolment, on average. ``better``, ``same`` and ``worse`` count
    speakers by the share of their clips that is right.
    """

    setting: str
    clips: float
    uar: Difference
    accuracy: Difference
    without: Sureness
    given: Sureness
    better: int
    same: int
    worse: int


@dataclass(frozen=True)
class RuleRow:
    """A rule on the validation voices: UAR and NLL in the settings' order, None without clips."""

    rule: str
    figures: tuple[tuple[float, float] | None, ...]


@dataclass(frozen=True)
class Enrolment:
    """What enrolment does, measured; ``voices`` counts pairs of an actor and a network."""

    predictions: Path
    calibration: Calibration
    voices: int
    clips: int
    rows: tuple[Row, ...]
    validation_voices: int
    rules: tuple[RuleRow, ...]


def measure(path: Path, *, seed: int = 0, draws: int = bootstrap.DRAWS) -> Enrolment:
    """Measure from the predictions of an evaluation.

    Parameters
    ----------
    path : Path
        ``predictions.csv`` of an evaluation on RAVDESS. Temperature and threshold are fitted on
        its validation rows, as an evaluation does.
    seed : int
        Of the clips that are drawn.
    draws : int
        Of the paired bootstrap.

    Raises
    ------
    ValueError
        The file is no predictions, or has no validation or test voices of RAVDESS with both
        repetitions; the message names it.
    """
    # In a random split an actor's first repetitions may have been trained on.
    predictions = [p for p in read_predictions(path) if p.fold != RANDOM]
    calibration = _calibration(predictions, path)
    validation = voices_of(predictions, "validation", path)
    tested = voices_of(predictions, "test", path)
    turned = [*validation, *(voice.turned() for voice in validation)]
    rows = [score(tested, s, SHIPPED, calibration, seed, draws) for s in SETTINGS]
    return Enrolment(
        predictions=path,
        calibration=calibration,
        voices=len(tested),
        clips=sum(len(voice.scored) for voice in tested),
        rows=tuple(row for row in rows if row is not None),
        validation_voices=len(validation),
        rules=tuple(_rule_row(rule, turned, calibration, seed) for rule in (None, *RULES)),
    )


def _calibration(predictions: Sequence[ClipPrediction], path: Path) -> Calibration:
    try:
        return fit_calibration([p for p in predictions if p.part == "validation"])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def voices_of(predictions: Sequence[ClipPrediction], part: str, path: Path) -> tuple[Voice, ...]:
    """The voices of a part: repetition 1 to enrol with, repetition 2 to score.

    Parameters
    ----------
    predictions : sequence of ClipPrediction
        Clips of other corpora are passed over. Where a fold has a clip several times (several
        seeds), each is a network of its own.
    part : {"test", "validation"}
    path : Path
        What messages name.

    Raises
    ------
    ValueError
        No clip of RAVDESS in that part, a name that is none of RAVDESS, or a voice with one
        repetition alone.
    """
    found: dict[tuple[str, str, int], dict[int, list[ClipPrediction]]] = {}
    times: Counter[tuple[str, str]] = Counter()
    for p in predictions:
        if p.part != part or p.corpus != "ravdess":
            continue
        try:
            repetition = ravdess.CORPUS.parse(Path(f"{p.utterance}.wav")).repetition
        except ValueError as error:
            raise ValueError(f"{path}: {p.utterance}: {error}") from None
        network = times[p.fold, p.utterance]
        times[p.fold, p.utterance] += 1
        clips = found.setdefault((p.fold, p.speaker, network), {1: [], 2: []})
        clips[repetition or 1].append(p)
    if not found:
        raise ValueError(f"{path}: no {part} clip of RAVDESS in it, whose clips come twice")
    for (fold, speaker, _), clips in found.items():
        for repetition, kept in clips.items():
            if not kept:
                raise ValueError(
                    f"{path}: fold {fold}: {speaker} has no {part} clip of repetition {repetition}"
                )
    return tuple(
        Voice(fold, speaker, tuple(clips[1]), tuple(clips[2]))
        for (fold, speaker, _), clips in found.items()
    )


def with_profile(
    voices: Sequence[Voice], setting: Setting, rule: Rule, temperature: float, seed: int = 0
) -> tuple[list[ClipPrediction], float]:
    """The scored clips once for each enrolment, and the mean number of clips of an enrolment.

    A voice of which a setting makes no enrolment is left out.
    """
    random = np.random.default_rng(seed)
    predictions: list[ClipPrediction] = []
    counts: list[int] = []
    for voice in voices:
        for clips in setting.choose(voice, voices, random):
            added = rule.added(np.array([p.logits for p in clips]), temperature) * temperature
            predictions += [
                replace(p, logits=tuple((np.array(p.logits) + added).tolist()))
                for p in voice.scored
            ]
            counts.append(len(clips))
    return predictions, float(np.mean(counts)) if counts else 0.0


def score(
    voices: Sequence[Voice],
    setting: Setting,
    rule: Rule,
    calibration: Calibration,
    seed: int = 0,
    draws: int = bootstrap.DRAWS,
) -> Row | None:
    """One setting with and without the profile, on the same clips; None where nobody has such."""
    given, clips = with_profile(voices, setting, rule, calibration.temperature, seed)
    if not given:
        return None
    names = {(p.fold, p.utterance) for p in given}
    without = [p for voice in voices for p in voice.scored if (p.fold, p.utterance) in names]
    pair = bootstrap.compare(
        Scored("without", tuple(without), False), Scored("with", tuple(given), False), draws=draws
    )
    before, after = _right(without), _right(given)
    changes = [round(after[speaker] - before[speaker], 9) for speaker in before]
    return Row(
        setting=setting.name,
        clips=clips,
        uar=pair.uar,
        accuracy=pair.accuracy,
        without=_sureness(without, calibration),
        given=_sureness(given, calibration),
        better=sum(change > 0 for change in changes),
        same=sum(change == 0 for change in changes),
        worse=sum(change < 0 for change in changes),
    )


def _right(predictions: Sequence[ClipPrediction]) -> dict[str, float]:
    """Speaker -> share of the predictions that is right."""
    right: dict[str, list[bool]] = {}
    for p in predictions:
        right.setdefault(p.speaker, []).append(p.predicted == p.emotion)
    return {speaker: float(np.mean(values)) for speaker, values in right.items()}


def _scores(
    predictions: Sequence[ClipPrediction], temperature: float
) -> tuple[Float64, npt.NDArray[np.int64]]:
    scores = softmax(np.array([p.logits for p in predictions]), temperature)
    return scores, np.array([emotion_index(p.emotion) for p in predictions])


def _sureness(predictions: Sequence[ClipPrediction], calibration: Calibration) -> Sureness:
    scores, truth = _scores(predictions, calibration.temperature)
    return Sureness(
        nll=negative_log_likelihood(scores, truth),
        ece=expected_calibration_error(scores, truth),
        unknown=float(np.mean(scores.max(axis=1) < calibration.threshold)),
    )


def _rule_row(
    rule: Rule | None, voices: Sequence[Voice], calibration: Calibration, seed: int
) -> RuleRow:
    nothing = Rule("without", lambda logits, temperature: np.zeros(logits.shape[1]))
    used = rule or nothing
    figures: list[tuple[float, float] | None] = []
    for setting in SETTINGS:
        predictions, _ = with_profile(voices, setting, used, calibration.temperature, seed)
        if not predictions:
            figures.append(None)
            continue
        scores, truth = _scores(predictions, calibration.temperature)
        right = scores.argmax(axis=1) == truth
        uar = float(np.mean([right[truth == label].mean() for label in np.unique(truth)]))
        figures.append((uar, negative_log_likelihood(scores, truth)))
    return RuleRow(used.name, tuple(figures))


# ------------------------------------------------------------------------------------- as text


def verdict(found: Enrolment) -> str:
    """Whether it helps, in a sentence, by the interval over speakers."""
    uar = found.rows[0].uar
    interval = uar.by_speaker
    if interval is None:
        return "One speaker alone: the result says nothing about other voices."
    if not interval.is_clear:
        return "It does not clearly help: the interval of the difference holds zero."
    return "It helps." if uar.difference > 0 else "It harms."


def markdown(found: Enrolment) -> str:
    """The tables, for a terminal and for docs."""
    first = found.rows[0]
    interval = first.uar.by_speaker
    ends = "" if interval is None else f" (95 % by speaker {_ends(interval.low, interval.high)})"
    temperature, threshold = found.calibration.temperature, found.calibration.threshold
    parts = [
        "# What a profile does on held-out speakers",
        f"Made by `scripts/enrolment.py {found.predictions}`. These figures stand apart from the "
        "main one, which knows nothing of the speaker.",
        f"**Repetition 2 of {found.voices} voices, {found.clips} clips: UAR {first.uar.a:.3f} "
        f"without, {first.uar.b:.3f} with a profile, {first.uar.difference:+.3f}{ends}. "
        f"{verdict(found)}** {first.better} speakers are recognised better, {first.worse} worse, "
        f"{first.same} the same.",
        f"Rule: {SHIPPED.name}; statistics without labels. Temperature {temperature:g}, threshold "
        f"{threshold:g}, fitted on the validation clips without profiles. Clips drawn at random: "
        f"{DRAWS} times for each voice. Intervals: paired bootstrap, {bootstrap.DRAWS} draws of "
        "speakers.",
        table(
            ("enrolled with", "clips", "UAR", "difference", "95 %", "accuracy", "NLL", "ECE",
             "unknown"),
            [_without(first), *(_row(row) for row in found.rows)],
        ),
        "## How the rule was chosen",
        f"UAR / NLL on the {found.validation_voices} validation voices, the two repetitions taking "
        "turns. Test clips play no part here.",
        table(
            ("rule", *(setting.name for setting in SETTINGS)),
            [
                (
                    f"**{row.rule}**" if row.rule == SHIPPED.name else row.rule,
                    *("-" if f is None else f"{f[0]:.3f} / {f[1]:.3f}" for f in row.figures),
                )
                for row in found.rules
            ],
        ),
    ]  # fmt: skip
    return "\n\n".join(parts) + "\n"


def _ends(low: float, high: float) -> str:
    return f"{low:+.3f} to {high:+.3f}"


def _without(row: Row) -> tuple[str, ...]:
    sure = row.without
    return (
        "nothing", "0", f"{row.uar.a:.3f}", "", "", f"{row.accuracy.a:.3f}", f"{sure.nll:.3f}",
        f"{sure.ece:.3f}", f"{sure.unknown:.1%}",
    )  # fmt: skip


def _row(row: Row) -> tuple[str, ...]:
    interval, sure = row.uar.by_speaker, row.given
    return (
        row.setting, f"{row.clips:.0f}", f"{row.uar.b:.3f}", f"{row.uar.difference:+.3f}",
        "one speaker" if interval is None else _ends(interval.low, interval.high),
        f"{row.accuracy.b:.3f}", f"{sure.nll:.3f}", f"{sure.ece:.3f}", f"{sure.unknown:.1%}",
    )  # fmt: skip
