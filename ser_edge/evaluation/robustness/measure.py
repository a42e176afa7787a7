"""Answers of the edge app to degraded clips, and to sounds that are no speech.

:func:`measure` takes the folder of an evaluation whose folds were exported
(``scripts/evaluate.py --edge``): every fold's network is evaluated on its own degraded test clips,
of held-out speakers, so there is a UAR. :func:`try_model` takes one IR and any clips: without
labels, or on speakers that it was trained on, only whether its answers change means anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from ser_edge.audio.decode import load
from ser_edge.audio.files import files_below, sound_suffixes
from ser_edge.corpora import Problem
from ser_edge.data.datasets import find_sounds
from ser_edge.decision import decide
from ser_edge.evaluation.classifier import OpenClassifier, SoundAnswer, SoundClassifier
from ser_edge.evaluation.crossval import FOLDS, run_folder
from ser_edge.evaluation.edge import EDGE, weights_digest
from ser_edge.evaluation.robustness import degradation, nonspeech
from ser_edge.evaluation.robustness.degradation import Babble, Float32, pcm16
from ser_edge.evaluation.robustness.fold_answers import (
    FoldAnswers,
    cause_of,
    predict_degraded,
    with_voices,
)
from ser_edge.evaluation.robustness.results import (
    CLEAN,
    CLEAN_TRIAL,
    NOT_SPEECH,
    ClipAnswer,
    Robustness,
    Row,
    Trial,
    chosen,
    kinds_of,
    row,
    share_of_unknown,
)
from ser_edge.manifest import FP16, PRECISIONS
from ser_edge.metrics import bootstrap, classification
from ser_edge.metrics.bootstrap import Difference, Scored
from ser_edge.metrics.calibration import UNKNOWN_SHARE, fit_calibration
from ser_edge.metrics.classification import ClipPrediction
from ser_edge.provenance import provenance
from ser_edge.runs.inference import METRICS
from ser_edge.runs.record import Run, read_run


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
    """Evaluate the network of every finished fold on its degraded test clips and on non-speech.

    Answers are kept beside each fold's IR, a file for each degradation: a measurement that was
    stopped resumes, and one whose network, seed or degradation has changed is made again.

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
        Clips that failed are in ``problems``; answers of that degradation are then not kept.

    Raises
    ------
    ValueError
        Nothing was evaluated or exported there, an IR has a calibration, a sound is missing, or
        no clip could be read.
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
    predicted: dict[str, list[ClipPrediction]] = {}
    for run, xml in zip(runs, irs, strict=True):
        fold = FoldAnswers(run, xml, found, classifier, seed)
        for trial in (CLEAN_TRIAL, *trials):
            predicted.setdefault(trial.name, []).extend(fold.clips(trial, progress, problems))
        predicted.setdefault(NOT_SPEECH, []).extend(fold.others(others, progress, problems))

    def answers(predictions: Sequence[ClipPrediction]) -> list[ClipAnswer]:
        return [
            ClipAnswer(p.utterance, p.predicted, decide(p.logits, calibration).emotion)
            for p in predictions
        ]

    clean = predicted[CLEAN]
    if not clean:
        raise ValueError("; ".join(map(str, problems[:3])) or f"{folder}: no clip could be read")
    figures = classification.figures(clean, calibration.temperature)
    rows = []
    for trial in trials:
        uar = _paired(trial, clean, predicted[trial.name]) if predicted[trial.name] else None
        rows.append(row(trial, answers(clean), answers(predicted[trial.name]), uar))
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
        unknown=share_of_unknown(answers(clean)),
        rows=tuple(found for found in rows if found is not None),
        kinds=kinds_of(
            answers(predicted[NOT_SPEECH]), {sound.name: sound.kind for sound in others}
        ),
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
            "scripts/evaluate.py --edge makes it again"
        )
    return found[0]


def try_model(
    classifier: SoundClassifier,
    *,
    clips: Path | None = None,
    not_speech: bool = False,
    at_most: int | None = None,
    only: Sequence[str] = (),
    seed: int = 0,
    per_kind: int = nonspeech.PER_KIND,
    progress: bool = True,
) -> Robustness:
    """Answers of one IR, with its own threshold, to clips without labels and to non-speech.

    Parameters
    ----------
    classifier : SoundClassifier
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
        No folder, no sound in it, none that can be read, or neither clips nor non-speech.
    """
    origin = provenance()
    trials, _ = chosen(only)
    if clips is None and not not_speech:
        raise ValueError("nothing to measure: neither clips nor sounds that are no speech")
    if at_most is not None and at_most < 1:
        raise ValueError(f"at most is {at_most}, allowed: 1 or more")
    others = tuple(nonspeech.sounds(seed, per_kind)) if not_speech else ()
    paths = () if clips is None else _drawn(clips, at_most, seed)

    problems: list[Problem] = []
    clean: list[ClipAnswer] = []
    rows: list[Row] = []
    if clips is not None:
        speakers = {path: str(path.parent) for path in paths}
        if len(set(speakers.values())) == 1:
            speakers = {path: str(path) for path in paths}
        voices = _readable(paths, speakers, classifier) if _has_babble(trials) else []

        def predict(trial: Trial) -> list[ClipAnswer]:
            answers = []
            for path in tqdm(paths, unit="clip", desc=trial.name, disable=not progress):
                name = path.relative_to(clips).as_posix()
                change = trial.change
                if isinstance(change, Babble):
                    change = with_voices(change, speakers[path], voices)
                try:
                    answer = predict_degraded(classifier, path, change, trial.name, name, seed)
                except (ValueError, RuntimeError, OSError) as error:
                    problems.append(Problem(path, cause_of(error)))
                    continue
                answers.append(_answer(name, answer))
            return answers

        clean = predict(CLEAN_TRIAL)
        if not clean:
            raise ValueError("; ".join(map(str, problems[:3])))
        found = [row(trial, clean, predict(trial)) for trial in trials]
        rows = [row for row in found if row is not None]
    answers = [
        _answer(sound.name, classifier.predict(pcm16(sound.waveform), sound.rate))
        for sound in tqdm(others, unit="sound", desc=NOT_SPEECH, disable=not progress)
    ]
    return Robustness(
        model=classifier.manifest.name,
        precision=classifier.manifest.precision,
        calibration=classifier.manifest.calibration,
        seed=seed,
        folds=(),
        clips=len(clean),
        speakers=0,
        uar=None,
        ece=None,
        unknown=share_of_unknown(clean) if clean else None,
        rows=tuple(rows),
        kinds=kinds_of(answers, {sound.name: sound.kind for sound in others}),
        problems=_once(problems),
        provenance=origin,
    )


def _answer(name: str, answer: SoundAnswer) -> ClipAnswer:
    return ClipAnswer(
        name, max(answer.scores, key=lambda label: answer.scores[label]), answer.emotion
    )


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
    paths: Sequence[Path], speakers: Mapping[Path, str], classifier: SoundClassifier
) -> list[tuple[str, Float32]]:
    """Clips for babble; one that cannot be read is reported when it is degraded itself."""
    result = []
    for path in paths:
        try:
            result.append((speakers[path], load(str(path), classifier.manifest.spec.sample_rate)))
        except ValueError:
            continue
    return result


def _once(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    """A clip that fails fails in every degradation: it is named once for each cause."""
    return tuple(dict.fromkeys(problems))
