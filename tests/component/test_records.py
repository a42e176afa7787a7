"""metrics.json: every one in the repository is read, what is damaged gets a sentence."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from ser_edge.runs.record import VERSION, Epoch, RunRecord, read_run_record

ROOT = Path(__file__).resolve().parent.parent.parent
TRACKED = subprocess.run(
    ["git", "ls-files", "*metrics.json"], cwd=ROOT, capture_output=True, text=True, check=False
).stdout.split() or ["models/compact/metrics.json"]

RUN = RunRecord(
    fold="1",
    figures={"test": {"uar": 0.5}},
    speakers={"train": ["a"], "validation": ["b"], "test": ["c"]},
    training_clips=3,
    corpora=("ravdess",),
    inherited_speakers=("d",),
    parameters=4,
    seconds=1.5,
    history=(Epoch(0, train_loss=2.0), Epoch(1, train_loss=1.0, validation_uar=0.25, lr=1e-3)),
    provenance={"git_revision": "abc"},
)


@pytest.mark.parametrize("path", TRACKED)
def test_records_in_the_repository_are_read_and_written_again(path, tmp_path):
    record = RunRecord.read(ROOT / path, ("corpora", "speakers", "parameters", "provenance"))
    assert record.all_speakers
    record.write(tmp_path / "metrics.json")
    written = json.loads((tmp_path / "metrics.json").read_text())
    assert written == {"version": VERSION, **json.loads((ROOT / path).read_text())}


def test_a_record_is_read_as_it_was_written(tmp_path):
    RUN.write(tmp_path / "metrics.json")
    assert read_run_record(tmp_path) == RUN
    assert RUN.all_speakers == {"a", "d"}
    values = json.loads((tmp_path / "metrics.json").read_text())
    assert not values.keys() & {"summary", "gate", "layer_weights"}
    encoder = replace(RUN, layer_weights=(0.5, 0.5), gate={"sounds": 0})
    encoder.write(tmp_path / "metrics.json")
    assert read_run_record(tmp_path) == encoder


def test_an_old_record_has_defaults_and_figures_no_longer_measured_are_left_out():
    record = RunRecord.from_dict(
        {"fold": "1", "history": [{"epoch": 0, "train_loss": 1, "train_speaker_loss": 0.5}]}
    )
    assert record.history == (Epoch(0, train_loss=1.0),)
    assert (record.version, record.seconds, record.teachers) == (VERSION, None, ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": None}, "fold is None, it should be str"),
        ({"teachers": "one"}, "teachers is 'one', it should be tuple"),
        ({"more": 1}, "more is unknown; known: version, fold, "),
        ({"version": VERSION + 1}, f"version is {VERSION + 1}, this release reads 1 to {VERSION}"),
        ({"version": "1"}, "version is '1', this release"),
        ({"history": [{"train_loss": 1}]}, "history holds an entry that is no epoch: KeyError"),
        ({"history": [3]}, "history holds an entry that is no epoch"),
    ],
)
def test_a_wrong_field_is_named(tmp_path, change, message):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(RUN.to_dict() | change))
    wanted = re.escape(f"{path}: not as training writes it: {message}")
    with pytest.raises(ValueError, match=wanted):
        read_run_record(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "fold, figures, speakers, training_clips, corpora, parameters, provenance is miss"),
        ("[]", "it should be a JSON object"),
        ("{", "Expecting property name"),
    ],
)
def test_a_damaged_file_is_named(tmp_path, text, message):
    (tmp_path / "metrics.json").write_text(text)
    with pytest.raises(ValueError, match=rf"metrics\.json: not as training writes it: {message}"):
        read_run_record(tmp_path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"metrics\.json: No such file"):
        read_run_record(tmp_path)
