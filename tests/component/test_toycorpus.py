"""The toy corpus of the notebook, its drawings, and who watches a fit."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import ROOT, SMALL, speechlike
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.render import render
from ser_edge.data.toy_corpus import ACTORS, MANNERS, RATE, make_toy_corpus, spoken
from ser_edge.emotions import EMOTIONS
from ser_edge.runs.record import Epoch, read_run

SAMPLES = ROOT / "samples"
MEN = [SAMPLES / "man-even.wav", SAMPLES / "man-low-slow.wav"]
WOMEN = [SAMPLES / "woman-soft-slow.flac", SAMPLES / "woman-bright-fast.ogg"]


def test_it_is_named_as_ravdess(tmp_path):
    assert make_toy_corpus(tmp_path, MEN, WOMEN, actors=(1, 2)) == 64
    scan = CORPORA["ravdess"].scan(tmp_path)
    assert scan.problems == ()
    assert {u.speaker for u in scan.utterances} == {"ravdess-01", "ravdess-02"}
    counts = {e: sum(u.emotion == e for u in scan.utterances) for e in EMOTIONS}
    assert counts == dict.fromkeys(EMOTIONS, 8)
    sounds = {u.path.read_bytes() for u in scan.utterances}
    assert len(sounds) == 64  # no two the same
    for utterance in scan.utterances[::9]:
        sound, rate = soundfile.read(utterance.path)
        assert rate == RATE
        assert 0.4 < np.abs(sound).max() < 0.6
        assert 1.0 < len(sound) / rate < 5.0


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    for folder, seed in (("a", 1), ("b", 1), ("c", 2)):
        make_toy_corpus(tmp_path / folder, MEN, WOMEN, actors=(5,), seed=seed)
    name = Path("Actor_05") / "03-01-06-01-02-01-05.wav"
    a, b, c = ((tmp_path / folder / name).read_bytes() for folder in "abc")
    assert a == b
    assert a != c


def test_nobody_of_those_who_are_kept_apart():
    assert len(ACTORS) == 20
    assert not {6, 13, 17, 22} & set(ACTORS)


@pytest.mark.parametrize("emotion", EMOTIONS)
def test_a_manner_is_what_it_says(emotion):
    voice = speechlike(2.0, RATE)
    manner = MANNERS[emotion]
    sound = spoken(voice, manner)
    assert len(sound) == round(len(voice) / manner.speed)
    assert sound.dtype == np.float32
    assert np.abs(sound).max() == pytest.approx(0.5, abs=1e-6)
    none = spoken(voice, manner, acting=0.0)
    assert len(none) == len(voice)
    np.testing.assert_allclose(none, 0.5 * voice / np.abs(voice).max(), atol=1e-5)


def test_darker_and_brighter():
    voice = speechlike(2.0, RATE)

    def above_2_khz(emotion: str) -> float:
        power = np.abs(np.fft.rfft(spoken(voice, MANNERS[emotion]))) ** 2
        return float(power[len(power) // 4 :].sum() / power.sum())

    assert above_2_khz("calm") < above_2_khz("neutral") < above_2_khz("angry")


@pytest.mark.parametrize(
    ("men", "actors", "message"),
    [
        (MEN[:1], (1,), "men are 1 clips, allowed: 2"),
        (MEN, (1, 25), "actor is 25, allowed: 1 to 24"),
        ([MEN[0], SAMPLES / "none.wav"], (1,), "none.wav"),
    ],
)
def test_what_cannot_be_made(tmp_path, men, actors, message):
    with pytest.raises(ValueError, match=message):
        make_toy_corpus(tmp_path, men, WOMEN, actors)


def test_whoever_watches_is_told_every_epoch(tmp_path, make_ravdess):
    from ser_edge.training.fit import Sources, fit

    scan = CORPORA["ravdess"].scan(make_ravdess(actors=(1, 9, 10, 2)))
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    seen: list[Epoch] = []
    recipe = Recipe(
        width=0.25, epochs=3, freq_mask=2, time_mask=4, batch_size=2, precision="32-true",
        image=SMALL,
    )  # fmt: skip
    fit(
        Sources(tmp_path / "images"), tmp_path / "run", recipe, "1", progress=False,
        watch=seen.append,
    )  # fmt: skip
    assert [epoch.epoch for epoch in seen] == [0, 1, 2]
    history = read_run(tmp_path / "run", "1").history
    for told, kept in zip(seen, history, strict=True):
        assert told.train_loss == pytest.approx(kept.train_loss, abs=1e-5)
        assert told.validation_uar == pytest.approx(kept.validation_uar, abs=1e-5)
        assert told.validation_nll == pytest.approx(kept.validation_nll, abs=1e-5)
        assert 0 <= told.lr <= recipe.lr


@pytest.mark.system
def test_drawings():
    from ser_edge.mel.image import mel_image
    from ser_edge.reports import notebook

    voice = speechlike(SMALL.seconds, SMALL.sample_rate)
    image = mel_image(voice, SMALL)
    figure = notebook.clip_figure(voice, image, SMALL)
    assert [axis.get_title(loc="left") for axis in figure.axes] == [
        "the sound: air pressure over time",
        "its mel image: 16 bands of pitch, 199 moments",
    ]
    assert np.array_equal(figure.axes[1].images[0].get_array(), image)
    gallery = notebook.gallery(dict.fromkeys(EMOTIONS[:6], image), SMALL)
    assert sum(axis.axison for axis in gallery.axes) == 6
    folds = notebook.folds_figure([f"ravdess-{actor:02d}" for actor in ACTORS])
    grid = folds.axes[0].collections[0].get_array().reshape(5, 20)
    assert (np.count_nonzero(grid == 2, axis=0) == 1).all()  # everybody is tested on once
    confusion = notebook.confusion_figure({"a": np.diag([5] * 8), "b": np.zeros((8, 8), dtype=int)})
    assert [text.get_text() for text in confusion.axes[0].texts] == ["100"] * 8
    assert not confusion.axes[1].texts
    scores = notebook.scores_figure({"happy": 0.75, "sad": 0.25}, "heard", 0.3)
    assert "75 %" in [text.get_text() for text in scores.axes[0].texts]


@pytest.mark.system
def test_a_curve_grows_and_takes_gaps():
    pytest.importorskip("IPython", reason="needs the extra notebook")
    from ser_edge.reports.notebook import LiveCurve

    curve = LiveCurve("mine", 3)
    curve.add(Epoch(0, train_loss=2.0))  # no validation yet
    curve.add(Epoch(1, train_loss=1.5, validation_uar=0.4))
    left, right = curve.figure().axes
    assert left.lines[0].get_ydata().tolist() == [2.0, 1.5]
    assert math.isnan(right.lines[0].get_ydata()[0])
    assert left.get_title(loc="left").startswith("mine")
