"""Archives: what is said before anything is read or written. Needs neither Ray nor pyarrow."""

from __future__ import annotations

import importlib.util

import pytest

from edge_app.archive.plan import Columns
from edge_app.archive.scoring import ClassifierSpec
from edge_app.archive.storage import absolute


@pytest.mark.parametrize("size", [0, -1, 100_001])
def test_a_size_of_shards_that_makes_no_sense_is_refused(size):
    with pytest.raises(ValueError, match="allowed: 1 to 100000 clips"):
        ClassifierSpec("compact").order(inputs=("/clips",), shard_size=size)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "name the column"),
        ({"path": "p", "sound": "s"}, "name the column"),
        ({"path": "p", "name": "n"}, "needs one of sounds"),
    ],
)
def test_columns_that_make_no_sense_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        Columns(**columns)


def test_threads_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="threads are 0, allowed: 1 or more"):
        ClassifierSpec("compact", threads=0)


def test_the_missing_extra_is_named(here, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    done = here("score_archive.py", "samples", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "pip install 'ser-edge[archive]'" in done.stderr


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("/a/b.wav", "/a/b.wav"),
        ("b/*.wav", "{here}/b/*.wav"),
        ("../b.wav", "{above}/b.wav"),
        ("s3://bucket/b.wav", "s3://bucket/b.wav"),
    ],
)
def test_a_name_means_the_same_everywhere(tmp_path, monkeypatch, name, expected):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert absolute(name) == expected.format(here=tmp_path / "here", above=tmp_path)
