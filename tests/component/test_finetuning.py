"""One's own recordings: found by folder or table, and a model taught with them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SMALL, Done, speechlike
from edge_app import Classifier
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA, own
from ser_edge.data.datasets import load_clips, load_sounds
from ser_edge.data.render import read_index, render
from ser_edge.evaluation.finetune import fine_tuning_recipe
from ser_edge.export.package import package
from ser_edge.training import fit as training


def recording(path: Path, frequency: float = 200.0, seconds: float = 1.0) -> Path:
    """A tone in syllables."""
    t = np.arange(round(16_000 * seconds)) / 16_000
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.2 * np.sin(2 * np.pi * frequency * t) * (t % 0.4 < 0.25), 16_000)
    return path


def labels(root: Path) -> dict[str, tuple[str, str]]:
    scan = CORPORA["own"].scan(root)
    assert not scan.problems
    return {u.name: (u.emotion, u.speaker) for u in scan.utterances}


def test_the_shipped_recipe_is_made_fit_for_a_few_clips():
    shipped = Recipe.read(ROOT / "models" / "compact" / "config.yaml")
    recipe = fine_tuning_recipe(shipped, "anna")
    assert (recipe.name, recipe.distill, recipe.copies, recipe.sound.any) == ("anna", 0, 0, False)
    assert (recipe.image, recipe.gate, recipe.lr) == (shipped.image, shipped.gate, shipped.lr / 4)


def test_a_folder_for_each_emotion(tmp_path):
    for name in ("happy/1.wav", "Anger/1.wav", "fear/deep/1.flac", "anna/joy/1.wav"):
        recording(tmp_path / name)
    assert labels(tmp_path) == {
        "happy-1": ("happy", "own-own"),
        "Anger-1": ("angry", "own-own"),
        "fear-deep-1": ("fearful", "own-deep"),
        "anna-joy-1": ("happy", "own-anna"),
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_table(tmp_path, encoding):
    recording(tmp_path / "a" / "1.wav")
    recording(tmp_path / "ą.wav")
    text = "emotion,file,speaker,sex\nSad,a/1.wav,anna,Female\nsurprise,ą.wav,,\n"
    (tmp_path / "labels.csv").write_text(text, encoding=encoding)
    assert labels(tmp_path) == {
        "a-1": ("sad", "own-anna"),
        "ą": ("surprised", "own-own"),
    }
    assert {u.sex for u in CORPORA["own"].scan(tmp_path).utterances} == {"female", "unknown"}


@pytest.mark.parametrize(
    ("row", "cause"),
    [
        ("a.wav,bored,", "line 2 of labels.csv: emotion is 'bored', allowed: neutral, calm"),
        ("b.wav,sad,", "line 2 of labels.csv: no such file"),
        (",sad,", "no such file"),
        ("../a.wav,sad,", "line 2 of labels.csv"),
        ("a.wav,sad,dog", "sex is 'dog', allowed: female, male, unknown"),
        ("a.wav", "emotion is ''"),
    ],
)
def test_rows_that_do_not_fit_are_listed(tmp_path, row, cause):
    recording(tmp_path / "in" / "a.wav")
    recording(tmp_path / "a.wav")
    (tmp_path / "in" / "labels.csv").write_text(f"file,emotion,sex\n{row}\n")
    scan = CORPORA["own"].scan(tmp_path / "in")
    assert scan.utterances == ()
    assert cause in str(scan.problems[0])


def test_files_that_do_not_fit_are_listed(tmp_path):
    recording(tmp_path / "1.wav")
    recording(tmp_path / "happy" / "sad" / "1.wav")
    recording(tmp_path / "sad" / "1.wav")
    recording(tmp_path / "sad" / "1.flac")
    scan = CORPORA["own"].scan(tmp_path)
    assert [u.name for u in scan.utterances] == ["sad-1"]
    causes = " ".join(str(problem) for problem in scan.problems)
    assert "1.wav: none of its folders is an emotion" in causes
    assert "2 of its folders is an emotion" in causes
    assert "its name is that of" in causes


def test_a_table_without_its_columns_and_no_folder(tmp_path):
    (tmp_path / "labels.csv").write_text("path;label\n")
    with pytest.raises(ValueError, match=r"labels\.csv: it lacks the column file, emotion"):
        own.scan(tmp_path)
    with pytest.raises(ValueError, match="there is no such folder"):
        own.scan(tmp_path / "none")


def test_equal_stems_stay_apart(tmp_path):
    recording(tmp_path / "voice" / "happy" / "1.wav")
    recording(tmp_path / "voice" / "sad" / "1.wav", 900)
    scan = CORPORA["own"].scan(tmp_path / "voice")
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    spec, rows = read_index(tmp_path / "images")
    clips = load_clips(tmp_path / "images", rows, spec)
    assert [clip.utterance for clip in clips] == ["happy-1", "sad-1"]
    sounds = load_sounds([tmp_path / "voice"], clips, spec)
    assert not np.array_equal(sounds[0], sounds[1])


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that knows little."""
    folder = tmp_path_factory.mktemp("tiny")
    for actor in (1, 2, 9):
        for emotion in range(1, 9):
            path = folder / "corpus" / f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, speechlike(1.0, 16_000, seed=10 * actor + emotion), 16_000)
    scan = CORPORA["ravdess"].scan(folder / "corpus")
    render(scan.utterances, folder / "images", SMALL, workers=1, progress=False)
    recipe = Recipe(
        name="tiny", width=0.25, epochs=1, batch_size=4, lr=0.02, freq_mask=2, time_mask=4,
        freq_stretch=0.0, label_smoothing=0.0, dropout=0.0, precision="bf16-mixed", image=SMALL,
    )  # fmt: skip
    for name, fold in (("all", "all"), ("fold1", "1")):
        training.train(
            training.Sources(folder / "images"),
            folder / name,
            recipe,
            fold,
            hardware=Hardware("cpu"),
            progress=False,
        )
    package(folder / "all", [folder / "fold1"], folder / "models" / "tiny")
    return folder


