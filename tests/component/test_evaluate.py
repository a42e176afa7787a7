"""``scripts/evaluate.py``: the folds, two runs side by side, recordings without labels."""

from __future__ import annotations

import hashlib
import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SMALL, speechlike
from ser_edge.audio.decode import AudioError
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.render import read_index, render
from ser_edge.data.splits import divide
from ser_edge.decision import decide, softmax
from ser_edge.emotions import EMOTIONS
from ser_edge.evaluation import crossval, edge
from ser_edge.metrics import classification
from ser_edge.metrics.calibration import fit_calibration
from ser_edge.metrics.classification import ClipPrediction, predictions_csv, read_predictions
from ser_edge.runs import record as runs
from ser_edge.training import fit as training
from ser_edge.training import image_module
from ser_edge.training.fit import Result

RECIPE = Recipe(
    name="tiny", width=0.25, epochs=2, batch_size=8, dropout=0.0, freq_mask=2, time_mask=10,
    precision="32-true", image=SMALL,
)  # fmt: skip
SCRIPT = ROOT / "scripts" / "evaluate.py"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight actors, so that every fold has somebody to train, validate and test on."""
    folder = tmp_path_factory.mktemp("corpus")
    for actor in (1, 2, 3, 4, 5, 7, 8, 9):
        for emotion in (1, 4, 5):
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            soundfile.write(folder / name, speechlike(1.0, 16_000, 10 * actor + emotion), 16_000)
    return folder


@pytest.fixture(scope="module")
def images(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    render(CORPORA["ravdess"].scan(corpus).utterances, folder, SMALL, workers=1, progress=False)
    return folder


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks as small as these take longer on several threads than on one."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.to_yaml())
    return path


@dataclass
class FakeTraining:
    """Leaves what a run leaves, in no time; raises what it is told to in place of that."""

    trained: list[tuple[str, bool]] = field(default_factory=list)
    failing: dict[str, BaseException] = field(default_factory=dict)

    def __call__(
        self,
        sources: training.Sources,
        out: Path,
        recipe: Recipe,
        fold: str,
        ancestry: training.Ancestry,
        *,
        resume: bool,
        **_: Any,
    ) -> Result:
        self.trained.append((fold, resume))
        out.mkdir(parents=True, exist_ok=True)
        (out / "config.yaml").write_text(recipe.to_yaml())
        (out / "checkpoints").mkdir(exist_ok=True)
        if fold in self.failing:
            raise self.failing.pop(fold)
        division = divide(read_index(sources.images)[1], fold, recipe.seed)
        random = np.random.default_rng(len(fold) + ord(fold[0]))
        made = []
        for part in ("validation", "test"):
            for row in getattr(division, part):
                logits = random.standard_normal(8) + 2 * (np.array(EMOTIONS) == row.emotion)
                made.append(
                    ClipPrediction(
                        part, fold, row.utterance, row.corpus, row.speaker, row.sex, row.intensity,
                        row.emotion, tuple(logits.round(5).tolist()),
                    )
                )  # fmt: skip
        figures = {
            part: classification.figures([p for p in made if p.part == part])
            for part in ("validation", "test")
        }
        (out / "predictions.csv").write_text(predictions_csv(made))
        (out / "weights.safetensors").write_bytes(fold.encode())
        metrics = {
            "fold": fold,
            "figures": figures,
            "speakers": {
                part: sorted({row.speaker for row in getattr(division, part)})
                for part in ("train", "validation", "test")
            },
            "training_clips": len(division.train),
            "corpora": ["ravdess"],
            "parameters": 1234,
            "history": [
                {"epoch": 0, "train_loss": 2.0, "lr": 0.1},
                {"epoch": 1, "train_loss": 1.0},
            ],
            "provenance": {k: k for k in ("command", "git_revision", "python", "machine", "time")},
        }
        (out / "metrics.json").write_text(json.dumps(metrics))
        return Result(out, figures)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTraining:
    fake = FakeTraining()
    monkeypatch.setattr(training, "train", fake)
    return fake


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run the script in this process; gives its exit status."""

    def run(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, words)])
        monkeypatch.syspath_prepend(SCRIPT.parent)
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(SCRIPT), run_name="__main__")
        return int(ended.value.code or 0)

    return run


