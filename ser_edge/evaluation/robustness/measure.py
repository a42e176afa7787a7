"""What the edge app makes of degraded clips, and of sounds that are no speech.

Two ways. :func:`measure` takes the folder of an evaluation whose folds were exported
(``scripts/evaluate.py --edge``): every fold's network hears its own test clips degraded, which no
part of it ever heard, so there is an UAR. :func:`try_model` takes one IR and any clips: without
labels, or on actors of its training, only whether its answers stay the same means anything.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from ser_edge.audio.decode import load
from ser_edge.audio.files import files_below, sound_suffixes
from ser_edge.corpora import Problem
from ser_edge.data.datasets import find_sounds
from ser_edge.decision import Calibration, decide
from ser_edge.emotions import UNKNOWN
from ser_edge.evaluation.classifier import OpenClassifier, SoundAnswer, SoundClassifier
from ser_edge.evaluation.crossval import FOLDS, run_folder
from ser_edge.evaluation.edge import EDGE, logits_of, weights_digest
from ser_edge.evaluation.robustness import degradation, nonspeech
from ser_edge.evaluation.robustness.degradation import (
    Babble,
    Change,
    FileCut,
    Float32,
    Gain,
    LeadingSilence,
    Mp3,
    Noise,
    Room,
    SpeechCut,
    Telephone,
    Unchanged,
    degrade,
    pcm16,
)
from ser_edge.files import write_whole
from ser_edge.manifest import FP16, PRECISIONS
from ser_edge.metrics import bootstrap, classification
from ser_edge.metrics.bootstrap import Difference, Scored
from ser_edge.metrics.calibration import UNKNOWN_SHARE, fit_calibration
from ser_edge.metrics.classification import ClipPrediction, predictions_csv, read_predictions
from ser_edge.provenance import provenance
from ser_edge.runs.inference import METRICS
from ser_edge.runs.record import Run, first_line, read_run

CACHE: Final = "robustness"
"""Folder beside a fold's IR: what it said, a file for each degradation."""

CLEAN: Final = "clean"
NOT_SPEECH: Final = "not-speech"

LEAST_NOT_SPEECH_UNKNOWN: Final = 0.95


@dataclass(frozen=True)
class Trial:
    """A degradation by name, and what is asked of a network that hears it.

    Parameters
    ----------
    name : str
        On the command line and in files.
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

_CLEAN: Final = Trial(CLEAN, "clean", Unchanged())


# ----------------------------------------------------------------------------------- the figures


@dataclass(frozen=True)
class Heard:
    """A clip's label of the highest score, and what was said: that or "unknown"."""

    name: str
    label: str
    said: str


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
        """What is asked, in words; empty where nothing can be asked without labels."""
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
    """A kind of sound that is no speech: how often "unknown", and what else is said most often."""

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
        """Share unknown of all sounds that are no speech; None where none was heard."""
        answers = sum(kind.answers for kind in self.kinds)
        return sum(kind.unknown for kind in self.kinds) / answers if answers else None


def row(
    trial: Trial, clean: Sequence[Heard], degraded: Sequence[Heard], uar: Difference | None = None
) -> Row | None:
    """A degradation's row, over the clips that were heard both ways; None where there is none."""
    before = {heard.name: heard.label for heard in clean}
    both = [heard for heard in degraded if heard.name in before]
    if not both:
        return None
    return Row(
        trial,
        len(both),
        float(np.mean([heard.label == before[heard.name] for heard in both])),
        _unknown(both),
        uar,
    )


def kinds_of(heard: Sequence[Heard], kind_of: Mapping[str, str]) -> tuple[Kind, ...]:
    """A line for each kind, of what was said to sounds of which each name has a kind."""
    result = []
    for kind in dict.fromkeys(kind_of.values()):
        said = Counter(h.said for h in heard if kind_of[h.name] == kind)
        answers, unknown = said.total(), said.pop(UNKNOWN, 0)
        if answers:
            most_often, times = said.most_common(1)[0] if said else ("", 0)
            result.append(Kind(kind, answers, unknown, most_often, times))
    return tuple(result)


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


def _unknown(heard: Sequence[Heard]) -> float:
    return float(np.mean([h.said == UNKNOWN for h in heard]))


# ----------------------------------------------------------------------------------- an evaluation