@pytest.fixture
def finetune(tiny: Path, tmp_path: Path, here: Callable[..., Done]) -> Callable[..., Done]:
    """``scripts/finetune.py`` with everything in ``tmp_path``."""

    def run(data: Path, *words: object) -> Done:
        return here(
            "finetune.py", data, "anna", "--from", tiny / "models" / "tiny",
            "--work", tmp_path / "work", "--models", tmp_path / "models", "--ir", tmp_path / "ir",
            "--accelerator", "cpu", "--quiet", *words,
        )  # fmt: skip

    return run


@pytest.mark.system
def test_a_model_is_taught_a_voice(tiny, finetune, tmp_path):
    voice = tmp_path / "voice"
    for i in range(8):
        recording(voice / "calm" / f"{i}.wav", 300 + 10 * i)
        recording(voice / "angry" / f"{i}.wav", 3000 + 50 * i)
    (voice / "angry" / "broken.wav").write_bytes(b"RIFF")
    words = ["--epochs", 25, "--lr", 0.01, "--also", tiny / "images"]
    done = finetune(voice, *words)
    assert done.returncode == 0, done.stderr
    assert "left out: " in done.stdout
    assert "broken.wav" in done.stdout
    assert "on 4 held-out clips of the speakers trained on: UAR " in done.stdout
    assert "1.000 after" in done.stdout
    assert "too few to calibrate on: temperature and threshold of tiny are kept" in done.stdout

    saved = Recipe.read(tmp_path / "models" / "anna" / "config.yaml")
    assert (saved.name, saved.lr, saved.precision, saved.image) == ("anna", 0.01, "auto", SMALL)
    metrics = json.loads((tmp_path / "models" / "anna" / "metrics.json").read_text())
    assert metrics["corpora"] == ["own", "ravdess"]
    assert "LEAKY" in metrics["summary"]["measured_on"]
    assert "LEAKY" in (tmp_path / "models" / "anna" / "figures.md").read_text()

    ear = Classifier(tmp_path / "ir" / "anna" / "FP16" / "anna.xml")
    for emotion, frequency in (("calm", 335), ("angry", 3135)):
        answer = ear.predict(recording(tmp_path / "new.wav", frequency))
        assert max(answer.scores, key=lambda name: answer.scores[name]) == emotion

    again = finetune(voice, *words)  # nothing is trained anew
    assert again.returncode == 0, again.stderr
    other = finetune(voice, "--epochs", 3)
    assert other.returncode == 2
    assert "made by another recipe; remove it, or take another --work" in other.stderr


def test_too_few_clips_of_an_emotion(finetune, tmp_path):
    recording(tmp_path / "voice" / "sad" / "1.wav")
    done = finetune(tmp_path / "voice")
    assert done.returncode == 2
    assert "1 clips of sad, there should be 3" in done.stderr