# ---------------------------------------------------------------------------------------- folds


@pytest.mark.system
def test_one_command_from_images_to_a_report(
    call, images, corpus, config, tmp_path, one_thread, capsys
):
    """The real thing, training and export and all, and then once more with nothing left to do."""
    out = tmp_path / "runs"

    words = (
        images, out, "--config", config, "--folds", "1", "--sounds", corpus, "--edge",
        "--accelerator", "cpu",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "fold-1: training" in done.stderr
    assert "mean UAR" in done.stdout
    assert "coarser labels, UAR of all test clips (chance): 7 " in done.stdout

    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["folds"]["1"]["speakers"]["test"] == ["ravdess-01"]
    assert metrics["summary"]["uar_mean"] == metrics["folds"]["1"]["figures"]["uar"]
    assert metrics["summary"]["uar_sd"] is None
    assert (metrics["recipe"], metrics["seeds"]) == ("tiny", [1])
    assert str(tmp_path) not in json.dumps(metrics["provenance"])
    # The edge app heard from the sound files what PyTorch saw in the pictures.
    assert metrics["edge"]["FP16"]["same_label_as_pytorch"] == 1.0
    assert metrics["edge"]["FP16"]["uar_mean"] == metrics["summary"]["uar_mean"]
    torch_says = {
        p.utterance: softmax(p.logits)
        for p in read_predictions(out / "predictions.csv")
        if p.part == "test"
    }
    heard = read_predictions(out / "fold-1" / "edge" / "FP16" / "predictions.csv")
    assert len(heard) == len(torch_says) == 3
    for p in heard:
        np.testing.assert_allclose(softmax(p.logits), torch_says[p.utterance], atol=5e-3)
    report = (out / "report.html").read_text()
    assert "Training loss" in report
    assert "Through the edge app" in report

    def stamps() -> dict[str, int]:
        return {str(p): p.stat().st_mtime_ns for p in (out / "fold-1").rglob("*") if p.is_file()}

    before = stamps()
    assert call(*words) == 0
    assert "fold-1: finished already" in capsys.readouterr().err
    assert stamps() == before
    assert json.loads((out / "metrics.json").read_text())["edge"] == metrics["edge"]


def test_finished_folds_are_not_run_again(call, fake, images, config, tmp_path, capsys):
    words = (images, tmp_path / "runs", "--config", config)
    assert call(*words, "--folds", 1, 3) == 0
    assert fake.trained == [("1", True), ("3", True)]
    fake.trained.clear()
    assert call(*words) == 0
    assert fake.trained == [("2", True), ("4", True), ("5", True)]
    fake.trained.clear()
    assert call(*words, "--quiet") == 0
    assert fake.trained == []
    assert "SD" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "runs" / "metrics.json").read_text())
    uars = [fold["figures"]["uar"] for fold in metrics["folds"].values()]
    assert list(metrics["folds"]) == ["1", "2", "3", "4", "5"]
    assert metrics["summary"]["uar_mean"] == pytest.approx(np.mean(uars), abs=1e-4)
    assert metrics["summary"]["uar_sd"] == pytest.approx(np.std(uars, ddof=1), abs=1e-4)


def test_an_interrupted_evaluation_goes_on(call, fake, images, config, tmp_path, capsys):
    words = (images, tmp_path / "runs", "--config", config, "--quiet")
    fake.failing["2"] = KeyboardInterrupt()
    assert call(*words) == 130
    assert "the same command resumes" in capsys.readouterr().err
    assert not (tmp_path / "runs" / "metrics.json").exists()
    fake.trained.clear()
    assert call(*words) == 0
    assert fake.trained == [("2", True), ("3", True), ("4", True), ("5", True)]