def measure(
    folder: Path,
    sounds: Sequence[Path],
    classifier: OpenClassifier,
    *,
    precision: str = FP16,
    only: Sequence[str] = (),
    seed: int = 0,
    per_kind: int = nonspeech.PER_KIND,
    unknown_share: float = UNKNOWN_SHARE,
    progress: bool = True,
) -> Robustness:
    """Let the network of every finished fold hear its test clips degraded, and what is no speech.

    What was heard is kept beside each fold's IR, a file for each degradation: a run that was broken
    off goes on, and a network, seed or degradation that has changed is heard anew.

    Parameters
    ----------
    folder : Path
        An evaluation with ``fold-N/edge/<precision>/<name>.xml``, of temperature 1 and threshold 0.
    sounds : sequence of Path
        Folders of the recordings.
    classifier : callable
        ``edge_app.Classifier``.
    precision : {"FP16", "INT8"}
    only : sequence of str
        Names of :data:`TRIALS` and ``not-speech``; all of them if empty.
    seed : int
        Of all that is drawn.
    per_kind : int
        Sounds of each kind that is no speech.
    unknown_share : float
        Of the validation clips; gives the threshold, see :func:`fit_calibration`.
    progress : bool

    Returns
    -------
    Robustness
        Clips that failed are in ``problems``; what they were heard as otherwise is not kept.

    Raises
    ------
    ValueError
        Nothing was evaluated or exported there, an IR has a calibration, a sound is missing, or
        not one clip could be heard.
    """
    origin = provenance()
    if precision not in PRECISIONS:
        raise ValueError(f"precision is {precision!r}, allowed: {', '.join(PRECISIONS)}")
    if not 0 <= unknown_share < 1:
        raise ValueError(f"unknown share is {unknown_share}, allowed: 0 to below 1")
    trials, with_others = chosen(only)
    runs = [
        read_run(run_folder(folder, fold), fold)
        for fold in FOLDS
        if (run_folder(folder, fold) / METRICS).is_file()
    ]
    if not runs:
        raise ValueError(f"{folder}: there is no finished fold in it")
    found = find_sounds(sounds)
    missing = sorted({p.utterance for run in runs for p in run.part("test")} - found.keys())
    if missing:
        raise ValueError(
            f"{missing[0]}: no sound file of that name below --sounds ({len(missing)} missing)"
        )
    irs = [_ir(run, precision) for run in runs]
    others = tuple(nonspeech.sounds(seed, per_kind)) if with_others else ()
    calibration = fit_calibration(
        [p for run in runs for p in run.part("validation")], unknown_share
    )

    problems: list[Problem] = []
    heard: dict[str, list[ClipPrediction]] = {}
    for run, xml in zip(runs, irs, strict=True):
        fold = _Fold(run, xml, found, classifier, seed)
        for trial in (_CLEAN, *trials):
            heard.setdefault(trial.name, []).extend(fold.clips(trial, progress, problems))
        heard.setdefault(NOT_SPEECH, []).extend(fold.others(others, progress, problems))

    def answers(predictions: Sequence[ClipPrediction]) -> list[Heard]:
        return [
            Heard(p.utterance, p.predicted, decide(p.logits, calibration).emotion)
            for p in predictions
        ]

    clean = heard[CLEAN]
    if not clean:
        raise ValueError("; ".join(map(str, problems[:3])) or f"{folder}: no clip was heard")
    figures = classification.figures(clean, calibration.temperature)
    rows = []
    for trial in trials:
        uar = _paired(trial, clean, heard[trial.name]) if heard[trial.name] else None
        rows.append(row(trial, answers(clean), answers(heard[trial.name]), uar))
    return Robustness(
        model=irs[0].stem,
        precision=precision,
        calibration=calibration,
        seed=seed,
        folds=tuple(run.fold for run in runs),
        clips=len(clean),
        speakers=len({p.speaker for p in clean}),
        uar=figures["uar"],
        ece=figures["ece"],
        unknown=_unknown(answers(clean)),
        rows=tuple(found for found in rows if found is not None),
        kinds=kinds_of(answers(heard[NOT_SPEECH]), {sound.name: sound.kind for sound in others}),
        problems=_once(problems),
        provenance=origin,
    )


def _paired(
    trial: Trial, clean: Sequence[ClipPrediction], degraded: Sequence[ClipPrediction]
) -> Difference | None:
    names = {p.utterance for p in clean}
    if not any(p.utterance in names for p in degraded):
        return None
    return bootstrap.compare(
        Scored(CLEAN, tuple(clean), False), Scored(trial.name, tuple(degraded), False)
    ).uar


def _ir(run: Run, precision: str) -> Path:
    found = sorted((run.folder / EDGE / precision).glob("*.xml"))
    if len(found) != 1:
        raise ValueError(
            f"{run.folder / EDGE / precision}: {len(found)} IRs in it, it should be one, as "
            "scripts/evaluate.py --edge leaves it"
        )
    if weights_digest(run) not in found[0].read_text():
        raise ValueError(
            f"{found[0]}: it was made from other weights than the run has now; "
            "scripts/evaluate.py --edge makes it anew"
        )
    return found[0]


