"""``scripts/robustness.py``: degraded test clips, what is no speech, one model on any clips."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from conftest import SMALL, speechlike
from edge_app.classifier import Classifier
from edge_app.inference.runtime import DeviceError
from ser_edge.decision import Calibration, decide, softmax
from ser_edge.emotions import EMOTIONS, emotion_index
from ser_edge.evaluation.robustness import degradation
from ser_edge.evaluation.robustness import measure as robustness
from ser_edge.evaluation.robustness import tables as robustnesstables
from ser_edge.evaluation.robustness.degradation import Babble, Gain, Unchanged
from ser_edge.evaluation.robustness.measure import (
    TRIALS,
    Heard,
    Row,
    Trial,
    chosen,
    measure,
    row,
    try_model,
)
from ser_edge.evaluation.robustness.nonspeech import KINDS
from ser_edge.export import convert
from ser_edge.manifest import Manifest
from ser_edge.metrics import classification
from ser_edge.metrics.calibration import fit_calibration
from ser_edge.metrics.classification import ClipPrediction, predictions_csv, read_predictions

RATE = 16_000
TONES = {"neutral": 500.0, "happy": 1000.0, "angry": 2000.0}
"""A voice of a kind: its emotion is its pitch."""

PEOPLE = {"1": ("01", "02"), "2": ("05", "07")}
"""Test speakers of two folds; each validates on the other's."""