def test_a_broken_off_run_goes_on_from_its_checkpoint(images, tmp_path, monkeypatch, one_thread):
    """With the real training: the epoch before the break is not trained again."""
    epochs: list[int] = []

    def counted(module: image_module.Learner) -> None:
        epochs.append(module.current_epoch)
        if len(epochs) == 2:
            raise RuntimeError("out of memory\nand a long story")

    start = image_module.Learner.on_train_epoch_start
    monkeypatch.setattr(
        image_module.Learner, "on_train_epoch_start", lambda self: (start(self), counted(self))[0]
    )

    def run() -> crossval.Study:
        found = crossval.evaluate(
            images, tmp_path / "runs", replace(RECIPE, epochs=3), folds=["1"], progress=False
        )
        assert found is not None
        return found

    with pytest.raises(ValueError, match=r"fold-1: out of memory$"):
        run()  # nothing is finished: there is nothing to report
    assert [entry.epoch for entry in run().folds[0].history] == [0, 1, 2]
    assert epochs == [0, 1, 1, 2]


def test_a_fold_that_fails_does_not_stop_the_others(call, fake, images, config, tmp_path, capsys):
    fake.failing["2"] = RuntimeError("out of memory <now>")
    assert call(images, tmp_path / "runs", "--config", config, "--quiet") == 1
    assert "fold-2: out of memory <now>" in capsys.readouterr().err
    metrics = json.loads((tmp_path / "runs" / "metrics.json").read_text())
    assert list(metrics["folds"]) == ["1", "3", "4", "5"]
    assert metrics["problems"] == ["fold-2: out of memory <now>"]
    assert "out of memory &lt;now&gt;" in (tmp_path / "runs" / "report.html").read_text()


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--epochs", 3], "epochs 2 (asked for: 3)"),
        (["--seed", 2, "--lr", 0.5], "lr 0.002 (asked for: 0.5), seed 1 (asked for: 2)"),
        (["--sound-noise", 0.5], "sound.noise 0.0 (asked for: 0.5)"),
    ],
)
def test_another_recipe_is_refused(
    call, fake, images, config, tmp_path, capsys, finished, options, message
):
    words = (images, tmp_path / "runs", "--config", config, "--quiet")
    if not finished:
        fake.failing["1"] = KeyboardInterrupt()
    call(*words, "--folds", 1)
    fake.trained.clear()
    assert call(*words, *options) == 2
    error = capsys.readouterr().err
    assert f"fold-1: its recipe has {message}" in error
    assert "Traceback" not in error
    assert fake.trained == []


def test_choices_come_from_validation_and_figures_from_the_test(
    call, fake, images, config, tmp_path
):
    out = tmp_path / "runs"
    assert call(images, out, "--config", config, "--quiet", "--split", "both") == 0
    made = read_predictions(out / "predictions.csv")
    assert {p.fold for p in made} == {"1", "2", "3", "4", "5"}  # nothing of the leaky split
    metrics = json.loads((out / "metrics.json").read_text())
    wanted = fit_calibration([p for p in made if p.part == "validation"])
    assert metrics["calibration"]["temperature"] == wanted.temperature
    assert metrics["calibration"]["threshold"] == wanted.threshold
    tested = [p for p in made if p.part == "test"]
    assert metrics["pooled_test"] == classification.figures(tested, wanted.temperature)
    coarser = classification.group_figures(tested, wanted.temperature)
    assert metrics["pooled_test_by_labels"] == classification.by_labels(coarser)
    unknown = [p for p in tested if decide(p.logits, wanted).emotion == "unknown"]
    assert metrics["pooled_test_with_threshold"]["unknown"] == len(unknown)
    leaky = metrics["leaky_random_split"]
    assert leaky["warning"].startswith("LEAKY")
    assert leaky["figures"]["clips"] > 0
    assert "random" not in metrics["folds"]


