"""Archives: plan, shards, marks of dead workers, going on after a kill; Ray where it is there."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from conftest import ROOT, SAMPLES, speechlike
from edge_app import Classifier
from edge_app.archive import attempts, runner, scoring
from edge_app.archive.plan import ORDER, PLAN, Clip, Columns, Order, Plan, plan
from edge_app.archive.scoring import ClassifierSpec, Scorer, part_name
from edge_app.archive.storage import Folder, absolute, files_at, is_uri, sound_at
from edge_app.inference.devices import DeviceError
from edge_app.results import Prediction
from ser_edge.audio.decode import AudioError
from ser_edge.labels import find_grouping

pa = pytest.importorskip("pyarrow", reason="there is no pyarrow (the extra archive)")
parquet = pytest.importorskip("pyarrow.parquet", reason="there is no pyarrow (the extra archive)")

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="there is no Ray (the extra archive)"
)
SPEC = ClassifierSpec("compact")
STARTS = 8
SHORT = [path for path in SAMPLES if path.name != "man-long.ogg"]


def order(*inputs: object, **other: object) -> Order:
    return SPEC.order(inputs=tuple(absolute(str(name)) for name in inputs), **other)


def planned_clips(folder: Folder) -> list[list[Clip]]:
    made = Plan(folder)
    return [made.clips(shard) for shard in range(len(made.sizes))]


def rows_in(out: Path) -> list[dict]:
    return sorted(parquet.read_table(out).to_pylist(), key=lambda row: row["clip"])


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Six short sounds, and one that is none."""
    folder = tmp_path / "sounds"
    folder.mkdir()
    for path in SHORT:
        shutil.copy(path, folder)
    (folder / "broken.wav").write_text("this is no sound")
    return folder


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards are scored one after the other, here, in place of by Ray."""

    def scored(left, task, cluster, describe):
        scorer = Scorer(*task)
        for shard in left:
            yield scorer.score(shard)

    monkeypatch.setattr(runner, "_scored", scored)


def scored(out: Path, made: Order, **other: object) -> runner.Outcome:
    folder = Folder(str(out))
    return runner.score(folder, plan(folder, made), SPEC, runner.Cluster(), progress=False, **other)


# ------------------------------------------------------------------------------------ the plan


def test_each_sound_is_planned_once_however_often_it_is_named(sounds, out):
    listed = sounds / "more.txt"
    listed.write_text(f"{sounds}/man-even.wav\n\n{sounds}/missing.flac\n")
    folder = Folder(str(out))
    made = plan(folder, order(sounds, f"{sounds}/*.wav", listed=str(listed), shard_size=3))
    clips = [clip for shard in planned_clips(folder) for clip in shard]
    names = [os.fsdecode(clip.path) for clip in clips]
    expected = sorted(str(path) for path in sounds.iterdir() if path.suffix != ".txt")
    assert names == [*expected, f"{sounds}/missing.flac"]
    assert [clip.number for clip in clips] == list(range(len(clips)))
    assert (made.clips, made.shards) == (len(clips), 3)
    assert made.twice == len(list(sounds.glob("*.wav"))) + 1
    assert [len(shard) for shard in planned_clips(folder)] == [3, 3, len(clips) - 6]


def test_a_plan_is_made_once_and_found_again(sounds, out):
    folder = Folder(str(out))
    first = plan(folder, order(sounds))
    content = (out / PLAN).read_bytes()
    shutil.copy(SHORT[0], sounds / "later.wav")
    assert plan(folder, order(sounds)) == first
    assert (out / PLAN).read_bytes() == content


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shard_size": 4}, "(shard_size: 500; now 4)"),
        ({"inputs": ("/elsewhere",)}, "now /elsewhere"),
        ({"columns": Columns(path="path")}, "(columns: none; now Columns(path='path'"),
        ({"model_sha256": "0" * 64}, "model_sha256"),
        ({"labels": "valence 1234"}, "(labels: none; now valence 1234)"),
    ],
)
def test_a_folder_with_another_order_is_refused(sounds, out, change, message):
    from dataclasses import replace

    folder = Folder(str(out))
    plan(folder, order(sounds))
    with pytest.raises(ValueError, match="another order") as error:
        plan(folder, replace(order(sounds), **change))
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("no json", "it is damaged"),
        ('{"version": 99}', "version 99, this program reads 1"),
        ('{"version": 1, "ser_edge": "1", "order": {}}', "it is damaged"),
    ],
)
def test_an_order_that_cannot_be_read_is_refused(sounds, out, text, message):
    folder = Folder(str(out))
    plan(folder, order(sounds))
    (out / ORDER).write_text(text)
    with pytest.raises(ValueError, match=message):
        plan(folder, order(sounds))


def test_a_folder_with_other_files_is_refused(sounds):
    with pytest.raises(ValueError, match="it has other files in it"):
        plan(Folder(str(sounds)), order(sounds))


def test_a_plan_that_was_not_finished_is_made_again(sounds, out):
    folder = Folder(str(out))
    first = plan(folder, order(sounds))
    (out / ORDER).unlink()
    assert plan(folder, order(sounds)) == first


def test_where_there_is_no_clip_nothing_is_written(tmp_path, out):
    with pytest.raises(ValueError, match="there is no clip to score"):
        plan(Folder(str(out)), order(f"{tmp_path}/*.parquet", columns=Columns(path="path")))
    assert not out.exists()


# --------------------------------------------------------------------------------- Parquet files


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        (Columns(path="nothing"), "no column 'nothing'; columns there: path, audio"),
        (Columns(path="audio"), "column 'audio' is struct<bytes: binary, id: int64>, it should be"),
        (Columns(sound="path"), "column 'path' is string, it should be binary"),
        (Columns(sound="audio.nothing"), "no column 'audio.nothing'"),
        (Columns(sound="path.bytes"), "no column 'path.bytes'"),
        (Columns(sound="audio.bytes", name="audio.bytes"), "it should be text or whole numbers"),
    ],
)
def test_a_table_without_such_columns_is_refused(tmp_path, out, columns, message):
    table = tmp_path / "clips.parquet"
    rows = [{"path": "a.wav", "audio": {"bytes": b"", "id": 1}}]
    parquet.write_table(pa.Table.from_pylist(rows), table)
    with pytest.raises(ValueError, match=r"clips\.parquet") as error:
        plan(Folder(str(out)), order(table, columns=columns))
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["missing.parquet", "text.parquet"])
def test_what_is_no_table_is_refused(tmp_path, out, name):
    (tmp_path / "text.parquet").write_text("no table")
    with pytest.raises(ValueError, match=f"{name}: (there is no such|it is not a Parquet) file"):
        plan(Folder(str(out)), order(tmp_path / name, columns=Columns(path="path")))


def test_paths_in_a_table_are_clips(tmp_path, out, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = ["a.wav", "/b.wav", None, "a.wav", "s3://bucket/c.wav", ""]
    parquet.write_table(pa.table({"path": paths}), "clips.parquet")
    folder = Folder(str(out))
    assert plan(folder, order("clips.parquet", columns=Columns(path="path"))).twice == 1
    [clips] = planned_clips(folder)
    table = tmp_path / "clips.parquet"
    assert [os.fsdecode(clip.path) for clip in clips] == [
        f"{tmp_path}/a.wav",
        "/b.wav",
        f"{table}#2 (no path)",
        "s3://bucket/c.wav",
        f"{table}#5 (no path)",
    ]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Sounds as bytes in structs, in row groups of three; the fifth is null, the sixth is none."""
    sounds = [path.read_bytes() for path in SHORT]
    sounds[4:4] = [None, b"this is no sound"]
    rows = [
        {"audio": {"bytes": sound, "id": None if number == 1 else 100 + number}}
        for number, sound in enumerate(sounds)
    ]
    path = tmp_path / "sounds.parquet"
    parquet.write_table(pa.Table.from_pylist(rows), path, row_group_size=3, use_dictionary=False)
    return path


