"""A trained network on another corpus: ``scripts/evaluate.py --corpus``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SMALL, speechlike
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.render import render
from ser_edge.emotions import EMOTIONS
from ser_edge.evaluation import crosscorpus
from ser_edge.evaluation.crosscorpus import Trained, cross, crossing, read_trained, runs_below
from ser_edge.metrics.classification import ClipPrediction, read_predictions

RECIPE = Recipe(name="tiny", width=0.25, freq_mask=2, image=SMALL)
TRAINED = Trained(Path("run"), ("ravdess",), EMOTIONS, frozenset())


def run_folder(
    folder: Path,
    corpora: tuple[str, ...] = ("ravdess",),
    heard: tuple[str, ...] = (),
    recipe: Recipe = RECIPE,
) -> Path:
    """What training leaves, with random weights."""
    import torch
    from safetensors.torch import save_file

    from ser_edge.nets import build_net

    torch.manual_seed(1)
    folder.mkdir(parents=True)
    save_file(build_net(recipe).state_dict(), folder / "weights.safetensors")
    (folder / "config.yaml").write_text(recipe.to_yaml())
    metrics = {"corpora": corpora, "speakers": {"train": heard, "validation": []}}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def rendering(folder: Path, corpus: str, *names: str) -> Path:
    for number, name in enumerate(names):
        path = folder / "sounds" / f"{name}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speechlike(1.0, 16_000, number), 16_000)
    scan = CORPORA[corpus].scan(folder / "sounds")
    assert not scan.problems
    render(scan.utterances, folder / "images", SMALL, workers=1, progress=False)
    return folder / "images"


@pytest.fixture
def nemo(tmp_path: Path) -> Path:
    names = [f"{s}_{e}_1" for s in ("EB0", "WR0") for e in ("anger", "fear", "sadness")]
    return rendering(tmp_path / "nemo", "nemo", *names)


def prediction(emotion: str, speaker: str, **logits: float) -> ClipPrediction:
    values = tuple(logits.get(name, 0.0) for name in EMOTIONS)
    return ClipPrediction(
        "test", "", f"{speaker}-{emotion}", "nemo", speaker, "female", "unknown", emotion, values
    )


def test_the_highest_of_the_shared_labels_and_of_all():
    made = [
        prediction("sad", "a", sad=1.0, calm=2.0),  # right among the shared alone
        prediction("sad", "b", sad=2.0, calm=1.0),  # right
        prediction("angry", "a", disgust=3.0, sad=1.0),  # wrong in both
        prediction("angry", "c", angry=1.0),  # right
        prediction("angry", "c", angry=2.0),  # right
        prediction("angry", "c", happy=3.0, angry=2.0),  # right among the shared alone
    ]
    found = crossing(TRAINED, Path("images"), made, {})
    assert found.labels == ("sad", "angry")
    assert found.speakers == 3
    assert found.shared.recall == {"sad": 1.0, "angry": 0.75}
    assert found.shared.uar == pytest.approx(0.875)
    assert found.shared.accuracy == pytest.approx(5 / 6)
    assert found.of_all.recall == {"sad": 0.5, "angry": 0.5}
    assert found.of_all.uar == found.of_all.accuracy == 0.5
    assert found.elsewhere == 0.5


def test_a_run_is_scored_on_every_clip(tmp_path, nemo):
    found = cross(run_folder(tmp_path / "run"), nemo)
    assert found.corpora == ("nemo",)
    assert found.labels == ("sad", "angry", "fearful")
    assert (len(found.predictions), found.speakers, found.left_out) == (6, 2, {})
    assert np.ptp([p.logits for p in found.predictions], axis=0).max() > 0  # of the pictures


def test_what_is_left_out(tmp_path):
    images = rendering(
        tmp_path / "r", "ravdess",
        "03-01-01-01-01-01-01", "03-01-05-01-01-01-01",  # scored
        "03-02-05-01-01-01-01",  # song
        "03-01-05-01-01-01-02", "03-01-01-01-01-01-02",  # heard
        "03-01-05-01-01-01-06",  # kept apart
        "03-01-02-01-01-01-01", "03-01-07-01-01-01-01",  # calm, disgust: nEMO has neither
    )  # fmt: skip
    run = run_folder(tmp_path / "run", ("nemo",), heard=("nemo-eb0", "ravdess-02"))
    found = cross(run, images)
    assert sorted(p.emotion for p in found.predictions) == ["angry", "neutral"]
    assert found.left_out == {
        crosscorpus.SONG: 1,
        crosscorpus.IN_TRAINING: 2,
        crosscorpus.FINAL_TEST: 1,
        crosscorpus.NOT_SHARED: 2,
    }
    text = crosscorpus.table([found])
    assert "2 clips of 1 speakers, 2 labels, chance 0.500" in text
    assert "2 clips of speakers in training or validation" in text


def test_nothing_is_left_to_score(tmp_path, nemo):
    run = run_folder(tmp_path / "run", ("nemo",), heard=("nemo-eb0", "nemo-wr0"))
    with pytest.raises(
        ValueError, match=r"nothing to score.*left out: 6 clips of speakers in training"
    ):
        cross(run, nemo)


@pytest.mark.parametrize(
    ("corpora", "emotions"),
    [
        (("ravdess",), EMOTIONS),
        (("nemo",), ("neutral", "happy", "sad", "angry", "fearful", "surprised")),
        (("nemo", "tess"), tuple(e for e in EMOTIONS if e != "calm")),
        (("something",), EMOTIONS),
    ],
)
def test_emotions_that_training_had(tmp_path, corpora, emotions):
    assert read_trained(run_folder(tmp_path / "run", corpora)).emotions == emotions


def test_what_does_not_fit_is_named(tmp_path, nemo):
    run = run_folder(tmp_path / "run")
    (run / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match=r"metrics\.json: not as training writes it"):
        cross(run, nemo)
    (run / "metrics.json").unlink()
    with pytest.raises(ValueError, match=r"metrics\.json: No such file"):
        cross(run, nemo)
    with pytest.raises(ValueError, match="the recipe wants"):
        cross(ROOT / "models" / "compact", nemo)
    with pytest.raises(ValueError, match="neither a run nor a model"):
        runs_below(tmp_path)


def test_the_script_scores_an_evaluation_fold_by_fold(here, tmp_path, nemo):
    for fold in ("fold-2", "fold-1"):
        run_folder(tmp_path / "eval" / fold)
    done = here("evaluate.py", "--corpus", nemo, "-m", tmp_path / "eval", "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("6 clips of 2 speakers, 3 labels, chance 0.333") == 2
    assert "mean UAR of 2 runs" in done.stdout
    plain = json.loads((tmp_path / "out" / "crosscorpus.json").read_text())
    first, second = plain["crossings"]
    assert [Path(c["run"]).name for c in (first, second)] == ["fold-1", "fold-2"]
    assert first["tested_on"] == ["nemo"]
    assert first["labels"] == ["sad", "angry", "fearful"]
    assert first["among_shared_labels"] == second["among_shared_labels"]  # the same weights
    assert first["among_shared_labels"]["uar"] >= first["among_all_eight"]["uar"]
    made = read_predictions(tmp_path / "out" / "1-images-fold-1" / "predictions.csv")
    assert {(p.part, p.fold, p.corpus) for p in made} == {("test", "1", "nemo")}


def test_the_shipped_model_on_real_voices(data, tmp_path):
    scan = CORPORA["tess"].scan(data / "tess")
    spec = Recipe.read(ROOT / "models" / "compact" / "config.yaml").image
    render(scan.utterances[::140], tmp_path / "tess", spec, workers=1, progress=False)
    found = cross(ROOT / "models" / "compact", tmp_path / "tess")
    assert len(found.predictions) == 20
    assert found.speakers == 2
    assert "calm" not in found.labels
    assert found.shared.uar >= found.of_all.uar


# ------------------------------------------------------------------------- the table of a document


def as_model(folder: Path) -> Path:
    """The run's metrics as scripts/package_model.py writes them."""
    found = json.loads((folder / "metrics.json").read_text())
    matrix = np.zeros((8, 8), dtype=int)
    np.fill_diagonal(matrix, 3)
    matrix[2] = 40
    found |= {
        "gate": {"sounds": 10, "speech": ["crema-d", "ravdess"]},
        "summary": {"uar_mean": 0.7654},
        "pooled_test": {
            "accuracy": 0.5,
            "recall": dict.fromkeys(EMOTIONS, 0.25),
            "confusion": matrix.tolist(),
        },
        "folds": {str(i): {"speakers": {"test": [f"ravdess-0{i}"]}} for i in (1, 2)},
    }
    (folder / "metrics.json").write_text(json.dumps(found))
    return folder


