"""Coarser labels: groups of the eight, their scores, and a user's own file."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from conftest import speechlike
from edge_app import Classifier
from edge_app.cli import main
from ser_edge.decision import Calibration, Decision, decide
from ser_edge.emotions import EMOTIONS
from ser_edge.labels import GROUPINGS, Group, Grouping, find_grouping, parse_grouping
from ser_edge.manifest import Manifest

OWN = """\
# mine
upset: Sad, angry fearful,disgust

fine: neutral calm happy  # all right
wow: surprised"""


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "clip.wav", speechlike(2.0, 16_000), 16_000)
    return tmp_path / "clip.wav"


def of(emotion: str) -> dict[str, str]:
    """The group of an emotion in every published grouping."""
    return {name: g.names[g.index(emotion)] for name, g in GROUPINGS.items()}


@pytest.mark.parametrize(
    ("emotion", "groups"),
    [
        ("neutral", ("neutral", "neutral", "neutral", "neutral", "neutral")),
        ("calm", ("neutral", "neutral", "neutral", "calm", "neutral")),
        ("happy", ("happy", "happy", "happy", "happy", "positive")),
        ("sad", ("sad", "sad", "sad", "negative", "negative")),
        ("angry", ("angry", "angry", "angry", "negative", "negative")),
        ("fearful", ("fearful", "fearful", "other", "negative", "negative")),
        ("disgust", ("disgust", "disgust", "other", "negative", "negative")),
        ("surprised", ("surprised", "other", "other", "surprised", "positive")),
    ],
)
def test_the_published_groups(emotion, groups):
    assert of(emotion) == dict(zip(("7", "6", "4", "negative", "valence"), groups, strict=True))


def test_an_emotion_that_is_none_has_no_group():
    with pytest.raises(ValueError, match="'boredom' is none of neutral"):
        GROUPINGS["7"].index("boredom")


@pytest.mark.parametrize("name", GROUPINGS)
def test_scores_are_sums_and_sum_to_one(name):
    answer = decide(np.random.default_rng(1).standard_normal(8), Calibration())
    coarse = GROUPINGS[name].regroup(answer)
    assert sum(coarse.scores) == pytest.approx(1)
    for group, score in zip(GROUPINGS[name].groups, coarse.scores, strict=True):
        parts = [answer.scores[EMOTIONS.index(emotion)] for emotion in group.emotions]
        assert score == pytest.approx(sum(parts))
    assert coarse.confidence == max(coarse.scores)
    assert coarse.emotion == GROUPINGS[name].names[int(np.argmax(coarse.scores))]


def test_many_small_scores_may_outweigh_the_highest():
    answer = Decision("happy", 0.3, (0.0, 0.0, 0.3, 0.2, 0.2, 0.2, 0.1, 0.0))
    coarse = GROUPINGS["valence"].regroup(answer)
    assert (coarse.emotion, coarse.confidence) == ("negative", pytest.approx(0.7))


def test_scores_follow_the_models_order_of_labels():
    backwards = tuple(reversed(EMOTIONS))
    answer = decide(np.arange(8.0), Calibration(), backwards)
    assert answer.emotion == "neutral"
    assert GROUPINGS["7"].regroup(answer, backwards).emotion == "neutral"


@pytest.mark.parametrize("name", GROUPINGS)
@pytest.mark.parametrize("logits", [np.zeros(8), [0, 0, 0, 0.1, 0.1, 0, 0, 0]])
def test_unknown_does_not_hang_on_the_grouping(name, logits):
    """Also where a sum is far above the threshold."""
    answer = decide(logits, Calibration(threshold=0.3))
    coarse = GROUPINGS[name].regroup(answer)
    assert answer.emotion == coarse.emotion == "unknown"
    assert coarse.confidence == max(coarse.scores) > answer.confidence


# ------------------------------------------------------------------------------- a user's own file


@pytest.mark.parametrize("before", [b"", b"\xef\xbb\xbf"])  # with the mark of Windows' editors
def test_a_file_of_ones_own(tmp_path, before):
    path = tmp_path / "mine.txt"
    path.write_bytes(before + OWN.replace("\n", "\r\n").encode())
    assert find_grouping(path).groups == (
        Group("upset", ("sad", "angry", "fearful", "disgust")),
        Group("fine", ("neutral", "calm", "happy")),
        Group("wow", ("surprised",)),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN.replace("calm", "serene"), r"x, line 4: 'serene' is none of neutral, calm"),
        (OWN.replace("wow: surprised", "wow surprised"), r"x, line 5: 'wow surprised' should be"),
        (OWN + " sad", r"x, line 5: 'sad' is in group 'upset' already"),
        (OWN.replace("calm", "calm calm"), r"x, line 4: 'calm' is twice in group 'fine'"),
        (OWN.replace("wow", "fine"), r"x, line 5: there are two groups 'fine'"),
        (OWN.replace("wow", ""), r"x, line 5: a group is called '', it needs a name"),
        (OWN.replace("wow", "unknown"), r"x, line 5: a group is called 'unknown', which means"),
        (OWN.replace("wow", "file"), r"x, line 5: a group is called 'file', which means"),
        (OWN.replace("surprised", ""), r"x, line 5: group 'wow' has no emotion"),
        (OWN.replace("calm happy", "calm"), r"x: in no group: happy$"),
        ("all: " + " ".join(EMOTIONS), r"x: one group alone"),
        ("", r"x: in no group: neutral, calm, happy"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_grouping_is_refused_by_its_line(text, message):
    with pytest.raises(ValueError, match=message):
        parse_grouping(text, "x")


def test_a_grouping_made_in_python_is_checked_too():
    with pytest.raises(ValueError, match="labels mine: in no group: calm, happy"):
        Grouping("mine", (Group("a", ("neutral",)), Group("b", ("sad",))))
    with pytest.raises(ValueError, match="labels mine: 'sad' is in group 'a' already"):
        Grouping("mine", (Group("a", EMOTIONS), Group("b", ("sad",))))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "allowed: 7, 6, 4, negative, valence, or a file of lines such as 'negative: sad"),
        (b"RIFF\xff\x80", "it is no text of lines"),
        (b"a\0b", "it is no text of lines"),
        (b"# " + b"x" * 200_000, "it is no text of lines"),
    ],
)
def test_other_files_are_refused(tmp_path, content, message):
    path = tmp_path / "mine"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        find_grouping(path)
    with pytest.raises(ValueError, match=r"labels .*: Is a directory"):
        find_grouping(tmp_path)


# ---------------------------------------------------------------------------------- the edge app


@pytest.mark.component
@pytest.mark.parametrize("name", [*GROUPINGS, "mine.txt"])
def test_answers_keep_their_shape(small_model, clip, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    Path("mine.txt").write_text(OWN)
    long = speechlike(8.0, 16_000)
    fine = Classifier(small_model).predict(long, 16_000).to_dict()
    classifier = Classifier(small_model, labels=name)
    coarse = classifier.predict(long, 16_000).to_dict()
    assert list(coarse) == list(fine)
    assert len(coarse["windows"]) == len(fine["windows"]) == 3
    grouping = find_grouping(name)
    assert classifier.labels == grouping.names
    assert f"labels={list(grouping.names)}" in repr(classifier)
    for part, before in zip((coarse, *coarse["windows"]), (fine, *fine["windows"]), strict=True):
        assert tuple(part["scores"]) == grouping.names
        assert part["confidence"] == max(part["scores"].values())
        assert part["scores"][part["emotion"]] == part["confidence"]
        for group in grouping.groups:
            wanted = sum(before["scores"][emotion] for emotion in group.emotions)
            assert part["scores"][group.name] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.component
def test_a_grouping_made_in_python_and_silence(small_model):
    mine = parse_grouping(OWN, "mine")
    answer = Classifier(small_model, labels=mine).predict(np.zeros(16_000), 16_000)
    assert answer.emotion == answer.windows[0].emotion == "unknown"
    assert answer.scores == pytest.approx({"upset": 0.5, "fine": 0.375, "wow": 0.125})


@pytest.mark.component
def test_formats_name_the_groups(small_model, clip, capsys):
    words = ["predict", "-m", str(small_model), "--labels", "valence", str(clip)]
    assert main([*words, "--format", "jsonl"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert list(answer["scores"]) == ["negative", "neutral", "positive"]
    assert main([*words, "--format", "csv"]) == 0
    row = next(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert float(row["negative"]) == answer["scores"]["negative"]
    assert "happy" not in row
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines()[1].startswith(answer["emotion"])


@pytest.mark.component
def test_a_model_of_other_labels_cannot_be_grouped(small_model, monkeypatch):
    read = Manifest.from_rt_info.__func__

    def bored(cls, values):
        return read(cls, {**values, "labels": values["labels"].replace("calm", "bored")})

    monkeypatch.setattr(Manifest, "from_rt_info", classmethod(bored))
    with pytest.raises(ValueError, match=r"labels 7 are groups of .*; the model small has bored"):
        Classifier(small_model, labels="7")
