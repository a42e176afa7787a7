"""What follows a training: TensorBoard as it comes, MLflow and W&B for real, both offline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger

from conftest import ROOT, SMALL
from ser_edge.config.hardware import Hardware
from ser_edge.config.recipe import Recipe
from ser_edge.config.tracking import Tracking, TrackingError
from ser_edge.corpora import CORPORA
from ser_edge.data.render import render
from ser_edge.evaluation import crossval
from ser_edge.training import fit as training
from ser_edge.training import trackers
from ser_edge.training.confusion_image import confusion_picture

RECIPE = Recipe(
    name="tiny", width=0.25, epochs=2, batch_size=8, dropout=0.0, freq_mask=2, time_mask=10,
    precision="32-true", image=SMALL,
)  # fmt: skip

CURVES = {"train/loss", "validation/uar", "validation/nll", "time/epoch_seconds"}
FILES = {"config.yaml", "metrics.json", "predictions.csv", "weights.safetensors"}


@pytest.fixture
def images(make_ravdess, tmp_path) -> Path:
    corpus = make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 5))
    scan = CORPORA["ravdess"].scan(corpus)
    render(scan.utterances, tmp_path / "images", SMALL, workers=1, progress=False)
    return tmp_path / "images"


@pytest.fixture
def config(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE.to_yaml())
    return path


def installed(name: str) -> None:
    if find_spec(name) is None:
        pytest.skip(f"{name} is not installed: pip install 'ser-edge[{name}]'")


def train(images: Path, out: Path, tracking: Tracking | None = None) -> None:
    training.train(
        training.Sources(images), out, RECIPE, "1", hardware=Hardware("cpu"), tracking=tracking,
        progress=False,
    )  # fmt: skip


def by_script(
    where: Path, images: Path, out: Path, *words: object, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(images, out, *words), capture_output=True, text=True, check=False, cwd=where,
        env=environment(env),
    )  # fmt: skip


def command(images: Path, out: Path, *words: object) -> list[str]:
    script = [sys.executable, ROOT / "scripts" / "train.py", images, out, "--fold", 1, *words]
    return [*map(str, script), "--accelerator", "cpu", "--quiet"]


def environment(more: dict[str, str] | None) -> dict[str, str]:
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("MLFLOW_", "WANDB_"))}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**kept, "PYTHONPATH": path, **(more or {})}


def killed(words: list[str], where: Path, out: Path, env: dict[str, str] | None) -> None:
    """A training that SIGKILL ends after its first epoch."""
    run = subprocess.Popen(words, cwd=where, env=environment(env), stderr=subprocess.DEVNULL)
    last = out / "checkpoints" / "last.ckpt"
    while run.poll() is None and not last.exists():
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (out / "metrics.json").exists()


def wandb_records(folder: Path) -> list[Any]:
    """What W&B would send of an offline run: records of protobuf in a log as LevelDB's.

    Seven bytes, then blocks of 32 KiB: checksum, length, kind (whole, first, middle, last).
    """
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("*.wandb")
    data, at, part, found = path.read_bytes(), 7, b"", []
    assert data[:4] == b":W&B"
    while at + 7 <= len(data):
        if 2**15 - at % 2**15 < 7:  # too little room for another: the rest of the block is padding
            at += 2**15 - at % 2**15
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            found.append(record)
            part = b""
    return found


def keys(items: Any) -> set[str]:
    return {item.key or "/".join(item.nested_key) for item in items}


# ----------------------------------------------------------------------------------- TensorBoard


def test_tensorboard_is_the_default_and_has_all(images, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    train(images, tmp_path / "run")
    assert not (tmp_path / "run" / "tracking.json").exists()
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))
    told = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    told.Reload()
    tags = told.Tags()
    assert {*CURVES, "time/run_seconds", "lr-AdamW/pg1"} <= set(tags["scalars"])
    assert len(told.Scalars("train/loss")) == RECIPE.epochs
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    (uar,) = told.Scalars("result/test_uar")
    assert uar.value == pytest.approx(metrics["figures"]["test"]["uar"])
    assert set(tags["images"]) == {"confusion-validation", "confusion-test"}
    assert not any(tag.startswith("gpu/") for tag in tags["scalars"])


def test_nothing_at_all(images, config, tmp_path, here):
    done = here(
        "train.py", images, tmp_path / "run", "--fold", 1, "--config", config, "--accelerator",
        "cpu", "--quiet", "--track",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {p.name for p in (tmp_path / "run").iterdir()} == {*FILES, "checkpoints"}


def test_what_follows_changes_no_weight(images, tmp_path):
    train(images, tmp_path / "with")
    train(images, tmp_path / "without", Tracking(track=()))
    with_, without = (tmp_path / n / "weights.safetensors" for n in ("with", "without"))
    assert with_.read_bytes() == without.read_bytes()


# ---------------------------------------------------------------------------------------- MLflow


@pytest.mark.system
def test_mlflow_goes_on_with_a_run_that_was_killed(images, tmp_path):
    """The real script and a store in a file; all that MLflow shows is there, once."""
    installed("mlflow")
    config, out = tmp_path / "tiny.yaml", tmp_path / "run"
    config.write_text(replace(RECIPE, epochs=12).to_yaml())
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    tracking = tmp_path / "tracking.yaml"
    tracking.write_text(f"track: [mlflow]\nproject: voices\nmlflow_uri: {uri}\n")
    words = ["--config", config, "--tracking", tracking, "--resume"]
    killed(command(images, out, *words), tmp_path, out, None)
    known = json.loads((out / "tracking.json").read_text())["mlflow"]
    done = by_script(tmp_path, images, out, *words)
    assert done.returncode == 0, done.stderr
    assert not (out / "tensorboard").exists()

    look = f"""
