"""Networks of an evaluation's folds on degraded test clips, their answers kept in files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final

from tqdm import tqdm

from ser_edge.audio.decode import load
from ser_edge.corpora import Problem
from ser_edge.decision import Calibration
from ser_edge.emotions import UNKNOWN
from ser_edge.evaluation.classifier import OpenClassifier, SoundAnswer, SoundClassifier
from ser_edge.evaluation.edge import logits_of
from ser_edge.evaluation.robustness import degradation, nonspeech
from ser_edge.evaluation.robustness.degradation import Babble, Change, Float32, degrade, pcm16
from ser_edge.evaluation.robustness.results import NOT_SPEECH, Trial
from ser_edge.files import write_whole
from ser_edge.metrics.classification import ClipPrediction, predictions_csv, read_predictions
from ser_edge.runs.record import Run, first_line

CACHE: Final = "robustness"
"""Folder beside a fold's IR: its answers, a file for each degradation."""


@dataclass(frozen=True)
class FoldAnswers:
    """The answers of a fold's network, kept beside its IR in a file for each degradation.

    The network is compiled when it is first needed.

    Parameters
    ----------
    run : Run
        The fold's finished run.
    xml : Path
        IR of its network.
    sounds : dict
        Utterance -> its sound file.
    open_classifier : callable
        ``edge_app.Classifier``.
    seed : int
        Of all that is drawn.
    """

    run: Run
    xml: Path
    sounds: Mapping[str, Path]
    open_classifier: OpenClassifier
    seed: int

    @cached_property
    def classifier(self) -> SoundClassifier:
        classifier = self.open_classifier(str(self.xml))
        calibration = classifier.manifest.calibration
        if calibration != Calibration():
            raise ValueError(
                f"{self.xml}: its temperature is {calibration.temperature} and its threshold "
                f"{calibration.threshold}, they should be 1 and 0, so that the calibration of all "
                "folds can be applied"
            )
        return classifier

    @cached_property
    def voices(self) -> tuple[tuple[str, Float32], ...]:
        """Speaker and waveform of the clips of held-out speakers, for babble."""
        rate = self.classifier.manifest.spec.sample_rate
        held_out = {p.utterance: p.speaker for p in self.run.predictions}
        there = sorted(held_out.keys() & self.sounds.keys())
        return tuple((held_out[name], load(str(self.sounds[name]), rate)) for name in there)

    def clips(
        self, trial: Trial, progress: bool, problems: list[Problem]
    ) -> Sequence[ClipPrediction]:
        """The predictions of degraded test clips; those that fail are added to ``problems``."""
        tested = self.run.part("test")

        def predict(clip: ClipPrediction) -> ClipPrediction:
            change = trial.change
            if isinstance(change, Babble):
                change = with_voices(change, clip.speaker, self.voices)
            path = self.sounds[clip.utterance]
            answer = predict_degraded(
                self.classifier, path, change, trial.name, clip.utterance, self.seed
            )
            return replace(clip, logits=logits_of(answer.scores))

        def path_of(clip: ClipPrediction) -> Path:
            return self.sounds[clip.utterance]

        of_babble = sorted(self.sounds) if isinstance(trial.change, Babble) else []
        parts = [repr(trial.change), *(p.utterance for p in tested), *of_babble]
        return self._kept(trial.name, parts, tested, predict, path_of, progress, problems)

    def others(
        self, others: Sequence[nonspeech.Sound], progress: bool, problems: list[Problem]
    ) -> Sequence[ClipPrediction]:
        """The predictions for sounds that are no speech; failures are added to ``problems``."""
        by_name = {sound.name: sound for sound in others}
        asked = tuple(
            ClipPrediction(
                "test", self.run.fold, sound.name, NOT_SPEECH, sound.kind, "", "", UNKNOWN, ()
            )
            for sound in others
        )

        def predict(clip: ClipPrediction) -> ClipPrediction:
            sound = by_name[clip.utterance]
            answer = self.classifier.predict(pcm16(sound.waveform), sound.rate)
            return replace(clip, logits=logits_of(answer.scores))

        if not asked:
            return ()
        names = [clip.utterance for clip in asked]
        return self._kept(
            NOT_SPEECH, names, asked, predict, lambda clip: Path(clip.utterance), progress, problems
        )

    def _kept(
        self,
        name: str,
        parts: Sequence[str],
        clips: Sequence[ClipPrediction],
        predict: Callable[[ClipPrediction], ClipPrediction],
        path_of: Callable[[ClipPrediction], Path],
        progress: bool,
        problems: list[Problem],
    ) -> Sequence[ClipPrediction]:
        """Predictions, from their file where there is one; written once all of them were made."""
        folder = self.xml.parent / CACHE
        path = folder / f"{name}.{self._digest(parts)}.csv"
        if path.is_file():
            return read_predictions(path)
        try:
            _ = self.classifier
        except (RuntimeError, OSError) as error:  # of the device
            problems.append(Problem(self.xml, first_line(error)))
            return ()
        predictions: list[ClipPrediction] = []
        failed = False
        for clip in tqdm(
            clips, unit="clip", desc=f"{self.run.folder.name} {name}", disable=not progress
        ):
            try:
                predictions.append(predict(clip))
            except (ValueError, RuntimeError, OSError) as error:  # of the sound or the device
                problems.append(Problem(path_of(clip), cause_of(error)))
                failed = True
        if not failed:
            for old in folder.glob(f"{name}.*.csv"):
                old.unlink()
            write_whole(path, predictions_csv(predictions))
        return predictions

    def _digest(self, parts: Sequence[str]) -> str:
        """Of all that the answers depend on: network, sounds by name, seed, and the code."""
        digest = hashlib.sha256(self.xml.read_bytes())  # it holds the hash of its .bin
        for code in (degradation.__file__, nonspeech.__file__):
            digest.update(Path(code).read_bytes())
        digest.update(json.dumps([self.seed, *parts]).encode())
        return digest.hexdigest()[:16]


def with_voices(babble: Babble, speaker: str, voices: Sequence[tuple[str, Float32]]) -> Babble:
    """Babble of the voices of all speakers but the clip's own."""
    return replace(babble, voices=tuple(voice for other, voice in voices if other != speaker))


def predict_degraded(
    classifier: SoundClassifier, path: Path, change: Change, name: str, utterance: str, seed: int
) -> SoundAnswer:
    """The classifier's answer for a degraded sound file; the change is drawn by name and seed."""
    rate = classifier.manifest.spec.sample_rate
    waveform = load(str(path), rate)
    return classifier.predict(degrade(waveform, rate, change, name, utterance, seed), rate)


def cause_of(error: Exception) -> str:
    """An error of a sound or a device -> one clause, without the file's name."""
    return str(getattr(error, "cause", "")) or first_line(error)