def test_the_leaky_split_alone_gives_no_figure(call, fake, images, config, tmp_path, capsys):
    out = tmp_path / "runs"
    assert call(images, out, "--config", config, "--quiet", "--split", "random") == 0
    assert fake.trained == [("random", True)]
    assert "summary" not in json.loads((out / "metrics.json").read_text())
    assert capsys.readouterr().out.startswith("LEAKY")
    assert "No figure for unheard voices yet" in (out / "report.html").read_text()


class StubClassifier:
    """Answers by the length of the file's name; fails on the files it is told."""

    failing: frozenset[str] = frozenset()

    def __init__(self, xml: str) -> None:
        self.xml = Path(xml)

    def predict(self, sound: str) -> Any:
        if Path(sound).stem in self.failing:
            raise AudioError(sound, "it is empty")
        scores = softmax(np.arange(8.0) * (1 if self.xml.parent.name == "FP16" else -1))
        return type("Answer", (), {"scores": dict(zip(EMOTIONS, scores.tolist(), strict=True))})


def test_a_sound_that_fails_on_the_edge_is_tried_again(fake, images, corpus, tmp_path, monkeypatch):
    def exported(run: runs.Run, *_: object) -> Path:
        return run.folder / "edge" / str(_[-1]) / "tiny.xml"

    monkeypatch.setattr(edge, "_exported", exported)
    bad = "03-01-04-01-01-01-01"

    def run() -> crossval.Study:
        found = crossval.evaluate(
            images, tmp_path / "runs", RECIPE, folds=["1"], sounds=[corpus],
            classifier=StubClassifier, progress=False,
        )  # fmt: skip
        assert found is not None
        return found

    monkeypatch.setattr(StubClassifier, "failing", frozenset({bad}))
    first = run()
    assert [p.cause for p in first.problems] == ["it is empty"] * 2
    assert first.edge is not None
    assert first.edge.int8_less_fp16.clips == 2
    monkeypatch.setattr(StubClassifier, "failing", frozenset())
    second = run()
    assert second.problems == ()
    assert second.edge is not None
    assert second.edge.int8_less_fp16.clips == 3
    # Every FP16 answer is "surprised", every INT8 answer "neutral": one clip of three is.
    assert second.edge.uar_mean["FP16"] == 0.0
    assert second.edge.int8_less_fp16.accuracy.b == pytest.approx(1 / 3)
    monkeypatch.setattr(StubClassifier, "failing", frozenset({bad}))
    assert run().problems == ()  # all of it was heard and kept


# ------------------------------------------------------------------------------------ comparison


def test_two_evaluations_side_by_side(call, fake, images, config, tmp_path, capsys):
    for name in ("a", "b"):
        assert call(images, tmp_path / name, "--config", config, "--quiet", "--folds", 1, 2) == 0
    table = tmp_path / "b" / "predictions.csv"
    made = [p for p in read_predictions(table) if p.part == "test"]
    table.write_text(predictions_csv(made[1:]))
    capsys.readouterr()
    page = tmp_path / "compare.html"
    assert call("--compare", tmp_path / "a", tmp_path / "b", "--out", page) == 0
    said = capsys.readouterr().out
    assert f"{len(made) - 1} test clips" in said
    assert "left out: 1 only in A, 0 only in B" in said
    assert "no clear difference" in said
    assert "B less A" in page.read_text()
    # A run, and a model's folder, can stand on either side; without --out nothing is written.
    assert call("--compare", tmp_path / "a" / "fold-1", ROOT / "models" / "compact") == 0
    assert "only in B" in capsys.readouterr().out


# ------------------------------------------------------------------------------------ unlabelled


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    (folder / "below").mkdir(parents=True)
    soundfile.write(folder / "below" / "<script>.wav", speechlike(8.0, 16_000), 16_000)
    soundfile.write(folder / "short.flac", speechlike(1.0, 16_000, 1), 16_000)
    soundfile.write(folder / "silence.wav", np.zeros(16_000), 16_000)
    return folder