def test_sounds_in_a_table_are_the_sounds_in_files(table, out, in_process):
    made = order(table, columns=Columns(sound="audio.bytes", name="audio.id"), shard_size=2)
    assert scored(out, made) == runner.Outcome(clips=8, failed=2, found=0)
    assert [len(shard) for shard in planned_clips(Folder(str(out)))] == [2, 1, 2, 1, 2]
    rows = rows_in(out)
    names = [str(100 + number) for number in range(8)]
    names[1] = f"{table}#1"
    assert [row["file"] for row in rows] == names
    assert rows[4]["error"] == "104: the row holds no sound"
    assert rows[5]["error"].startswith("105: it is not sound")
    classifier = Classifier(hint="throughput")
    for path, row in zip(SHORT, [row for row in rows if row["error"] is None], strict=True):
        assert row["scores"] == classifier.predict(path).to_dict()["scores"]


def test_a_table_that_is_damaged_gives_rows_with_an_error(table, out, in_process):
    folder = Folder(str(out))
    plan(folder, order(table, columns=Columns(sound="audio.bytes")))
    content = bytearray(table.read_bytes())
    second = parquet.ParquetFile(table).metadata.row_group(1).column(0)
    content[second.data_page_offset : second.data_page_offset + 2000] = bytes(2000)
    table.write_bytes(content)
    outcome = scored(out, order(table, columns=Columns(sound="audio.bytes")))
    assert outcome == runner.Outcome(clips=8, failed=3, found=0)
    rows = rows_in(out)
    assert [row["error"] is None for row in rows] == [True] * 3 + [False] * 3 + [True] * 2
    assert all("row group 1 of the Parquet file" in row["error"] for row in rows[3:6])


