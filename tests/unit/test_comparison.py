"""Two runs side by side: intervals that can be had by hand, and whatever does not pair."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ser_edge.emotions import EMOTIONS
from ser_edge.metrics import bootstrap, classification
from ser_edge.metrics.bootstrap import Scored, compare, read_pair, read_scored
from ser_edge.metrics.classification import ClipPrediction, predictions_csv


def clip(number: int, speaker: str, emotion: str, answer: str, fold: str = "1") -> ClipPrediction:
    logits = tuple(4.0 if name == answer else 0.0 for name in EMOTIONS)
    name = f"clip{number:03d}"
    return ClipPrediction("test", fold, name, "made", speaker, "male", "normal", emotion, logits)


def made(name: str, right: list[bool], speakers: int = 1) -> Scored:
    """Clips of one emotion, speaker by speaker, right or wrong as given."""
    each = len(right) // speakers
    return Scored(
        name,
        tuple(
            clip(i, f"s{i // each}", "happy", "happy" if good else "sad")
            for i, good in enumerate(right)
        ),
        False,
    )


@pytest.fixture
def mixed() -> tuple[Scored, Scored]:
    """Two runs on 240 clips of unequal classes and six speakers."""
    random = np.random.default_rng(3)
    runs = []
    labels = random.choice(8, 240, p=[0.3, *[0.1] * 7])
    for share in (0.5, 0.7):
        answers = np.where(random.random(240) < share, labels, random.integers(0, 8, 240))
        runs.append(
            Scored(
                f"run{share}",
                tuple(
                    clip(i, f"s{i % 6}", EMOTIONS[labels[i]], EMOTIONS[answers[i]])
                    for i in range(240)
                ),
                False,
            )
        )
    return runs[0], runs[1]


def test_the_interval_by_clip_is_the_binomials():
    """B has 20 of 100 clips more: a draw has Binomial(100, 0.2) of them, 95 % in 12 to 28."""
    a, b = made("a", [False] * 100), made("b", [i % 5 == 0 for i in range(100)])
    found = compare(a, b)
    for difference in (found.uar, found.accuracy):
        assert (difference.a, difference.b) == (0.0, 0.2)
        assert difference.by_clip.low == pytest.approx(0.12, abs=0.011)
        assert difference.by_clip.high == pytest.approx(0.28, abs=0.011)
        assert difference.by_clip.is_clear
        assert difference.by_speaker is None
    assert "one speaker" in bootstrap.verdict(found.uar)


def test_the_interval_by_speaker_knows_that_one_voice_is_one_voice():
    """All that B has more is one of four voices: a draw has Binomial(4, 1/4) of it, 0 to 3."""
    a = made("a", [False] * 100, speakers=4)
    b = made("b", [i < 25 for i in range(100)], speakers=4)
    found = compare(a, b).accuracy
    assert found.by_speaker is not None
    assert (found.by_speaker.low, found.by_speaker.high) == pytest.approx((0.0, 0.75))
    assert (found.by_clip.low, found.by_clip.high) == pytest.approx((0.17, 0.34), abs=0.011)
    assert bootstrap.verdict(found) == "no clear difference"


def test_figures_are_those_of_evaluation(mixed):
    found = compare(*mixed)
    for run, uar, accuracy, recalls in (
        (mixed[0], found.uar.a, found.accuracy.a, [r.a for r in found.recalls]),
        (mixed[1], found.uar.b, found.accuracy.b, [r.b for r in found.recalls]),
    ):
        wanted = classification.figures(run.predictions)
        assert uar == pytest.approx(wanted["uar"], abs=1e-4)
        assert accuracy == pytest.approx(wanted["accuracy"], abs=1e-4)
        assert recalls == pytest.approx(list(wanted["recall"].values()), abs=1e-4)
    assert found.both + found.only_a + found.only_b + found.neither == found.clips == 240
    assert (found.only_b - found.only_a) / 240 == pytest.approx(found.accuracy.difference)


def test_pairing_takes_away_what_both_have_in_common(mixed):
    """Ten clips changed among 240: the interval of the difference knows of no other clip."""
    a = mixed[0]
    wrong = [p for p in a.predictions if p.predicted != p.emotion][:10]
    better = {p.utterance for p in wrong}
    b = Scored(
        "b",
        tuple(
            clip(int(p.utterance[4:]), p.speaker, p.emotion, p.emotion)
            if p.utterance in better
            else p
            for p in a.predictions
        ),
        False,
    )
    found = compare(a, b)
    assert (found.only_a, found.only_b) == (0, 10)
    assert found.accuracy.by_clip.low > 0
    assert found.accuracy.by_clip.high < 20 / 240


def test_turned_around_it_is_the_other_way_round(mixed):
    there, back = compare(*mixed), compare(*reversed(mixed))
    assert there.uar.difference > 0
    assert back.uar.difference == pytest.approx(-there.uar.difference)
    assert back.uar.by_clip.low == pytest.approx(-there.uar.by_clip.high)
    assert (back.only_a, back.only_b) == (there.only_b, there.only_a)
    assert {bootstrap.verdict(there.uar), bootstrap.verdict(back.uar)} == {
        "A is better",
        "B is better",
    }


def test_a_run_beside_itself_differs_by_nothing(mixed):
    found = compare(mixed[0], mixed[0]).uar
    assert (found.difference, found.by_clip.low, found.by_clip.high) == (0, 0, 0)
    assert found.by_speaker == bootstrap.Interval(0, 0)


def test_the_same_seed_draws_the_same(mixed):
    assert compare(*mixed) == compare(*mixed)


def test_clips_of_one_run_alone_are_counted_and_left_out(mixed):
    a, b = mixed
    found = compare(
        replace(a, predictions=a.predictions[30:]), replace(b, predictions=b.predictions[:-7])
    )
    assert (found.clips, found.left_out_a, found.left_out_b) == (203, 7, 30)
    assert "7 only in A, 30 only in B" in bootstrap.table(found)


def test_several_seeds_of_a_clip_count_once():
    right, wrong = clip(1, "s", "happy", "happy"), clip(1, "s", "happy", "sad")
    a = Scored("a", (right, wrong, right, right), False)
    b = Scored("b", (wrong, clip(2, "s", "sad", "sad")), False)
    found = compare(a, b)
    assert (found.clips, found.accuracy.a, found.accuracy.b) == (1, 0.75, 0.0)
    assert (found.left_out_a, found.left_out_b, found.only_a) == (0, 1, 1)


def test_what_does_not_pair_is_refused_by_name():
    a = made("a", [True] * 4)
    with pytest.raises(ValueError, match="a and b: no test clip in common"):
        compare(a, replace(a, name="b", predictions=(clip(9, "s", "sad", "sad"),)))
    with pytest.raises(ValueError, match="clip000: happy in a, sad in b"):
        compare(a, replace(a, name="b", predictions=(clip(0, "s0", "sad", "sad"),)))


def written(folder: Path, predictions: list[ClipPrediction]) -> Path:
    folder.mkdir(parents=True)
    (folder / "predictions.csv").write_text(predictions_csv(predictions))
    return folder


def test_runs_are_read_and_named_by_what_differs(tmp_path):
    one, two = clip(1, "s", "sad", "sad"), clip(1, "s", "sad", "calm", fold="random")
    first = written(tmp_path / "x" / "fold-1", [one, replace(one, part="validation")])
    second = written(tmp_path / "y" / "fold-1", [two])
    a, b = read_pair(first, second)
    assert (a.name, b.name) == ("x/fold-1", "y/fold-1")
    assert (a.leaky, b.leaky) == (False, True)
    assert len(a.predictions) == 1
    assert "B: y/fold-1 (LEAKY" in bootstrap.table(compare(a, b))
    assert read_pair(first, tmp_path / "y" / "fold-1")[0].name == "x/fold-1"


def test_folders_without_test_clips_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"predictions\.csv: No such file"):
        read_scored(tmp_path)
    folder = written(tmp_path / "a", [replace(clip(1, "s", "sad", "sad"), part="validation")])
    with pytest.raises(ValueError, match=r"predictions\.csv: no test clip"):
        read_scored(folder)
