"""Pages: whole in one file, readable by a parser, and safe with any name."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image

from conftest import SMALL, speechlike
from html_page import NASTY, Page, check
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA, Problem
from ser_edge.data.render import read_index, render
from ser_edge.decision import Calibration
from ser_edge.emotions import EMOTIONS
from ser_edge.evaluation import edge as edgescores
from ser_edge.evaluation import unlabelled
from ser_edge.evaluation.crossval import CrossValidation
from ser_edge.manifest import Manifest
from ser_edge.metrics import bootstrap
from ser_edge.metrics.classification import ClipPrediction, figures, group_figures
from ser_edge.reports import charts, evaluation
from ser_edge.runs.record import Epoch, Run

ORIGIN = {
    "command": f"scripts/evaluate.py {NASTY}",
    "git_revision": "abc",
    "python": "3",
    "machine": "box",
    "time": "now",
}


def predictions(part: str, fold: str, names: list[str], seed: int) -> tuple[ClipPrediction, ...]:
    random = np.random.default_rng(seed)
    made = []
    for i, name in enumerate(names):
        logits = random.standard_normal(8)
        logits[i % 8] += 1.2
        made.append(
            ClipPrediction(
                part, fold, name, "made", f"ravdess-{i % 3:02d}", ("male", "female")[i % 2],
                ("normal", "strong")[i // 8 % 2], EMOTIONS[i % 8], tuple(logits.tolist()),
            )
        )  # fmt: skip
    return tuple(made)


def run(fold: str, names: list[str], history: int = 4) -> Run:
    made = predictions("validation", fold, names, 7) + predictions("test", fold, names, int(fold))
    return Run(
        fold=fold,
        folder=Path(f"fold-{fold}"),
        figures={
            part: figures([p for p in made if p.part == part]) for part in ("validation", "test")
        },
        speakers={"train": ["ravdess-07"], "validation": ["ravdess-08"], "test": [NASTY]},
        training_clips=12,
        corpora=("ravdess",),
        parameters=1234567,
        seconds=600.0,
        provenance=ORIGIN,
        history=tuple(Epoch(i, 2.0 / (i + 1), 0.1 * i, None, 1e-3) for i in range(history)),
        predictions=made,
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for emotion in range(1, 9):
        name = f"03-01-{emotion:02d}-01-01-01-01.wav"
        soundfile.write(
            folder / name, speechlike(6.0 if emotion == 1 else 1.0, 16_000, emotion), 16_000
        )
    return folder


@pytest.fixture(scope="module")
def images(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    render(CORPORA["ravdess"].scan(corpus).utterances, folder, SMALL, workers=1, progress=False)
    return folder


@pytest.fixture
def whole(images: Path, corpus: Path) -> CrossValidation:
    """Two folds of eight clips with pictures and sounds, two with nasty names, a leaky run."""
    names = [path.stem for path in sorted(corpus.iterdir())]
    folds = (run("1", [*names, NASTY]), run("2", [*names, NASTY]))
    return CrossValidation(
        folder=Path("runs/x"),
        recipe=Recipe(name="tiny", freq_mask=2, time_mask=10, image=SMALL),
        images=images,
        sounds={path.stem: path for path in corpus.iterdir()},
        folds=folds,
        leaky=replace(run("3", names), fold="random"),
        edge=None,
        problems=(Problem(Path("a") / NASTY.replace("/", ""), NASTY),),
        provenance=ORIGIN,
    )


def check_report(text: str) -> Page:
    """A page of an evaluation says what it must not be used for as well."""
    page = check(text)
    assert "decisions about people" in page.text
    return page


def test_the_page_of_an_evaluation(whole):
    text = evaluation.study_page(whole)
    page = check_report(text)
    assert f"{whole.uar_mean:.3f} ± {whole.uar_sd:.3f}" in page.text
    assert "chance is 0.125" in page.text
    assert NASTY in page.text  # shown as it is, not run
    assert "<script>" not in text
    assert page.of("audio")
    assert "Training loss" in page.text
    assert "Splits differ" in page.text
    coarse = group_figures(whole.tested, whole.calibration.temperature)[-1]
    cells = (
        f"valence {coarse.uar:.3f} 0.333 {coarse.accuracy:.3f} {coarse.commonest:.3f} - negative"
    )
    assert cells in page.text
    assert "1,234,567" in page.text
    # The leaky figure is never without its label.
    leaky = f"{whole.leaky.figures['test']['uar']:.3f}"
    assert page.text.count(f"UAR {leaky}") == 1
    assert page.text.index("LEAKY") < page.text.index(f"UAR {leaky}")
    assert "Do not quote" in page.text


@pytest.mark.parametrize(
    ("changes", "there", "gone"),
    [
        ({"leaky": None}, "on voices it was not trained on", "Do not quote"),
        ({"sounds": {}}, "run the same command with --sounds", "no sound file of this name"),
        ({"problems": ()}, "Worst clips", "failed"),
        ({"folds": ()}, "No figure for held-out speakers yet", "on voices it was not trained on"),
    ],
)
def test_pages_of_less(whole, changes, there, gone):
    page = check_report(evaluation.study_page(replace(whole, **changes)))
    assert there in page.text
    assert gone not in page.text


def test_one_fold_says_so_and_runs_without_history_too(whole):
    page = check_report(
        evaluation.study_page(replace(whole, folds=(run("1", [NASTY] * 9, history=0),)))
    )
    assert "One fold alone" in page.text
    assert "left no history" in page.text
    assert "no mel image of it" in page.text


def test_an_edge_is_shown_with_its_interval(whole):
    tested = whole.tested
    pair = [bootstrap.Scored(name, tested, False) for name in ("FP16", "INT8")]
    edge = edgescores.EdgeScores(
        ("1", "2"),
        {name: figures(tested) for name in ("FP16", "INT8")},
        {"FP16": 0.4, "INT8": 0.39},
        {"FP16": 0.1, "INT8": 0.11},
        {"FP16": 1.0, "INT8": 0.98},
        bootstrap.compare(*pair),
    )
    page = check_report(evaluation.study_page(replace(whole, edge=edge)))
    assert "Through the edge app" in page.text
    assert "INT8 less FP16" in page.text


def test_the_worst_clips_are_the_surest_mistakes(whole):
    clips = evaluation.worst_clips(whole, 1.0, 5)
    confidences = [clip.confidence for clip in clips]
    assert confidences == sorted(confidences, reverse=True)
    assert all(clip.prediction.emotion != clip.prediction.predicted for clip in clips)
    mistakes = [
        float(np.exp(p.logits).max() / np.exp(p.logits).sum())
        for p in whole.tested
        if p.predicted != p.emotion
    ]
    assert confidences == pytest.approx(sorted(mistakes, reverse=True)[:5])
    for clip in clips:
        assert {s.emotion for s in clip.scores if s.role} == {
            clip.prediction.emotion,
            clip.prediction.predicted,
        }


def test_pictures_stand_on_their_low_bands(images):
    _, rows = read_index(images)
    uri = evaluation.mel_image_uri(images / rows[0].image)
    with Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))) as shown:
        assert shown.format == "PNG"
        levels = np.asarray(shown)  # of a picture with a palette: its indices
    with Image.open(images / rows[0].image) as kept:
        np.testing.assert_array_equal(levels, np.asarray(kept)[::-1])
    with pytest.raises(ValueError, match=r"gone\.png"):
        evaluation.mel_image_uri(images / "gone.png")


def test_sounds_are_what_the_network_hears_and_not_too_long(tmp_path):
    stereo = np.stack([speechlike(20, 44_100), speechlike(20, 44_100, 1)], axis=1)
    soundfile.write(tmp_path / "long.wav", stereo, 44_100)
    uri = evaluation.sound_uri(tmp_path / "long.wav")
    assert uri.startswith("data:audio/flac;base64,")
    sound, rate = soundfile.read(io.BytesIO(base64.b64decode(uri.split(",")[1])))
    assert rate == 16_000
    assert sound.shape == (round(evaluation.SOUND_SECONDS * 16_000),)


def test_reliability_has_the_bins_of_the_ece(whole):
    scores = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [1.0, 0.0]])
    bins = charts.reliability(scores, np.array([0, 1, 0, 0]))
    assert [(b.clips, b.confidence, b.accuracy) for b in bins if b.clips] == [
        (1, 0.6, 1.0), (2, 0.9, 0.5), (1, 1.0, 1.0),
    ]  # fmt: skip
    assert sum(b.clips for b in bins) == 4


def test_the_page_of_a_comparison():
    names = [f"clip{i}" for i in range(40)]
    a = bootstrap.Scored(NASTY, predictions("test", "1", names, 1), True)
    b = bootstrap.Scored("b", predictions("test", "1", names, 2), False)
    runs = bootstrap.compare(a, b)
    page = check_report(evaluation.comparison_page(runs, ORIGIN))
    assert f"{runs.uar.difference:+.3f} UAR" in page.text
    assert "by speaker" in page.text
    assert "by clip" in page.text
    assert NASTY in page.text
    assert "LEAKY" in page.text


@dataclass(frozen=True)
class Window:
    start: float
    end: float
    emotion: str
    scores: dict[str, float]


@dataclass(frozen=True)
class Answer:
    emotion: str
    confidence: float
    scores: dict[str, float]
    duration: float
    windows: tuple[Window, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"file": "/somewhere/else", "emotion": self.emotion}


def answer(emotions: list[str]) -> Answer:
    """Windows of 5 s every 2.5 s with these answers."""
    windows = []
    for i, emotion in enumerate(emotions):
        scores = {e: 0.3 if e == emotion else 0.1 for e in EMOTIONS}
        windows.append(Window(2.5 * i, 2.5 * i + 5, emotion, scores))
    return Answer(emotions[0], 0.5, windows[0].scores, windows[-1].end, tuple(windows))


@pytest.fixture
def listening() -> unlabelled.FolderAnswers:
    heard = [
        unlabelled.FileAnswer("a.wav", answer(["happy", "happy", "sad"])),
        unlabelled.FileAnswer(NASTY, answer(["unknown"])),
        unlabelled.FileAnswer("long.wav", answer(["calm", "angry"] * 400)),
    ]
    return unlabelled.FolderAnswers(
        NASTY,
        Manifest("small", SMALL, Calibration(1.0, 0.2), corpora=("ravdess",)),
        "CPU",
        tuple(heard),
        (unlabelled.Unreadable(NASTY, "it is empty"),),
        ORIGIN,
    )


def test_the_page_of_recordings_without_labels(listening):
    page = check_report(evaluation.unlabelled_page(listening))
    assert NASTY in page.text
    assert "it is empty" in page.text
    assert "33.3%" in page.text  # of the files are unknown
    empty = check_report(evaluation.unlabelled_page(replace(listening, answers=())))
    assert "it is empty" in empty.text


def test_a_chart_is_the_same_bytes_every_time_and_says_what_it_shows():
    rows = {NASTY: (0.25,), "b": (1.0,)}
    first, second = (charts.bars("Recall", "share", rows, chance=0.125) for _ in range(2))
    assert first.svg == second.svg
    page = Page(first.svg)
    (drawn,) = page.of("svg")
    assert drawn["aria-label"] == f"Recall: {NASTY} 25%, b 100%"
    assert "share" in page.text  # text is text
    assert "chance, 12.5%" in page.text


def test_what_lies_under_the_pointer_is_named(listening):
    strip = charts.timeline(listening.answers[0].answer)
    assert "<title>happy</title>" in strip
    assert 'preserveAspectRatio="none"' in strip


def test_timelines_share_out_what_windows_have_in_common(listening):
    answer = listening.answers[0].answer
    # 0 to 5, 2.5 to 7.5 and 5 to 10 s: cut at 3.75 and 6.25 of 10 s.
    assert charts.stretches(answer) == (
        charts.Stretch("happy", 0, 6.25), charts.Stretch("sad", 6.25, 10),
    )  # fmt: skip
    edges, tops = charts.stacked_scores(answer)
    assert edges.tolist() == [0, 3.75, 6.25, 10]
    # Neutral and calm lie below with 0.1 each, happy is 0.3, 0.3 and 0.1.
    np.testing.assert_allclose(tops[EMOTIONS.index("happy")], [0.5, 0.5, 0.3])


def test_long_files_are_drawn_no_finer_than_a_screen(listening):
    answer = listening.answers[2].answer
    assert len(answer.windows) == 800
    edges, tops = charts.stacked_scores(answer)
    assert tops.shape == (8, charts.TIMELINE_STEPS)
    assert edges[-1] == answer.duration