# ------------------------------------------------------------------------------------ the scores


def test_rows_are_what_predict_says(sounds, out, in_process):
    missing = sounds / "missing.wav"
    assert scored(out, order(sounds, missing, shard_size=3)).failed == 2
    classifier = Classifier(hint="throughput")
    rows = rows_in(out)
    assert Counter(row["file"] for row in rows) == Counter(
        [*map(str, sounds.iterdir()), str(missing)]
    )
    for row in rows:
        try:
            said = {**classifier.predict(row["file"]).to_dict(), "error": None}
        except AudioError as error:
            said = {"file": row["file"], "error": str(error), "scores": None, "emotion": None}
        assert {key: row[key] for key in said} == said


def test_coarser_labels_are_columns_of_the_scores(out):
    spec = ClassifierSpec("compact", labels=find_grouping("valence"))
    folder = Folder(str(out))
    made = plan(folder, spec.order(inputs=(str(SHORT[0]),)))
    assert made.order.labels.startswith("valence ")
    Scorer(folder.where, made, spec).score(0)
    [row] = rows_in(out)
    assert list(row["scores"]) == ["negative", "neutral", "positive"]


def test_a_name_that_is_no_utf8_has_its_row(tmp_path, out, in_process):
    folder = os.fsencode(tmp_path / "odd")
    (tmp_path / "odd").mkdir()
    for name in (b"caf\xe9.wav", b"caf\xe8.wav"):
        shutil.copy(os.fsencode(SHORT[0]), folder + b"/" + name)
    assert scored(out, order(tmp_path / "odd")).failed == 0
    assert {Path(row["file"]).name for row in rows_in(out)} == {r"caf\xe8.wav", r"caf\xe9.wav"}


def test_whoever_makes_a_shard_makes_the_same_bytes(sounds, out):
    folder = Folder(str(out))
    made = plan(folder, order(sounds))
    contents = []
    for _ in range(2):
        Scorer(folder.where, made, SPEC).score(0)
        contents.append((out / part_name(0)).read_bytes())
        (out / part_name(0)).unlink()
    assert contents[0] == contents[1]


def test_a_shard_that_is_there_is_not_scored_again(sounds, out, monkeypatch):
    folder = Folder(str(out))
    scorer = Scorer(folder.where, plan(folder, order(sounds)), SPEC)
    tally = scorer.score(0)
    monkeypatch.setattr(Classifier, "predict", lambda *_: pytest.fail("it was heard again"))
    assert scorer.score(0) == tally == scoring.Tally(0, len(list(sounds.iterdir())), 1)


