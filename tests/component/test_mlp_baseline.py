"""The MLP on classic features: what standardising and what a leaky division does to a figure."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser_edge.baseline.mlp import (
    Outcome,
    Trial,
    fit_and_score,
    markdown,
    run,
    summarise,
    to_dict,
    trials,
)
from ser_edge.baseline.table import Clip, FeatureTable, write_table
from ser_edge.data.splits import divide
from ser_edge.emotions import EMOTIONS

ACTORS = (1, 2, 3, 4, 5, 9, 10, 11, 20, 21)  # folds 1's and 2's of test and validation, and more
NAMES = ("mfcc_01_mean", "mfcc_02_mean", "mel_001_mean", "rms_mean")


def clip(speaker: str, emotion: str, number: int, channel: str = "speech", **other: str) -> Clip:
    name = f"{speaker}-{emotion}-{number}-{channel}"
    said = {"corpus": "ravdess", "sex": "female", "intensity": "normal", "statement": "s"} | other
    return Clip(
        file=f"{name}.wav", utterance=name, speaker=speaker, emotion=emotion, repetition=number,
        channel=channel, language="en", seconds=1.0, key="0" * 16, **said,
    )  # fmt: skip


def table(make, clips: list[Clip]) -> FeatureTable:
    """``make(clip, random)`` -> its four features."""
    random = np.random.default_rng(0)
    values = np.array([make(c, random) for c in clips], dtype=np.float32)
    return FeatureTable(tuple(clips), NAMES, values)


def corpus(repetitions: int = 4) -> list[Clip]:
    return [
        clip(f"ravdess-{actor:02d}", emotion, number)
        for actor in ACTORS
        for emotion in EMOTIONS
        for number in range(1, repetitions + 1)
    ]


def heard(one: Clip, random: np.random.Generator) -> list[float]:
    """The emotion, the same for everybody: two numbers on a circle, and little noise."""
    angle = 2 * np.pi * EMOTIONS.index(one.emotion) / 8
    return [*(3 * np.array([np.cos(angle), np.sin(angle)]) + random.normal(0, 0.1, 2)), 0.0, 0.0]


def remembered(one: Clip, random: np.random.Generator) -> list[float]:
    """Where everybody has a place of their own for every emotion: nothing but memory helps."""
    seed = 8 * int(one.speaker[-2:]) + EMOTIONS.index(one.emotion)
    return list(np.random.default_rng(seed).normal(0, 3, 4) + random.normal(0, 0.02, 4))


def uars(found: tuple[Outcome, ...]) -> dict[tuple[str, bool], float]:
    return {(o.trial.fold, o.trial.standardised): o.uar for o in found}


def small(**values: object) -> Trial:
    return replace(Trial(hidden=(30,), iterations=300), **values)


def test_a_random_division_rewards_memory_and_folds_do_not():
    wanted = [small(fold=fold, hidden=(100,)) for fold in ("random", "1", "2")]
    random, first, second = run(table(remembered, corpus()), wanted, workers=0, progress=False)
    assert random.uar > 0.35
    assert max(first.uar, second.uar) < 0.25
    random, first, second = run(table(heard, corpus()), wanted, workers=0, progress=False)
    assert min(random.uar, first.uar, second.uar) > 0.95


def test_standardising_rescues_what_is_small():
    def hidden(one: Clip, random: np.random.Generator) -> list[float]:
        small_ones = [1e-4 * value for value in heard(one, random)[:2]]
        return [*small_ones, random.normal(2000, 500), random.normal(-300, 100)]

    wanted = trials(["8"], ["adam", "sgd"], ["1"], [0], small())
    found = run(table(hidden, corpus()), wanted, workers=0, progress=False)
    for outcome in found:
        if outcome.trial.standardised:
            assert outcome.uar > 0.4
        else:
            assert outcome.uar < 0.3
    (stuck,) = (o for o in found if o.trial == small(fold="1", solver="sgd", standardised=False))
    assert stuck.uar == pytest.approx(1 / 8)  # one label for every clip
    assert stuck.accuracy == stuck.commonest


def test_nothing_of_the_test_is_in_the_scaling():
    held = corpus(2)
    values = table(heard, held).values
    truth = np.array([EMOTIONS.index(c.emotion) for c in held])
    train, test = np.arange(80), np.arange(80, 100)

    def score(rows: np.ndarray, sound: np.ndarray) -> np.ndarray:
        outcome = fit_and_score(
            small(fold="1"), EMOTIONS, truth[train], truth[rows], values[train], sound
        )
        return outcome.matrix

    beside = score(np.append(test, test), np.concatenate([values[test], 1e6 + values[test]]))
    loud = score(test, 1e6 + values[test])
    np.testing.assert_array_equal(score(test, values[test]), beside - loud)


def test_seven_are_the_eight_with_neutral_and_calm_joined():
    (eight, seven) = run(
        table(heard, corpus()),
        [small(fold="1"), small(fold="1", labels="7")],
        workers=0,
        progress=False,
    )
    assert eight.classes == EMOTIONS
    assert eight.matrix.shape == (8, 8)
    assert (eight.commonest, seven.commonest) == (1 / 8, 2 / 8)
    assert seven.classes == (
        "neutral", "happy", "sad", "angry", "fearful", "disgust", "surprised",
    )  # fmt: skip
    assert seven.matrix.sum(axis=1).tolist() == [32, *[16] * 6]  # actors 1, 11, 20, 21


def test_divisions_are_those_of_everything_else():
    held = corpus()
    (outcome,) = run(table(heard, held), [small(fold="2", seed=3)], workers=0, progress=False)
    division = divide(held, "2", 3)
    assert outcome.trained_on == len(division.train)
    assert outcome.matrix.sum() == len(division.test)
    assert {c.speaker for c in division.test} == {"ravdess-04", "ravdess-10"}


def test_song_is_trained_on_when_asked_for_and_never_scored():
    held = corpus(2) + [clip(f"ravdess-{a:02d}", "happy", 1, "song") for a in ACTORS]
    made = table(heard, held)
    wanted = [small(fold="1", iterations=5)]
    (without,) = run(made, wanted, workers=0, progress=False)
    (with_song,) = run(made, wanted, song=True, workers=0, progress=False)
    assert with_song.trained_on == without.trained_on + 4  # test and validation actors' is out
    assert with_song.matrix.sum() == without.matrix.sum() == 64


def test_twice_gives_the_same():
    wanted = [small(fold="random", seed=seed, iterations=20) for seed in (0, 1)]
    made = table(heard, corpus(3))
    first = run(made, wanted, workers=0, progress=False)
    assert run(made, wanted, workers=2, progress=False) == first
    assert [o.trial for o in first] == wanted
    assert first[0].counts != first[1].counts


def test_columns_are_chosen_by_pattern():
    made = table(heard, corpus())
    wanted = [small(fold="1")]
    (seen,) = run(made, wanted, columns=["mfcc_*"], workers=0, progress=False)
    (blind,) = run(made, wanted, columns=["mel_*", "rms_*"], workers=0, progress=False)
    assert seen.uar > 0.95
    assert blind.uar == pytest.approx(1 / 8)
    with pytest.raises(ValueError, match=r"no column is called 'tempo_\*', the first is mfcc_01"):
        run(made, wanted, columns=["mfcc_*", "tempo_*"], workers=0, progress=False)


def test_epochs_that_run_out_are_told():
    (outcome,) = run(
        table(heard, corpus(2)), [small(fold="1", iterations=2)], workers=0, progress=False
    )
    assert (outcome.iterations, outcome.converged) == (2, False)
    assert summarise([outcome])[0].not_converged == 1


def outcome(fold: str, seed: int, right: int, standardised: bool = True) -> Outcome:
    """Of ten clips each of two classes, so many of the first are right and all of the second."""
    return Outcome(
        small(fold=fold, seed=seed, standardised=standardised),
        ("a", "b"), 50, 30, True, 1.0, ((right, 10 - right), (0, 10)),
    )  # fmt: skip


@pytest.mark.unit
def test_summaries():
    found = [outcome("1", 0, 2), outcome("1", 1, 4), outcome("2", 0, 6), outcome("2", 1, 8)]
    (summary,) = summarise(found)
    assert summary.trials == 4
    assert summary.uar == pytest.approx(np.mean([0.6, 0.7, 0.8, 0.9]))
    assert summary.over_folds == pytest.approx(np.std([0.65, 0.85], ddof=1))
    assert summary.over_seeds == pytest.approx(np.std([0.70, 0.80], ddof=1))
    assert (summary.chance, summary.commonest) == (0.5, 0.5)
    (alone,) = summarise(found[:1])
    assert (alone.over_folds, alone.over_seeds) == (0.0, 0.0)


@pytest.mark.unit
def test_the_table_calls_a_leak_a_leak():
    found = [
        outcome("random", 0, 10), outcome("random", 1, 8),
        outcome("1", 0, 2), outcome("2", 0, 4), outcome("1", 0, 0, standardised=False),
    ]  # fmt: skip
    head, _, first, second = markdown(summarise(found)).splitlines()
    assert "clips at random (LEAKY): UAR | SD | accuracy | actors apart, folds: UAR" in head
    assert first == (
        "| 8 | adam | standardised | 0.500 | 0.950 | 0.071 | 0.950 | 0.650 | 0.071 | 0.650 |"
    )
    assert second == "| 8 | adam | as they are | 0.500 |  |  |  | 0.500 | 0.000 | 0.500 |"
    kept = json.loads(json.dumps(to_dict(found), allow_nan=False))
    assert kept["trials"][2]["confusion"] == [[2, 8], [0, 10]]
    assert kept["trials"][2]["fold"] == "1"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"solver": "lbfgs"}, "solver is 'lbfgs', allowed: adam, sgd"),
        ({"fold": "all"}, "fold all has nobody to test on"),
        ({"seed": -1}, "seed is -1"),
        ({"iterations": 0}, "iterations is 0"),
        ({"hidden": ()}, "hidden is"),
        ({"hidden": (10, 0)}, "hidden is"),
    ],
)
def test_trials_out_of_range(values, message):
    with pytest.raises(ValueError, match=message):
        Trial(**values)


def test_one_emotion_is_nothing_to_tell_apart():
    held = [c for c in corpus() if c.emotion == "happy"]
    with pytest.raises(ValueError, match="fold 1: fewer than two emotions to train on"):
        run(table(heard, held), [small(fold="1")], workers=0, progress=False)


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    write_table(table(heard, corpus()), path)
    return path


def test_the_script(here, written, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n<!-- mlp-baseline:begin -->\nwhat stood here\n<!-- mlp-baseline:end -->\nend\n"
    )
    done = here(
        "mlp_baseline.py", written, "--folds", "random", "1", "2", "--seeds", 2, "--labels", "8",
        "--solvers", "adam", "--hidden", 20, "--out", tmp_path / "all.json", "--into", page,
        "--workers", 2, "--quiet",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 4
    text = page.read_text()
    assert done.stdout in text
    assert "what stood here" not in text
    assert text.startswith("# Page\n")
    assert text.endswith("\nend\n")
    kept = json.loads((tmp_path / "all.json").read_text())
    assert len(kept["trials"]) == 2 * 3 * 2
    assert (
        kept["command"].startswith("scripts/mlp_baseline.py")
        or "mlp_baseline.py" in (kept["command"])
    )
    assert {s["kind"] for s in kept["summaries"]} == {"random", "folds"}


def test_other_corpora_are_divided_by_speaker(here, tmp_path):
    held = [
        clip(f"nemo-{name}", emotion, number, corpus="nemo")
        for name in ("A", "B", "C", "D", "E")
        for emotion in ("happy", "sad", "angry")
        for number in (1, 2, 3)
    ]
    write_table(table(heard, held), tmp_path / "nemo.csv")
    done = here(
        "mlp_baseline.py", tmp_path / "nemo.csv", "--folds", "random", "speakers", "--seeds", 1,
        "--labels", "8", "--solvers", "adam", "--workers", 1, "--quiet",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "speakers apart, at random: UAR" in done.stdout
    assert "| 0.333 |" in done.stdout  # always the commonest of three
    done = here("mlp_baseline.py", tmp_path / "nemo.csv", "--quiet")
    assert done.returncode == 2
    assert "fold 1: no speaker to" in done.stderr


@pytest.mark.unit
def test_scikit_learn_that_is_missing_is_named(here, written, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    done = here("mlp_baseline.py", written)
    assert done.returncode == 2
    assert "needs scikit-learn: pip install 'ser-edge[features]'" in done.stderr