@dataclass(frozen=True)
class _Fold:
    """A fold's network and its test clips; the network is compiled when it is first needed."""

    run: Run
    xml: Path
    sounds: Mapping[str, Path]
    classifier: OpenClassifier
    seed: int

    @cached_property
    def ear(self) -> SoundClassifier:
        ear = self.classifier(str(self.xml))
        if ear.manifest.calibration != Calibration():
            raise ValueError(
                f"{self.xml}: its temperature is {ear.manifest.calibration.temperature} and its "
                f"threshold {ear.manifest.calibration.threshold}, they should be 1 and 0, so that "
                "the calibration of all folds can be put on"
            )
        return ear

    @cached_property
    def voices(self) -> tuple[tuple[str, Float32], ...]:
        """Speaker and clip of all whom this network never heard in training, for babble."""
        rate = self.ear.manifest.spec.sample_rate
        unheard = {p.utterance: p.speaker for p in self.run.predictions}
        there = sorted(unheard.keys() & self.sounds.keys())
        return tuple((unheard[name], load(str(self.sounds[name]), rate)) for name in there)

    def clips(
        self, trial: Trial, progress: bool, problems: list[Problem]
    ) -> Sequence[ClipPrediction]:
        tested = self.run.part("test")

        def hear(clip: ClipPrediction) -> ClipPrediction:
            change = trial.change
            if isinstance(change, Babble):
                change = _behind(change, clip.speaker, self.voices)
            path = self.sounds[clip.utterance]
            answer = _hear(self.ear, path, change, trial.name, clip.utterance, self.seed)
            return replace(clip, logits=logits_of(answer.scores))

        def path_of(clip: ClipPrediction) -> Path:
            return self.sounds[clip.utterance]

        of_babble = sorted(self.sounds) if isinstance(trial.change, Babble) else []
        parts = [repr(trial.change), *(p.utterance for p in tested), *of_babble]
        return self._kept(trial.name, parts, tested, hear, path_of, progress, problems)

    def others(
        self, others: Sequence[nonspeech.Sound], progress: bool, problems: list[Problem]
    ) -> Sequence[ClipPrediction]:
        by_name = {sound.name: sound for sound in others}
        asked = tuple(
            ClipPrediction(
                "test", self.run.fold, sound.name, NOT_SPEECH, sound.kind, "", "", UNKNOWN, ()
            )
            for sound in others
        )

        def hear(clip: ClipPrediction) -> ClipPrediction:
            sound = by_name[clip.utterance]
            answer = self.ear.predict(pcm16(sound.waveform), sound.rate)
            return replace(clip, logits=logits_of(answer.scores))

        if not asked:
            return ()
        names = [clip.utterance for clip in asked]
        return self._kept(
            NOT_SPEECH, names, asked, hear, lambda clip: Path(clip.utterance), progress, problems
        )

    def _kept(
        self,
        name: str,
        parts: Sequence[str],
        clips: Sequence[ClipPrediction],
        hear: Callable[[ClipPrediction], ClipPrediction],
        path_of: Callable[[ClipPrediction], Path],
        progress: bool,
        problems: list[Problem],
    ) -> Sequence[ClipPrediction]:
        """What was heard, from the file where it is there; kept once all of it was heard."""
        folder = self.xml.parent / CACHE
        path = folder / f"{name}.{self._digest(parts)}.csv"
        if path.is_file():
            return read_predictions(path)
        try:
            _ = self.ear
        except (RuntimeError, OSError) as error:  # of the device
            problems.append(Problem(self.xml, first_line(error)))
            return ()
        heard: list[ClipPrediction] = []
        failed = False
        for clip in tqdm(
            clips, unit="clip", desc=f"{self.run.folder.name} {name}", disable=not progress
        ):
            try:
                heard.append(hear(clip))
            except (ValueError, RuntimeError, OSError) as error:  # of the sound or the device
                problems.append(Problem(path_of(clip), _cause(error)))
                failed = True
        if not failed:
            for old in folder.glob(f"{name}.*.csv"):
                old.unlink()
            write_whole(path, predictions_csv(heard))
        return heard

    def _digest(self, parts: Sequence[str]) -> str:
        """Of all that the answers follow from: network, sounds by name, seed, and the code."""
        digest = hashlib.sha256(self.xml.read_bytes())  # it holds the hash of its .bin
        for code in (degradation.__file__, nonspeech.__file__):
            digest.update(Path(code).read_bytes())
        digest.update(json.dumps([self.seed, *parts]).encode())
        return digest.hexdigest()[:16]


def _behind(babble: Babble, speaker: str, voices: Sequence[tuple[str, Float32]]) -> Babble:
    return replace(babble, voices=tuple(voice for other, voice in voices if other != speaker))


def _hear(
    ear: SoundClassifier, path: Path, change: Change, name: str, utterance: str, seed: int
) -> SoundAnswer:
    rate = ear.manifest.spec.sample_rate
    waveform = load(str(path), rate)
    return ear.predict(degrade(waveform, rate, change, name, utterance, seed), rate)