@pytest.mark.component
def test_a_worker_with_another_model_stops(sounds, out, small_model):
    folder = Folder(str(out))
    made = plan(folder, order(sounds))
    with pytest.raises(ValueError, match="differs from the order's"):
        Scorer(folder.where, made, ClassifierSpec(str(small_model)))


# ------------------------------------------------------------------------- devices that fall over


def failing(monkeypatch: pytest.MonkeyPatch, fails: object) -> list[str]:
    """Let a device fail where ``fails(name, how often it was asked)``; gives what was asked."""
    asked: list[str] = []
    real = Classifier.predict

    def predict(self: Classifier, sound: object, rate: int | None = None) -> Prediction:
        name = Path(str(sound)).name
        asked.append(name)
        if fails(name, asked.count(name)):
            raise DeviceError("the device CPU failed")
        return real(self, sound, rate)

    monkeypatch.setattr(Classifier, "predict", predict)
    return asked


def test_a_device_that_fails_once_is_asked_again(sounds, out, in_process, monkeypatch):
    asked = failing(monkeypatch, lambda name, times: name.startswith("man") and times == 1)
    assert scored(out, order(sounds)).failed == 1  # the one that is no sound
    assert asked.count("man-even.wav") == 2


def test_a_clip_on_which_a_device_fails_gets_an_error(sounds, out, in_process, monkeypatch):
    failing(monkeypatch, lambda name, times: name == "man-even.wav")
    assert scored(out, order(sounds)).failed == 2
    errors = {row["error"] for row in rows_in(out)}
    assert f"{sounds}/man-even.wav: the device CPU failed" in errors


def test_a_device_that_keeps_failing_ends_the_run(sounds, out, in_process, monkeypatch):
    asked = failing(monkeypatch, lambda name, times: True)
    with pytest.raises(DeviceError, match="the device CPU failed"):
        scored(out, order(sounds))
    assert len(asked) == 2 * scoring.DEVICE_PATIENCE
    assert not list(out.glob("part-*"))


# ------------------------------------------------------------------------------ going on, in one


def test_what_was_broken_off_goes_on(sounds, out, monkeypatch):
    made = order(sounds, shard_size=2)
    heard: list[str] = []
    real = Scorer.score

    def some(left, task, cluster, describe):
        scorer = Scorer(*task)
        for shard in left[: 2 if not heard else None]:
            heard.append(shard)
            yield real(scorer, shard)
        if len(heard) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner, "_scored", some)
    with pytest.raises(KeyboardInterrupt):
        scored(out, made)
    (out / ".part-000002.parquet.1234.unfinished").write_bytes(b"half of it")
    assert scored(out, made) == runner.Outcome(clips=7, failed=1, found=4)
    assert heard == [0, 1, 2, 3]
    assert [row["clip"] for row in rows_in(out)] == list(range(7))
    assert sorted(path.name for path in out.iterdir()) == [
        ORDER, PLAN, attempts.MARKS, *(part_name(shard) for shard in range(4)),
    ]  # fmt: skip
    assert scored(out, made) == runner.Outcome(clips=7, failed=1, found=7)
    assert heard == [0, 1, 2, 3]


@pytest.mark.parametrize("damage", ["cut", "empty", "other plan", "not Parquet"])
def test_a_part_that_is_not_whole_is_made_again(sounds, out, in_process, damage):
    made = order(sounds, shard_size=4)
    scored(out, made)
    part = out / part_name(1)
    before = part.read_bytes()
    if damage == "other plan":
        table = parquet.read_table(part)
        parquet.write_table(
            table.replace_schema_metadata(
                {"ser_edge": json.dumps({"plan": "0", "shard": 1, "failed": 0})}
            ),
            part,
        )
    else:
        part.write_bytes({"cut": before[:-100], "empty": b"", "not Parquet": b"x" * 999}[damage])
    assert scored(out, made).found == 4
    assert part.read_bytes() == before