import json
from mlflow.tracking import MlflowClient
client = MlflowClient({uri!r})
(experiment,) = (e for e in client.search_experiments() if e.name == "voices")
(run,) = client.search_runs([experiment.experiment_id])
print(json.dumps({{
    "id": run.info.run_id, "status": run.info.status, "name": run.info.run_name,
    "params": run.data.params, "metrics": run.data.metrics,
    "files": [file.path for file in client.list_artifacts(run.info.run_id)],
    "steps": [m.step for m in client.get_metric_history(run.info.run_id, "train/loss")],
}}))
"""
    asked = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=environment(None),
    )  # fmt: skip
    assert asked.returncode == 0, asked.stderr
    run = json.loads(asked.stdout)
    assert (run["id"], run["status"], run["name"]) == (known, "FINISHED", "tiny-fold-1-seed-1")
    assert (run["params"]["epochs"], run["params"]["image.n_mels"]) == ("12", "16")
    assert {*CURVES, "lr-AdamW/pg1", "result/test_uar", "result/seconds"} <= set(run["metrics"])
    assert sorted(set(run["steps"])) == list(range(12))  # a step an epoch, none is missing
    assert set(run["files"]) >= {*FILES, "confusion-test.png", "confusion-validation.png"}


@pytest.mark.system
@pytest.mark.parametrize("broken", ["server", "run"])
def test_an_mlflow_that_is_not_there_is_one_sentence(broken, images, config, tmp_path):
    installed("mlflow")
    env = {"MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    if broken == "server":
        env["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"
        env["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    else:
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / "tracking.json").write_text('{"mlflow": "0123"}')
    done = by_script(
        tmp_path, images, tmp_path / "run", "--config", config, "--track", "mlflow", env=env
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ser-edge train: error: MLflow: ")
    assert ("127.0.0.1" if broken == "server" else "0123") in last
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------------------------------- W&B


@pytest.mark.system
def test_wandb_offline_goes_on_with_a_run_that_was_killed(images, tmp_path):
    """The real script; what lies in the folder, as `wandb sync` would send it, is one run."""
    installed("wandb")
    config, out = tmp_path / "tiny.yaml", tmp_path / "run"
    config.write_text(replace(RECIPE, epochs=12).to_yaml())
    words = ["--config", config, "--track", "wandb", "--resume"]
    env = {"WANDB_MODE": "offline"}
    killed(command(images, out, *words), tmp_path, out, env)
    known = json.loads((out / "tracking.json").read_text())["wandb"]
    done = by_script(tmp_path, images, out, *words, env=env)
    assert done.returncode == 0, done.stderr

    attempts = sorted((out / "wandb").glob("offline-run-*"))
    assert len(attempts) == 2
    assert all(folder.name.endswith(known) for folder in attempts)
    records = wandb_records(attempts[1])
    (run,) = (r.run for r in records if r.HasField("run"))
    assert (run.run_id, run.display_name, run.project) == (known, "tiny-fold-1-seed-1", "ser-edge")
    settings = {item.key for r in records if r.HasField("config") for item in r.config.update}
    assert {"epochs", "image.n_mels", "fold"} <= settings
    history = [r.history.item for r in records if r.HasField("history")]
    curves = {key for items in history for key in keys(items)}
    assert {*CURVES, "lr-AdamW/pg1", "confusion-test/sha256"} <= curves
    told = [{"/".join(i.nested_key): i.value_json for i in items} for items in history]
    steps = {int(point["trainer/global_step"]) for point in told if "train/loss" in point}
    assert steps == set(range(12))  # also those that the kill took away
    summary = {key for r in records if r.HasField("summary") for key in keys(r.summary.update)}
    assert {"result/test_uar", "result/seconds"} <= summary
    (artifact,) = (
        r.request.log_artifact.artifact if r.HasField("request") else r.artifact
        for r in records
        if r.HasField("artifact") or (r.HasField("request") and r.request.HasField("log_artifact"))
    )
    assert {entry.path for entry in artifact.manifest.contents} == FILES
    assert any(r.HasField("exit") and r.exit.exit_code == 0 for r in records)


@pytest.mark.system
def test_wandb_without_a_key_is_one_sentence(images, config, tmp_path):
    installed("wandb")
    env = {"WANDB_MODE": "online", "WANDB_BASE_URL": "http://127.0.0.1:9", "HOME": str(tmp_path)}
    done = by_script(
        tmp_path, images, tmp_path / "run", "--config", config, "--track", "wandb", env=env
    )
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ser-edge train: error: W&B: ")
    assert "WANDB_MODE=offline" in last
    assert "Traceback" not in done.stderr


# -------------------------------------------------------------------------------- all of them


class FakeTracker:
    """Notes what it is told; ``broken`` cannot be reached when the run is over."""

    calls: list[tuple[str, Any]]
    broken = False

    def __init__(self, run: trackers.Followed) -> None:
        type(self).calls = []
        self.logger = TensorBoardLogger(str(run.out), name="", version="fake")

    def begin(self, known: str | None) -> str | None:
        self.calls.append(("begin", known))
        return "mine"

    def finish(self, figures: Any, pictures: Any, files: Any) -> None:
        self.calls.append(("finish", [path.name for path in files]))
        if self.broken:
            raise TrackingError("fake: the line is dead")

    def fail(self) -> None:
        self.calls.append(("fail", None))


@pytest.fixture
def fake(monkeypatch) -> Callable[..., type[FakeTracker]]:
    def install(**values: Any) -> type[FakeTracker]:
        kind = type("Fake", (FakeTracker,), values)
        monkeypatch.setattr(trackers, "TRACKERS", {"mlflow": kind})
        return kind

    return install


def test_a_tracker_is_told_the_beginning_the_name_and_the_end(images, tmp_path, fake):
    kind = fake()
    train(images, tmp_path / "run", Tracking(track=("mlflow",)))
    assert kind.calls[0] == ("begin", None)
    assert kind.calls[-1][0] == "finish"
    assert set(kind.calls[-1][1]) == FILES
    assert json.loads((tmp_path / "run" / "tracking.json").read_text()) == {"mlflow": "mine"}
    (tmp_path / "run" / "metrics.json").unlink()  # as if it had been killed just before
    training.train(
        training.Sources(images), tmp_path / "run", RECIPE, "1", hardware=Hardware("cpu"),
        tracking=Tracking(track=("mlflow",)), resume=True, progress=False,
    )  # fmt: skip
    assert kind.calls[0] == ("begin", "mine")


def test_a_training_that_breaks_off_is_told(images, tmp_path, fake, monkeypatch):
    kind = fake()

    def spoilt(*_: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("ser_edge.training.image_module.Learner.on_train_epoch_end", spoilt)
    with pytest.raises(RuntimeError, match="out of memory"):
        train(images, tmp_path / "run", Tracking(track=("mlflow",)))
    assert kind.calls == [("begin", None), ("fail", None)]


def test_a_tracker_that_is_gone_at_the_end_costs_no_result(images, config, tmp_path, here, fake):
    fake(broken=True)
    done = here(
        "train.py", images, tmp_path / "run", "--fold", 1, "--config", config, "--accelerator",
        "cpu", "--quiet", "--track", "mlflow",
    )  # fmt: skip
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        "ser-edge train: error: fake: the line is dead",
    )
    assert {p.name for p in (tmp_path / "run").iterdir()} >= FILES


def test_an_evaluation_goes_on_without_its_tracker(images, tmp_path, fake):
    fake(broken=True)
    found = crossval.evaluate(
        images, tmp_path / "runs", RECIPE, folds=["1"], hardware=Hardware("cpu"),
        tracking=Tracking(track=("mlflow",)), progress=False,
    )  # fmt: skip
    assert found is not None
    assert [run.fold for run in found.folds] == ["1"]
    assert [problem.cause for problem in found.problems] == ["fake: the line is dead"]


def test_memory_is_the_gpus_alone(monkeypatch):
    """No GPU here: a stand-in for torch's counters."""
    assert trackers.gpu_memory(torch.device("cpu")) == {}
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 3 * 2**20)
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 4 * 2**20)
    assert trackers.gpu_memory(torch.device("cuda", 0)) == {
        "gpu/allocated_mib": 3.0,
        "gpu/reserved_mib": 4.0,
    }