def _cause(error: Exception) -> str:
    return str(getattr(error, "cause", "")) or first_line(error)


def _once(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """A clip that fails fails in every degradation: it is named once for each cause."""
    return tuple(dict.fromkeys(problems))


# ------------------------------------------------------------------------------------- one model


def try_model(
    ear: SoundClassifier,
    *,
    clips: Path | None = None,
    not_speech: bool = False,
    at_most: int | None = None,
    only: Sequence[str] = (),
    seed: int = 0,
    per_kind: int = nonspeech.PER_KIND,
    progress: bool = True,
) -> Robustness:
    """What one IR, with its own threshold, makes of clips without labels and of what is no speech.

    Parameters
    ----------
    ear : SoundClassifier
        ``edge_app.Classifier``.
    clips : Path, optional
        Folder of recordings. Those of one subfolder are taken to be of one speaker, for babble;
        where all lie in one folder, each clip is.
    not_speech : bool
    at_most : int, optional
        So many of the clips, drawn at random.
    only : sequence of str
        Names of :data:`TRIALS`; all of them if empty.
    seed, per_kind : int
        As :func:`measure`.
    progress : bool

    Returns
    -------
    Robustness

    Raises
    ------
    ValueError
        No folder, no sound in it, not one that could be heard, or nothing asked for.
    """
    origin = provenance()
    trials, _ = chosen(only)
    if clips is None and not not_speech:
        raise ValueError("nothing to hear: neither clips nor sounds that are no speech")
    if at_most is not None and at_most < 1:
        raise ValueError(f"at most is {at_most}, allowed: 1 or more")
    others = tuple(nonspeech.sounds(seed, per_kind)) if not_speech else ()
    paths = () if clips is None else _drawn(clips, at_most, seed)

    problems: list[Problem] = []
    clean: list[Heard] = []
    rows: list[Row] = []
    if clips is not None:
        speakers = {path: str(path.parent) for path in paths}
        if len(set(speakers.values())) == 1:
            speakers = {path: str(path) for path in paths}
        voices = _readable(paths, speakers, ear) if _has_babble(trials) else []

        def listen(trial: Trial) -> list[Heard]:
            heard = []
            for path in tqdm(paths, unit="clip", desc=trial.name, disable=not progress):
                name = path.relative_to(clips).as_posix()
                change = trial.change
                if isinstance(change, Babble):
                    change = _behind(change, speakers[path], voices)
                try:
                    answer = _hear(ear, path, change, trial.name, name, seed)
                except (ValueError, RuntimeError, OSError) as error:
                    problems.append(Problem(path, _cause(error)))
                    continue
                heard.append(_heard(name, answer))
            return heard

        clean = listen(_CLEAN)
        if not clean:
            raise ValueError("; ".join(map(str, problems[:3])))
        found = [row(trial, clean, listen(trial)) for trial in trials]
        rows = [row for row in found if row is not None]
    said = [
        _heard(sound.name, ear.predict(pcm16(sound.waveform), sound.rate))
        for sound in tqdm(others, unit="sound", desc=NOT_SPEECH, disable=not progress)
    ]
    return Robustness(
        model=ear.manifest.name,
        precision=ear.manifest.precision,
        calibration=ear.manifest.calibration,
        seed=seed,
        folds=(),
        clips=len(clean),
        speakers=0,
        uar=None,
        ece=None,
        unknown=_unknown(clean) if clean else None,
        rows=tuple(rows),
        kinds=kinds_of(said, {sound.name: sound.kind for sound in others}),
        problems=_once(problems),
        provenance=origin,
    )


def _heard(name: str, answer: SoundAnswer) -> Heard:
    return Heard(name, max(answer.scores, key=lambda label: answer.scores[label]), answer.emotion)


def _drawn(clips: Path, at_most: int | None, seed: int) -> tuple[Path, ...]:
    if not clips.is_dir():
        raise ValueError(f"{clips}: there is no such folder")
    paths = list(files_below(clips, sound_suffixes()))
    if not paths:
        raise ValueError(f"{clips}: there is no sound in it")
    if at_most is not None and at_most < len(paths):
        numbers = degradation.random_of(seed, "clips").permutation(len(paths))[:at_most]
        paths = [paths[number] for number in sorted(numbers)]
    return tuple(paths)


def _has_babble(trials: Sequence[Trial]) -> bool:
    return any(isinstance(trial.change, Babble) for trial in trials)


def _readable(
    paths: Sequence[Path], speakers: Mapping[Path, str], ear: SoundClassifier
) -> list[tuple[str, Float32]]:
    """Clips for babble; one that cannot be read is named when its own turn comes."""
    result = []
    for path in paths:
        try:
            result.append((speakers[path], load(str(path), ear.manifest.spec.sample_rate)))
        except ValueError:
            continue
    return result