def test_errors_are_tried_again_when_asked(sounds, out, in_process):
    made = order(sounds, shard_size=4)
    assert scored(out, made).failed == 1
    shutil.copy(SHORT[0], sounds / "broken.wav")
    assert scored(out, made).failed == 1
    assert scored(out, made, again=True) == runner.Outcome(clips=7, failed=0, found=3)
    assert [row["clip"] for row in rows_in(out)] == list(range(7))


def test_two_runs_do_not_write_into_one_folder(out):
    folder = Folder(str(out))
    other = runner.only_one(folder)
    with runner.only_one(folder), pytest.raises(ValueError, match="another run is writing there"):
        other.__enter__()
    with runner.only_one(folder):
        pass


# -------------------------------------------------------------------------------- clips that kill

KILLER = """
import os, sys
from edge_app import Classifier
from edge_app.archive.plan import read_order
from edge_app.archive.scoring import ClassifierSpec, Scorer
from edge_app.archive.storage import Folder

real = Classifier.predict

def predict(self, sound, rate=None):
    if os.path.basename(sound) in sys.argv[2:]:
        os._exit(9)
    return real(self, sound, rate)

Classifier.predict = predict
folder = Folder(sys.argv[1])
Scorer(folder.where, read_order(folder), ClassifierSpec("compact")).score(0)
"""


@pytest.mark.component
def test_a_clip_that_kills_its_worker_is_told_from_the_others(sounds, out):
    folder = Folder(str(out))
    plan(folder, order(sounds))
    killers = ["man-even.wav", "woman-soft-slow.flac"]
    statuses = []
    while 0 not in statuses and len(statuses) < 10:
        done = subprocess.run([sys.executable, "-c", KILLER, out, *killers], check=False)
        statuses.append(done.returncode)
    assert statuses == [9] * (attempts.PATIENCE * (1 + len(killers))) + [0]
    rows = rows_in(out)
    died = [row["file"] for row in rows if (row["error"] or "").endswith("died, several times")]
    assert died == [str(sounds / name) for name in killers]
    assert sum(row["error"] is None for row in rows) == len(SHORT) - len(killers)
    assert list((out / attempts.MARKS).iterdir()) == []


def test_no_clip_is_marked_as_long_as_nobody_dies(tmp_path):
    folder = Folder(str(tmp_path))
    tried = attempts.Attempts(folder, 7)
    with tried.at(3):
        assert len(folder.names(attempts.MARKS)) == 1
    tried.done()
    assert folder.names(attempts.MARKS) == []


def test_an_error_is_no_death(tmp_path):
    folder = Folder(str(tmp_path))
    for _ in range(attempts.PATIENCE):
        attempts.Attempts(folder, 7)
    for _ in range(2 * attempts.PATIENCE):
        tried = attempts.Attempts(folder, 7)
        with pytest.raises(DeviceError), tried.at(3):
            raise DeviceError("the device failed")
    assert attempts.Attempts(folder, 7).fatal == frozenset()
    assert attempts.Attempts(folder, 70).fatal == frozenset()


# ------------------------------------------------------------------------------------ the storage


@pytest.mark.parametrize("uri", [False, True])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, uri):
    folder = Folder(f"file://{tmp_path}/a" if uri else str(tmp_path / "a"))
    folder.write("b/c", b"one")
    folder.write("b/c", b"two")
    assert folder.read("b/c") == b"two"
    assert (folder.names(), folder.names("b"), folder.names("d")) == ([], ["c"], [])
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["c"]
    (tmp_path / "a" / "d").mkdir()
    with pytest.raises(OSError, match="d"):
        folder.write("d", b"a folder is in the way")
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["b", "d"]
    folder.delete("b/c")
    folder.delete("b/c")
    assert folder.names("b") == []


@pytest.mark.parametrize("where", ["http://host/x", "nothing://x", "://"])
def test_a_uri_that_is_unknown_is_refused(where):
    assert is_uri(where)
    with pytest.raises(ValueError, match="pyarrow does not open it, allowed: a path, s3://"):
        Folder(where)