def test_a_confusion_matrix_is_darkest_where_it_is_most():
    matrix = [[0] * 8 for _ in range(8)]
    matrix[2][5], matrix[2][2] = 9, 1
    picture = confusion_picture(matrix, "test")
    assert picture.mode == "RGB"
    light = picture.convert("L")
    darkest = min(
        ((column, row) for column in range(8) for row in range(8)),
        key=lambda at: light.getpixel((100 + at[0] * 84, 78 + at[1] * 44)),
    )
    assert darkest == (5, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("track: mlflow", "track is 'mlflow', it should be a list of names"),
        ("track: [comet]", "track has 'comet', allowed: tensorboard, mlflow, wandb"),
        ("track: [mlflow, mlflow]", "it should name nothing twice"),
        ("project: ''", "project is empty"),
        ("project: 7", "project is 7, it should be text"),
        ("wandb_mode: never", "wandb_mode is 'never', allowed: online, offline"),
        ("server: x", "unknown server; known: track, project, mlflow_uri, wandb_mode"),
        ("- a", "it should be a mapping of track"),
        ("a: [", "while parsing"),
    ],
)
def test_tracking_files_that_do_not_fit_name_the_file(text, message, tmp_path):
    path = tmp_path / "tracking.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"tracking\.yaml: ") as caught:
        Tracking.read(path)
    assert message in str(caught.value)


def test_the_shipped_file_holds_the_defaults():
    assert Tracking.read(ROOT / "configs" / "tracking.yaml") == Tracking()


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
def test_a_library_that_is_missing_names_the_extra(name, images, tmp_path, monkeypatch):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda asked: None)
    with pytest.raises(
        ValueError, match=rf"{name} is not installed: pip install 'ser-edge\[{name}"
    ):
        train(images, tmp_path / "run", Tracking(track=(name,)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("text", ["[]", "{", '{"mlflow": 3}'])
def test_damaged_names_of_runs(text, images, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "tracking.json").write_text(text)
    with pytest.raises(ValueError, match=r"tracking\.json: "):
        train(images, tmp_path / "run")
