"""Who is heard where: nobody, and no clip, on two sides."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import pytest

from ser_edge.data import splits
from ser_edge.data.splits import Division, divide, split_speakers, without_held_out
from ser_edge.emotions import EMOTIONS

EVERYBODY = [f"ravdess-{actor:02d}" for actor in range(1, 25)]
APART = {f"ravdess-{actor:02d}" for actor in splits.EMOBOX_TEST_ACTORS[6]}


@dataclass(frozen=True)
class Part:
    """A window of a clip."""

    speaker: str
    emotion: str
    utterance: str
    channel: str = "speech"
    corpus: str = "ravdess"


@pytest.fixture
def heard() -> list[Part]:
    """Two windows each of two takes a speaker and emotion, and a song each."""
    parts = []
    for speaker, emotion, take in product(EVERYBODY, EMOTIONS, (1, 2)):
        parts += [Part(speaker, emotion, f"{speaker}-{emotion}-{take}")] * 2
    return parts + [Part(s, "happy", f"{s}-song", "song") for s in EVERYBODY]


def utterances(parts: tuple[Part, ...]) -> set[str]:
    return {part.utterance for part in parts}


@pytest.mark.parametrize("fold", ["1", "2", "3", "4", "5"])
def test_nobody_is_in_two_parts_and_fold_6_in_none(fold, heard):
    split = split_speakers(EVERYBODY, fold)
    assert not split.train & split.validation
    assert not split.train & split.test
    assert not split.validation & split.test
    assert (len(split.train), len(split.validation), len(split.test)) == (14, 2, 4)
    assert not APART & (split.train | split.validation | split.test)
    division = divide(heard, fold, seed=1)
    assert {part.speaker for part in division.test} == split.test
    assert {part.channel for part in division.test + division.validation} == {"speech"}
    assert {part.channel for part in division.train} == {"speech", "song"}


def test_each_fold_validates_on_a_man_and_a_woman():
    for man_and_woman in splits.VALIDATION_ACTORS.values():
        assert sorted(actor % 2 for actor in man_and_woman) == [0, 1]


def test_all_trains_on_twenty(heard):
    split = split_speakers([*EVERYBODY, "tess-oaf"], "all")
    assert len(split.train) == 21
    assert not split.validation | split.test
    assert divide(heard, "all", seed=1).test == ()


def test_a_refit_trains_on_the_validation_speakers_too(heard):
    before, after = divide(heard, "1", seed=1), divide(heard, "1", seed=1, refit=True)
    moved = {part.speaker for part in before.validation}
    assert {part.speaker for part in after.train} == {part.speaker for part in before.train} | moved
    assert {"speech", "song"} == {p.channel for p in after.train if p.speaker in moved}
    assert after.validation == ()
    assert after.test == before.test


@pytest.mark.parametrize("fold", ["all", "random"])
def test_what_cannot_be_refitted(fold, heard):
    with pytest.raises(ValueError, match=f"fold {fold} "):
        divide(heard, fold, seed=1, refit=True)


@pytest.mark.parametrize("fold", ["0", "6", "7", "one", ""])
def test_no_such_fold(fold, heard):
    with pytest.raises(ValueError, match=f"fold is '{fold}', allowed: 1, 2, 3, 4, 5"):
        split_speakers(EVERYBODY, fold)
    with pytest.raises(ValueError, match=f"fold is '{fold}', allowed: 1, 2, 3, 4, 5"):
        divide(heard, fold, seed=1)


def test_a_fold_without_its_speakers():
    with pytest.raises(ValueError, match="no speaker to test on"):
        split_speakers(["ravdess-09", "ravdess-10", "ravdess-02"], "1")


def test_random_divides_clips_and_keeps_fold_6_apart(heard):
    division = divide(heard, "random", seed=1)
    parts = [utterances(part) for part in (division.train, division.validation, division.test)]
    assert not parts[0] & parts[1]
    assert not parts[0] & parts[2]
    assert not parts[1] & parts[2]
    assert not {part.speaker for part in division.train + division.test} & APART
    assert [len(division.validation), len(division.test)] == [2 * 8 * 4, 2 * 8 * 8]  # of 40 clips
    assert {p.speaker for p in division.test} & {p.speaker for p in division.train}  # the leak
    assert {part.channel for part in division.test + division.validation} == {"speech"}
    assert divide(heard, "random", seed=1) == division
    assert utterances(divide(heard, "random", seed=2).test) != parts[2]


def test_random_has_only_one_of_the_clips_published_twice():
    names = [f"03-01-03-01-02-0{take}-07" for take in (1, 2)] + ["a", "b", "c"]
    division = divide([Part("ravdess-07", "happy", name) for name in names], "random", seed=1)
    assert utterances(division.train + division.validation + division.test) == {
        names[0], "a", "b", "c",
    }  # fmt: skip


def test_random_needs_three_clips_an_emotion():
    with pytest.raises(ValueError, match="2 clips of sad, there should be 3"):
        divide([Part("own-own", "sad", name) for name in "ab"], "random", seed=1)


def test_speakers_are_divided_for_corpora_without_folds(heard):
    others = [Part(f"own-{name}", "sad", name, corpus="own") for name in "abcdefghij"]
    division = divide(others, "speakers", seed=1)
    assert [len(division.train), len(division.validation), len(division.test)] == [7, 1, 2]
    assert divide(others, "speakers", seed=3).test != division.test
    with pytest.raises(ValueError, match="no speaker to train on"):
        divide(others[:2], "speakers", seed=1)
    assert not {part.speaker for part in divide(heard, "speakers", seed=1).train} & APART


def test_what_is_trained_on_beside_holds_nobody_who_is_scored(heard):
    division: Division[Part] = divide(heard, "1", seed=1)
    beside = without_held_out([*heard, Part("tess-oaf", "sad", "x", corpus="tess")], division)
    speakers = {part.speaker for part in beside}
    assert "tess-oaf" in speakers
    assert not speakers & ({p.speaker for p in division.test + division.validation} | APART)