def test_recordings_without_labels(call, small_model, recordings, tmp_path, capsys):
    (recordings / "broken.wav").write_bytes(b"RIFF and then nothing")
    out = tmp_path / "heard"
    words = ("--unlabelled", recordings, "-m", small_model, "--out", out, "--quiet")
    assert call(*words) == 1
    said = capsys.readouterr()
    assert "unreadable: broken.wav: " in said.err
    assert "Traceback" not in said.err

    lines = [json.loads(line) for line in (out / "answers.jsonl").read_text().splitlines()]
    assert [line["file"] for line in lines] == [
        "below/<script>.wav", "broken.wav", "short.flac", "silence.wav",
    ]  # fmt: skip
    assert "error" in lines[1]
    assert len(lines[0]["windows"]) == 3
    assert lines[3]["emotion"] == "unknown"

    found = json.loads((out / "summary.json").read_text())
    assert (found["files"], found["windows"], found["model"]) == (3, 5, "small")
    assert found["unknown_rate"] == pytest.approx(1 / 3, abs=1e-4)
    assert found["unknown_rate_by_time"] == pytest.approx(0.1, abs=1e-4)
    assert sum(share["files"] for share in found["shares"].values()) == 3
    assert sum(share["of_time"] for share in found["shares"].values()) == pytest.approx(1, abs=1e-3)
    assert found["mean_confidence"] == pytest.approx(
        np.mean([line["confidence"] for line in lines if "error" not in line]), abs=1e-4
    )
    assert list(found["unreadable"]) == ["broken.wav"]
    assert str(tmp_path) not in json.dumps(found)
    assert "33.3%" in said.out
    page = (out / "report.html").read_text()
    assert "&lt;script&gt;.wav" in page
    assert "<script>" not in page
    assert str(tmp_path) not in page


def test_recordings_that_can_all_be_read(call, small_model, recordings, tmp_path):
    out = tmp_path / "heard"
    assert call("--unlabelled", recordings, "-m", small_model, "--out", out, "--quiet") == 0
    assert json.loads((out / "summary.json").read_text())["unreadable"] == {}


def test_recordings_none_of_which_can_be_read(call, small_model, tmp_path, capsys):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "empty.wav").touch()
    out = tmp_path / "heard"
    assert call("--unlabelled", folder, "-m", small_model, "--out", out, "--quiet") == 1
    assert json.loads((out / "summary.json").read_text())["mean_confidence"] is None
    assert "empty.wav: it is empty" in capsys.readouterr().err


def test_names_that_are_no_text_are_written_all_the_same(call, small_model, recordings, tmp_path):
    odd = recordings / b"caf\xe9.wav".decode("utf-8", "surrogateescape")
    try:
        (recordings / "silence.wav").rename(odd)
    except OSError:
        pytest.skip("this file system takes no such names")
    out = tmp_path / "heard"
    assert call("--unlabelled", recordings, "-m", small_model, "--out", out, "--quiet") == 0
    assert "caf\\\\xe9.wav" in (out / "answers.jsonl").read_text()


def test_every_fold_is_taught_by_its_own_fold_of_another_evaluation(images, tmp_path, one_thread):
    recipe = replace(RECIPE, epochs=1)
    crossval.evaluate(images, tmp_path / "first", recipe, folds=["1", "2"], progress=False)
    taught = replace(recipe, distill=0.5)
    with pytest.raises(ValueError, match="distill"):
        crossval.evaluate(images, tmp_path / "none", taught, folds=["1"], progress=False)
    crossval.evaluate(
        images, tmp_path / "second", taught, folds=["1", "2"], teachers=[tmp_path / "first"],
        progress=False,
    )  # fmt: skip
    for fold in ("fold-1", "fold-2"):
        weights = (tmp_path / "first" / fold / "weights.safetensors").read_bytes()
        told = json.loads((tmp_path / "second" / fold / "metrics.json").read_text())["teachers"]
        assert told == [f"{fold} {hashlib.sha256(weights).hexdigest()}"]
        assert (
            "train_teacher_loss"
            in json.loads((tmp_path / "second" / fold / "metrics.json").read_text())["history"][0]
        )