def tone(emotion: str, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    t = np.arange(round(random.uniform(0.8, 1.2) * RATE)) / RATE
    return (0.1 * np.sin(2 * np.pi * TONES[emotion] * t + random.random())).astype(np.float32)


def name_of(speaker: str, emotion: str) -> str:
    return f"03-01-{emotion_index(emotion) + 1:02d}-01-01-01-{speaker}"


@pytest.fixture(scope="module")
def kept_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tmp_path = tmp_path_factory.mktemp("kept-corpus")
    for speaker in ("01", "02", "05", "07"):
        folder = tmp_path / "corpus" / f"Actor_{speaker}"
        folder.mkdir(parents=True)
        for number, emotion in enumerate(TONES):
            sound = tone(emotion, 10 * int(speaker) + number)
            soundfile.write(folder / f"{name_of(speaker, emotion)}.wav", sound, RATE)
    return tmp_path / "corpus"


@pytest.fixture(scope="module")
def kept_runs(tmp_path_factory: pytest.TempPathFactory, small_model: Path) -> Path:
    """Two finished folds as ``scripts/evaluate.py --edge`` leaves them."""
    folder = tmp_path_factory.mktemp("kept-runs") / "runs"
    other = {"1": "2", "2": "1"}
    for fold, people in PEOPLE.items():
        random = np.random.default_rng(int(fold))

        def logits(emotion: str, random: np.random.Generator = random) -> tuple[float, ...]:
            drawn = random.standard_normal(8) + 2 * (np.array(EMOTIONS) == emotion)
            return tuple(drawn.round(5).tolist())

        made = [
            ClipPrediction(
                part, fold, name_of(speaker, emotion), "ravdess", f"ravdess-{speaker}", "female",
                "normal", emotion, logits(emotion),
            )
            for part, speakers in (("validation", PEOPLE[other[fold]]), ("test", people))
            for speaker in speakers
            for emotion in TONES
        ]  # fmt: skip
        run = folder / f"fold-{fold}"
        (run / "edge").mkdir(parents=True)
        weights = f"weights of fold {fold}".encode()
        (run / "weights.safetensors").write_bytes(weights)
        digest = hashlib.sha256(weights).hexdigest()
        manifest = Manifest("small", SMALL, Calibration(), corpora=("none",), weights_sha256=digest)
        model = convert.to_openvino(small_model.parents[2] / "small.onnx")
        convert.save_ir(model, run / "edge" / "FP16" / "small.xml", manifest)
        (run / "predictions.csv").write_text(predictions_csv(made))
        (run / "metrics.json").write_text(
            json.dumps(
                {
                    "fold": fold,
                    "figures": {"test": classification.figures(made)},
                    "speakers": {},
                    "training_clips": 1,
                    "corpora": ["ravdess"],
                    "parameters": 1,
                    "provenance": {},
                }
            )
        )
    return folder


@pytest.fixture
def corpus(kept_corpus: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(kept_corpus, tmp_path / "corpus"))


@pytest.fixture
def runs(kept_runs: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(kept_runs, tmp_path / "runs"))


@dataclass
class Ears:
    """Stands for ``edge_app.Classifier``: tells the tones apart as long as they stand out."""

    calibration: Calibration = field(default_factory=Calibration)
    heard: list[np.ndarray] = field(default_factory=list)
    stop_after: int | None = None
    opened: int = 0
    failing: Exception | None = None

    def __call__(self, xml: str) -> Ears:
        self.opened += 1
        if self.failing is not None:
            raise self.failing
        return self

    @property
    def manifest(self) -> Manifest:
        return Manifest("ears", SMALL, self.calibration)

    def predict(self, sound: np.ndarray, rate: int) -> Any:
        if self.stop_after is not None and len(self.heard) >= self.stop_after:
            raise KeyboardInterrupt
        assert (sound.dtype, rate) == (np.int16, RATE)
        self.heard.append(sound)
        size = 1 << int(sound.size - 1).bit_length()  # a size that is fast to transform
        power = np.square(np.abs(np.fft.rfft(sound.astype(float), size)))
        hertz = np.fft.rfftfreq(size, 1 / rate)
        near = [power[np.abs(hertz - tone) < 40].sum() for tone in TONES.values()]
        shares = np.array(near) / (power.sum() or 1)
        clear = shares.max() > 0.94
        said = list(TONES)[int(np.argmax(shares))] if clear else "sad"
        logits = (3.0 if clear else 0.2) * (np.array(EMOTIONS) == said)
        decision = decide(logits, self.calibration)
        scores = dict(zip(EMOTIONS, decision.scores, strict=True))
        return type("Answer", (), {"emotion": decision.emotion, "scores": scores})


def trial(name: str) -> Trial:
    return next(trial for trial in TRIALS if trial.name == name)


def run(runs: Path, corpus: Path, ears: Any, *only: str, **more: Any) -> robustness.Robustness:
    return measure(runs, [corpus], ears, only=only, progress=False, **{"per_kind": 1, **more})


# ----------------------------------------------------------------------------- an evaluation


def test_the_table_of_an_evaluation(runs, corpus):
    ears = Ears()
    found = run(runs, corpus, ears)
    assert (found.folds, found.clips, found.speakers) == (("1", "2"), 12, 4)
    assert found.uar == 1.0
    rows = {row.trial.name: row for row in found.rows}
    assert list(rows) == [trial.name for trial in TRIALS]
    for name in ("gain-20", "gain-10", "gain+6", "gain+12", "white-20", "leading-silence"):
        assert rows[name].unchanged == 1.0, name
        assert rows[name].passed is True, name
    # Of a tone in white noise of 10 dB, 91 % are the tone: these ears take no less than 94.
    noisy = rows["white-10"]
    assert (noisy.unchanged, noisy.loss, noisy.passed) == (0.0, 100.0, False)
    assert noisy.uar is not None
    assert noisy.uar.by_speaker is not None
    assert (noisy.uar.by_speaker.low, noisy.uar.by_speaker.high) == (-1.0, -1.0)

    pooled = [
        p
        for fold in "12"
        for p in read_predictions(runs / f"fold-{fold}" / "predictions.csv")
        if p.part == "validation"
    ]
    assert found.calibration == fit_calibration(pooled)
    unsure = 0.2 * (np.array(EMOTIONS) == "sad")
    wanted = decide(unsure, found.calibration).emotion == "unknown"
    assert wanted  # else the line below says nothing
    assert noisy.unknown == 1.0
    assert found.unknown == 0.0

    kinds = {kind.kind: kind for kind in found.kinds}
    assert list(kinds) == list(KINDS)
    assert all(kind.answers == 2 for kind in kinds.values())  # two networks
    assert kinds["white noise"].passed
    assert ears.opened == 2


def test_what_is_written(runs, corpus, tmp_path):
    found = run(runs, corpus, Ears(), "gain-20", "white-10", "not-speech")
    robustnesstables.write(found, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert list(written["degraded"]) == ["gain-20", "white-10"]
    assert written["degraded"]["white-10"]["loss_points"] == 100.0
    assert written["degraded"]["white-10"]["passed"] is False
    assert written["degraded"]["gain-20"]["limit"] == "unchanged >= 97%"
    assert written["clean"]["unknown_share"] == 0.0
    assert [limit["passed"] for limit in written["limits"]][2] is True
    assert written["not_speech"]["kinds"]["white noise"]["unknown_share"] == 1.0
    assert str(tmp_path) not in json.dumps(written)
    page = (tmp_path / "out" / "robustness.md").read_text()
    line = next(line for line in page.splitlines() if line.startswith("| white noise, 10"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:5] == ["12", "0.000", "100.0", "100.0 to 100.0"]
    assert cells[5:] == ["0.0%", "100.0%", "loss <= 15", "FAIL"]
    line = next(line for line in page.splitlines() if line.startswith("| gain -20"))
    assert "| 0.0 | 0.0 to 0.0 |" in line  # and not -0.0
    tables = [block.splitlines() for block in page.split("\n\n")[1:]]
    assert len(tables) == 3
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1


def test_what_was_heard_is_not_heard_again(runs, corpus):
    only = ("white-10", "not-speech")
    first = run(runs, corpus, Ears(), *only)
    again = Ears()
    second = run(runs, corpus, again, *only)
    assert again.opened == 0
    assert (second.rows, second.kinds, second.uar) == (first.rows, first.kinds, first.uar)
    more = Ears()
    run(runs, corpus, more, *only, "gain-20")
    assert len(more.heard) == 12


@pytest.mark.parametrize("changed", ["seed", "network", "sounds"])
def test_what_has_changed_is_heard_anew(runs, corpus, changed):
    run(runs, corpus, Ears(), "white-10", "not-speech")
    ears = Ears()
    if changed == "network":
        xml = runs / "fold-1" / "edge" / "FP16" / "small.xml"
        xml.write_text(xml.read_text() + "\n")
    run(
        runs, corpus, ears, "white-10", "not-speech",
        seed=1 if changed == "seed" else 0, per_kind=2 if changed == "sounds" else 1,
    )  # fmt: skip
    kinds = len(KINDS)
    wanted = {"seed": 2 * (12 + kinds), "network": 12 + kinds, "sounds": 2 * 2 * kinds}
    assert len(ears.heard) == wanted[changed]
    # What is out of date does not pile up.
    kept = list((runs / "fold-1" / "edge" / "FP16" / "robustness").glob("*.csv"))
    assert len(kept) == 3


def test_an_interrupted_run_goes_on(runs, corpus):
    with pytest.raises(KeyboardInterrupt):
        run(runs, corpus, Ears(stop_after=9), "gain-20", "white-10")
    ears = Ears()
    run(runs, corpus, ears, "gain-20", "white-10")
    assert len(ears.heard) == 2 * 3 * 6 - 6  # the clean clips of fold 1 were heard to the end


def test_a_clip_that_fails_is_named_once_and_tried_again(runs, corpus):
    bad = corpus / "Actor_01" / f"{name_of('01', 'happy')}.wav"
    good = bad.read_bytes()
    bad.write_bytes(b"RIFF and then nothing")
    found = run(runs, corpus, Ears(), "gain-20", "white-10")
    assert [p.path for p in found.problems] == [bad]
    assert found.clips == 11
    assert [row.clips for row in found.rows] == [11, 11]
    assert json.loads(json.dumps(robustnesstables.to_dict(found)))["problems"][0].startswith(
        bad.name
    )
    bad.write_bytes(good)
    ears = Ears()
    found = run(runs, corpus, ears, "gain-20", "white-10")
    assert (found.problems, found.clips) == ((), 12)
    assert len(ears.heard) == 3 * 6  # fold 2 was well


def test_a_clip_too_short_for_a_degradation_fails_in_that_alone(runs, corpus):
    short = corpus / "Actor_05" / f"{name_of('05', 'happy')}.wav"
    soundfile.write(short, tone("happy", 1)[:3200], RATE)
    found = run(runs, corpus, Ears(), "gain-20", "file-cut")
    assert [row.clips for row in found.rows] == [12, 11]
    assert "nothing is left without the first 0.30 s" in str(found.problems[0])


def test_a_device_that_fails_is_a_problem(runs, corpus):
    with pytest.raises(ValueError, match="the device is gone"):
        run(runs, corpus, Ears(failing=DeviceError("the device is gone")), "gain-20")


def test_babble_is_of_others_whom_the_network_never_heard(runs, corpus, monkeypatch):
    asked: list[tuple[str, Babble]] = []

    def spy(waveform: Any, rate: int, change: Any, name: str, utterance: str, seed: int) -> Any:
        if isinstance(change, Babble):
            asked.append((utterance, change))
        return degradation.degrade(waveform, rate, change, name, utterance, seed)

    monkeypatch.setattr(robustness, "degrade", spy)
    run(runs, corpus, Ears(), "babble-10")
    assert len(asked) == 12
    for utterance, change in asked:
        own = {
            soundfile.read(path, dtype="float32")[0].tobytes()
            for path in corpus.rglob(f"*-{utterance[-2:]}.wav")
        }
        assert len(own) == 3
        assert len(change.voices) == 9  # the other three speakers, three clips each
        assert not own & {voice.tobytes() for voice in change.voices}


def test_an_ir_with_a_calibration_is_refused(runs, corpus):
    with pytest.raises(ValueError, match=r"temperature is 0\.9 and its threshold 0\.3, they"):
        run(runs, corpus, Ears(Calibration(0.9, 0.3)), "gain-20")


def test_an_ir_of_earlier_weights_is_refused(runs, corpus):
    with open(runs / "fold-1" / "weights.safetensors", "ab") as file:
        file.write(b" ")
    with pytest.raises(
        ValueError, match=r"small\.xml: it was made from other weights than the run"
    ):
        run(runs, corpus, Ears(), "gain-20")


def test_with_the_real_edge_app(here, runs, corpus):
    """The clean clips are what the app says of the files; the rest is in its place."""
    words = (runs, "--sounds", corpus, "--only", "gain-20", "room", "not-speech", "--per-kind", 1)
    done = here("robustness.py", *words, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "small FP16, through the edge app: 12 test clips of 4 speakers" in done.stdout
    ear = Classifier(str(runs / "fold-1" / "edge" / "FP16" / "small.xml"))
    clean = next((runs / "fold-1" / "edge" / "FP16" / "robustness").glob("clean.*.csv"))
    for p in read_predictions(clean):
        answer = ear.predict(str(next(corpus.rglob(f"{p.utterance}.wav"))))
        np.testing.assert_allclose(softmax(p.logits), list(answer.scores.values()), atol=1e-3)
    written = json.loads((runs / "robustness.json").read_text())
    assert written["degraded"]["gain-20"]["unchanged_share"] == 1.0
    assert (runs / "robustness.md").read_text() in done.stdout
    (corpus / "Actor_01" / f"{name_of('01', 'happy')}.wav").write_bytes(b"no sound")
    assert here("robustness.py", *words, "--quiet").returncode == 0  # heard already
    done = here("robustness.py", *words, "--seed", 1, "--quiet", "--out", runs / "other")
    assert done.returncode == 1
    assert f"failed: {corpus}" in done.stderr
    assert (runs / "other" / "robustness.md").is_file()


# --------------------------------------------------------------------------------- one model


def test_one_model_on_clips_without_labels(corpus):
    ears = Ears(Calibration(1.0, 0.3))
    found = try_model(ears, clips=corpus, not_speech=True, per_kind=1, progress=False)
    rows = {row.trial.name: row for row in found.rows}
    assert list(rows) == [trial.name for trial in TRIALS]
    assert (rows["gain-20"].unchanged, rows["gain-20"].passed) == (1.0, True)
    assert (rows["white-10"].unchanged, rows["white-10"].unknown) == (0.0, 1.0)
    assert (rows["white-10"].passed, rows["white-10"].loss) == (None, None)
    assert (found.uar, found.ece, found.unknown) == (None, None, 0.0)
    assert [what for what, *_ in robustnesstables.limits(found)] == [
        "sounds that are no speech unknown"
    ]
    page = robustnesstables.markdown(found)
    assert "UAR" not in page
    assert "12 clips without labels" in page


def test_so_many_of_the_clips(corpus):
    def heard(seed: int) -> Sequence[bytes]:
        ears = Ears()
        found = try_model(
            ears, clips=corpus, at_most=4, only=["gain-20"], seed=seed, progress=False
        )
        assert found.clips == 4
        return [sound.tobytes() for sound in ears.heard]

    assert heard(0) == heard(0)
    assert heard(0) != heard(1)


def test_clips_of_one_folder_and_one_that_cannot_be_read(tmp_path):
    for seed in range(3):
        soundfile.write(tmp_path / f"{seed}.wav", speechlike(0.6, RATE, seed), RATE)
    (tmp_path / "broken.wav").touch()
    found = try_model(Ears(), clips=tmp_path, only=["babble-20"], progress=False)
    assert [row.clips for row in found.rows] == [3]
    assert [p.path.name for p in found.problems] == ["broken.wav"]


@pytest.mark.parametrize("precision", ["FP16", "INT8"])
def test_the_shipped_model_from_the_command_line(here, corpus, tmp_path, precision):
    done = here(
        "robustness.py", "-m", "compact", "--precision", precision, "--not-speech", "--per-kind", 1,
        "--clips", corpus, "--at-most", 2, "--only", "gain-20", "--quiet",
        "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    written = json.loads((tmp_path / "out" / "robustness.json").read_text())
    assert (written["model"], written["precision"]) == ("compact", precision)
    assert written["degraded"]["gain-20"]["clips"] == 2
    assert written["not_speech"]["kinds"]["silence"]["unknown_share"] == 1.0  # digital zero


# ------------------------------------------------------------------------------- the arithmetic


@pytest.mark.parametrize(
    ("most_loss", "least_unchanged", "uar", "unchanged", "passed", "limit"),
    [
        (8.0, None, 0.72, 0.5, True, "loss <= 8"),
        (8.0, None, 0.7199, 0.5, False, "loss <= 8"),
        (8.0, None, 0.9, 0.5, True, "loss <= 8"),
        (None, 0.97, 0.1, 0.97, True, "unchanged >= 97%"),
        (None, 0.97, 0.8, 0.969, False, "unchanged >= 97%"),
        (None, None, 0.1, 0.1, None, ""),
    ],
)
def test_limits(most_loss, least_unchanged, uar, unchanged, passed, limit):
    from ser_edge.metrics.bootstrap import Difference, Interval

    found = Row(
        Trial("x", "x", Unchanged(), most_loss, least_unchanged), 10, unchanged, 0.0,
        Difference(0.8, uar, Interval(0, 0), None),
    )  # fmt: skip
    assert found.passed is passed
    assert found.limit == limit
    assert replace(found, uar=None).loss is None


def test_a_row_is_of_the_clips_heard_both_ways():
    clean = [Heard("a", "sad", "sad"), Heard("b", "sad", "sad"), Heard("c", "sad", "unknown")]
    degraded = [Heard("a", "sad", "unknown"), Heard("b", "calm", "calm"), Heard("d", "sad", "sad")]
    found = row(Trial("x", "x", Gain(0)), clean, degraded)
    assert found is not None
    assert (found.clips, found.unchanged, found.unknown) == (2, 0.5, 0.5)
    assert row(Trial("x", "x", Gain(0)), clean, degraded[2:]) is None


def test_kinds_are_counted_apart():
    kinds = {"a": "hum", "b": "hum", "c": "hum", "d": "tone"}
    said = [("a", "sad"), ("b", "sad"), ("c", "calm"), ("d", "unknown"), ("a", "unknown")]
    hum, tone = robustness.kinds_of([Heard(name, "sad", word) for name, word in said], kinds)
    assert (hum.answers, hum.unknown, hum.most_often, hum.times) == (4, 1, "sad", 2)
    assert (hum.share, hum.passed) == (0.25, False)
    assert (tone.share, tone.times, tone.passed) == (1.0, 0, True)


def test_names_of_trials():
    assert len({trial.name for trial in TRIALS}) == len(TRIALS)
    trials, others = chosen(["room", "gain-20"])
    assert ([trial.name for trial in trials], others) == (["gain-20", "room"], False)
    assert chosen(["not-speech"]) == ((), True)
    assert chosen([])[1]
    asked = {(trial.most_loss, trial.least_unchanged) for trial in TRIALS}
    assert asked == {(None, 0.97), (8, None), (15, None)}


# ---------------------------------------------------------------------------------- wrong usage


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sounds", "{runs}"], "of that name below --sounds (12 missing)"),
        (["--sounds", "{corpus}", "--precision", "INT8"], "INT8: 0 IRs in it"),
        (["--sounds", "{corpus}", "--per-kind", "0"], "per_kind is 0"),
    ],
)
def test_an_evaluation_that_cannot_be_scored(here, kept_runs, kept_corpus, words, message):
    given = [word.format(runs=kept_runs, corpus=kept_corpus) for word in words]
    done = here("robustness", kept_runs, *given, "--quiet")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