def test_the_table_into_a_document(here, tmp_path, nemo):
    model = as_model(run_folder(tmp_path / "mine"))
    document = tmp_path / "corpora.md"
    document.write_text("above\n<!-- crosscorpus:begin -->\nwas\n<!-- crosscorpus:end -->\nbelow\n")
    words = ("evaluate.py", "--corpus", nemo, "-m", model, "--into", document)
    done = here(*words)
    assert (done.returncode, done.stderr) == (0, "")
    text = document.read_text()
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "\nwas\n" not in text
    assert "`mine`, trained on ravdess, its nonspeech head on crema-d too, without labels." in text
    assert "| ravdess, by folds | 341 | 2 | 8 | 0.125 | **0.765** | 0.765 | 0.500 | 0.938 |" in text
    found = cross(model, nemo)
    assert (
        f"| nemo | 6 | 2 | 3 | 0.333 | **{found.shared.uar:.3f}** | {found.of_all.uar:.3f} "
        f"| {found.shared.accuracy:.3f} | 0.333 |"
    ) in text
    # Recalls on few clips are put in parentheses, emotions that the corpus has not are empty.
    recalls = [line for line in text.splitlines() if line.startswith("| nemo | - | - | - | (")]
    assert len(recalls) == 1
    assert f"({found.shared.recall['sad']:.2f}, 2)" in recalls[0]
    assert "| ravdess, by folds | (0.25, 3) | (0.25, 3) | 0.25 |" in text
    here(*words)
    assert document.read_text() == text


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda p: (p / "doc.md").write_text("nothing"), "one <!-- crosscorpus:begin -->"),
        (lambda p: (p / "run" / "weights.safetensors").unlink(), "the table is of a model folder"),
        (lambda p: None, "not as scripts/package_model.py writes it"),  # a run, no model
    ],
)
def test_a_table_that_cannot_be_written(here, tmp_path, prepare, message):
    run_folder(tmp_path / "run")
    (tmp_path / "doc.md").write_text("<!-- crosscorpus:begin --><!-- crosscorpus:end -->")
    prepare(tmp_path)
    done = here(
        "evaluate.py", "--corpus", tmp_path, "-m", tmp_path / "run", "--into", tmp_path / "doc.md"
    )
    assert done.returncode == 2
    assert message in done.stderr


def test_the_document_that_is_published_names_the_shipped_model():
    text = (ROOT / "docs" / "results" / "corpora.md").read_text()
    table = text.partition("<!-- crosscorpus:begin -->")[2].partition("<!-- crosscorpus:end -->")[0]
    mean = json.loads((ROOT / "models" / "compact" / "metrics.json").read_text())["summary"]
    assert "`compact`, trained on" in table
    assert f"**{mean['uar_mean']:.3f}**" in table