def test_sounds_at_a_uri_are_those_on_disk(sounds, out, in_process):
    (sounds / ".hidden.wav").write_bytes(b"")
    (sounds / "with space.wav").write_bytes(SHORT[0].read_bytes())
    uri = f"file://{sounds}/"
    found = list(files_at(uri, {".wav"}))
    assert [Path(name).name for name in found] == [
        "broken.wav", "man-even.wav", "man-low-slow.wav", "with%20space.wav",
    ]  # fmt: skip
    assert sound_at(found[-1]).read() == SHORT[0].read_bytes()
    assert scored(out, order(uri)) == runner.Outcome(clips=8, failed=1, found=0)
    classifier = Classifier(hint="throughput")
    for row in rows_in(out):
        if row["error"] is None:
            path = row["file"].removeprefix("file://").replace("%20", " ")
            assert row["scores"] == classifier.predict(path).to_dict()["scores"]
    with pytest.raises(AudioError, match="there is no such file"):
        sound_at(f"file://{sounds}/missing.wav")


def test_globs_in_a_uri_are_refused(sounds, out):
    with pytest.raises(ValueError, match="a URI may not be a glob"):
        plan(Folder(str(out)), order(f"file://{sounds}/*.wav"))


# ------------------------------------------------------------------------------------- the script


def test_a_table_that_is_not_there_is_wrong_usage(here, monkeypatch, out):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    done = here("score_archive.py", "x.parquet", "--path-column", "p", "--out", out)
    assert (done.returncode, done.stdout) == (2, "")
    assert "x.parquet: there is no such file" in done.stderr.splitlines()[-1]
    assert not (out / PLAN).exists()


def test_a_result_that_is_there_needs_no_ray(here, monkeypatch, sounds, out, in_process):
    scored(out, order(sounds))
    monkeypatch.setattr(runner, "_scored", lambda *_: pytest.fail("Ray was asked"))
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    done = here("score_archive.py", sounds, "--out", out, "--quiet")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("7 clips, 1 of them with an error, 7 were there already, 0 ")


# ---------------------------------------------------------------------------------------- with Ray


def run(program: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Run a program, again where Ray did not start.

    It gives itself half a minute (``ray/_private/node.py``), too little where others work too.
    """
    for _ in range(STARTS):
        done = subprocess.run(
            [sys.executable, ROOT / program, *map(str, words)],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
        if "timed out during startup" not in done.stderr:
            break
    return done


@pytest.mark.system
@needs_ray
def test_ray_scores_on_this_machine(table, out):
    words = [table, "--bytes-column", "audio.bytes", "--out", out, "--actors", "1", "--quiet"]
    done = run("scripts/score_archive.py", *words, "--labels", "valence", "--shard-size", "2")
    assert done.returncode == 1, done.stderr
    assert done.stdout.startswith("8 clips, 2 of them with an error, 0 were there already, 0 ")
    rows = rows_in(out)
    assert [row["clip"] for row in rows] == list(range(8))
    classifier = Classifier(labels="valence", hint="throughput")
    assert rows[0]["scores"] == classifier.predict(SHORT[0]).to_dict()["scores"]


@pytest.mark.system
@needs_ray
def test_a_device_that_is_not_there_is_said(sounds, out):
    done = run("scripts/score_archive.py", sounds, "--out", out, "--actors", "1", "-d", "NOSUCH")
    assert done.returncode == runner.EXIT_EARLY
    assert "NOSUCH" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr.splitlines()[-1]


@pytest.mark.system
@needs_ray
def test_each_clip_is_there_once_though_worker_node_and_driver_are_killed(tmp_path):
    import soundfile

    clips = tmp_path / "clips"
    clips.mkdir()
    for number in range(58):
        soundfile.write(clips / f"{number:02d}.wav", speechlike(2.0, 16_000, number), 16_000)
    done = run("benchmarks/archive.py", clips, "--shard-size", "3", "--out", tmp_path / "scores")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 rows; 60 of 60 clips are there once" in done.stdout
    assert "driver killed" in done.stdout
