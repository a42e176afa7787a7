"""``scripts/experiments.py``: a file of experiments, their runs on Ray, their table."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import ROOT, SMALL, Done
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.data.render import render
from ser_edge.emotions import EMOTIONS
from ser_edge.experiments import images as experiment_images
from ser_edge.experiments.images import make_images
from ser_edge.experiments.plan import (
    PlannedRun,
    read_experiments,
    runs_of,
    select,
    write_configs,
)
from ser_edge.experiments.runner import Resources, Training, command
from ser_edge.experiments.table import BEGIN, END
from ser_edge.metrics.classification import ClipPrediction, predictions_csv

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="Ray is not installed (extra experiments)"
)

RECIPE = Recipe(
    name="tiny", width=0.25, epochs=1, batch_size=8, dropout=0.0, freq_mask=2, time_mask=10,
    precision="32-true", image=SMALL,
)  # fmt: skip

# Leaves what scripts/train.py leaves, in no time, and notes its arguments. Experiments called "bad"
# fail, and while there is a file "hold" nothing ends but what has ended.
FAKE = """
import json, os, sys, time
from pathlib import Path

here, words = Path(__file__).parent, sys.argv[1:]
out, fold, seed = Path(words[1]), words[words.index("--fold") + 1], words[words.index("--seed") + 1]
with open(here / "calls", "a") as calls:
    print(json.dumps([*words, os.environ.get("OMP_NUM_THREADS")]), file=calls)
out.mkdir(parents=True, exist_ok=True)
config = Path(words[words.index("--config") + 1]).read_text()
(out / "config.yaml").write_text(config.replace("seed: 1", f"seed: {seed}"))
(out / "checkpoints").mkdir(exist_ok=True)
if "bad" in str(out):
    print("Epoch 0\\ntrain.py: error: out of memory\\n")
    sys.exit(2)
while (here / "hold").exists():
    time.sleep(0.02)
uar = 0.5 + 0.1 * (fold == "4") + 0.02 * (seed == "2")
figures = {"validation": {"uar": uar, "nll": 1.5}, "test": {"uar": uar + 0.1, "nll": 1.4}}
figures["test"]["accuracy"] = 0.75
metrics = {
    "fold": fold, "figures": {} if fold == "all" else figures, "speakers": {},
    "training_clips": 1, "corpora": ["ravdess"], "parameters": 620_000, "seconds": 900.0,
    "provenance": {},
}
(out / "predictions.csv").write_text((here / "predictions.csv").read_text())
(out / "metrics.json").write_text(json.dumps(metrics))
"""

# The verb, whose trainings are the fake ones beside it.
SCRIPT = """
import sys
from pathlib import Path
from ser_edge.cli import experiments, main

experiments.TRAIN = (str(Path(__file__).with_name("train.py")),)
sys.exit(main.main(["experiments", *sys.argv[1:]]))
"""


@dataclass
class Bench:
    """A file of experiments whose trainings are fakes."""

    folder: Path
    here: Callable[..., Done]

    @property
    def out(self) -> Path:
        return self.folder / "runs"

    @property
    def words(self) -> list[str]:
        script, config = self.folder / "scripts" / "experiments.py", self.folder / "list.yaml"
        return [str(word) for word in (
            script, config, self.folder / "data", self.out, "--folds", 1, 4,
            "--images", self.folder / "images",
        )]  # fmt: skip

    def write(self, *entries: dict[str, Any]) -> None:
        base = {"stage": "a", "what": "Something.", "base": str(self.folder / "tiny.yaml")}
        self.append(*({**base, **entry} for entry in entries), mode="w")

    def append(self, *entries: dict[str, Any], mode: str = "a") -> None:
        with open(self.folder / "list.yaml", mode) as file:
            yaml.safe_dump(list(entries), file)

    def runs(self, *only: str, folds: Sequence[str] = ("1", "4")) -> tuple[PlannedRun, ...]:
        listed = read_experiments(self.folder / "list.yaml", folds)
        return runs_of(select(listed, only or [entry.name for entry in listed]), self.out)

    def commands(self, *only: str, folds: Sequence[str] = ("1", "4")) -> dict[str, list[str]]:
        """Run -> arguments of its training, without the interpreter and the script."""
        runs = self.runs(*only, folds=folds)
        script = str(self.folder / "scripts" / "train.py")
        training = Training(self.folder / "data", self.folder / "images", [script], ["--last"])
        folders, _ = make_images(runs, training.data, training.images, progress=False)
        found = {str(run): command(run, folders, training) for run in runs}
        assert all((words[0], words[-1]) == (script, "--last") for words in found.values())
        return {run: words[1:-1] for run, words in found.items()}

    def finish(self, *only: str, folds: Sequence[str] = ("1", "4")) -> None:
        """Finish runs as Ray would."""
        write_configs(self.runs(*only, folds=folds))
        for words in self.commands(*only, folds=folds).values():
            subprocess.run([sys.executable, self.folder / "scripts" / "train.py", *words])

    def run(self, *words: object) -> Done:
        """The command in this process, where Ray may not start: all must be finished."""
        return self.here(*self.words, "--quiet", *words)

    def start(self, *words: object) -> subprocess.Popen[str]:
        """The command with Ray, in a process of its own."""
        return subprocess.Popen(
            [sys.executable, *self.words, *map(str, words)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    def run_on_ray(self, *words: object) -> Done:
        """Again where Ray did not start: it gives itself half a minute, too little under load."""
        for _ in range(3):
            process = self.start(*words)
            out, err = process.communicate()
            if "timed out during startup" not in err:
                break
        return Done(process.returncode, out, err)

    @property
    def hold(self) -> Path:
        return self.folder / "scripts" / "hold"

    def calls(self) -> list[list[str]]:
        """Calls of the training since the last look."""
        path = self.folder / "scripts" / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        return [json.loads(line) for line in lines]

    def ran(self) -> list[str]:
        return [str(Path(call[1]).relative_to(self.out)) for call in self.calls()]


@pytest.fixture
def own_sigterm() -> Iterator[None]:
    """The script takes SIGTERM for itself; here it lives on in this process."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    render((), folder, SMALL, workers=1, progress=False)
    return folder


@pytest.fixture
def bench(rendered, here, tmp_path, own_sigterm) -> Bench:
    scripts = tmp_path / "scripts"
    scripts.mkdir()
    (scripts / "experiments.py").write_text(SCRIPT)
    (scripts / "train.py").write_text(FAKE)
    clip = ClipPrediction(
        "test", "1", "a", "ravdess", "ravdess-01", "male", "normal", EMOTIONS[0], (0.0,) * 8
    )
    (scripts / "predictions.csv").write_text(predictions_csv([clip]))
    for corpus in ("ravdess", "nemo"):
        shutil.copytree(rendered, tmp_path / "images" / corpus)
        (tmp_path / "data" / corpus).mkdir(parents=True)
    (tmp_path / "tiny.yaml").write_text(RECIPE.to_yaml())
    return Bench(tmp_path, here)


def rows(table: str, column: int = 1) -> dict[str, list[str]]:
    """The table's cells by those of a column."""
    found = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in table.splitlines()
        if line.startswith("| ")
    ]
    return {cells[column]: [*cells[:column], *cells[column + 1 :]] for cells in found[1:]}


def after(words: list[str], option: str, number: int = 1) -> list[str]:
    first = words.index(option) + 1
    return words[first : first + number]


# ------------------------------------------------------------------------------------- with Ray


@pytest.mark.system
@needs_ray
def test_one_command_from_recordings_to_a_table(make_ravdess, tmp_path):
    """Rendering and training and all, and a second experiment that starts from the first."""
    corpus = make_ravdess(actors=(1, 2, 4, 9), emotions=(1, 4, 5))
    (tmp_path / "data").mkdir()
    corpus.rename(tmp_path / "data" / "ravdess")
    (tmp_path / "tiny.yaml").write_text(RECIPE.to_yaml())
    common = {"stage": "a", "base": str(tmp_path / "tiny.yaml"), "folds": [1]}
    config = tmp_path / "list.yaml"
    config.write_text(yaml.safe_dump([
        {**common, "name": "first", "what": "As it is."},
        {**common, "name": "second", "what": "Loud.", "from": "first",
         "recipe": {"sound": {"gain": 3}}},
    ]))  # fmt: skip
    out, images = tmp_path / "runs", tmp_path / "images"

    words = [sys.executable, ROOT / "scripts" / "experiments.py", config, tmp_path / "data", out]
    words += ["--images", images]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 of 2 runs to do" in done.stderr
    assert "starting Ray: this machine" in done.stderr
    assert "first/fold-1: finished" in done.stderr
    assert [folder.name.split("-")[0] for folder in images.iterdir()] == ["ravdess"]
    found = {
        name: json.loads((out / name / "fold-1" / "metrics.json").read_text())
        for name in ("first", "second")
    }
    assert found["second"]["started_from"].startswith("fold-1 ")
    assert 0 < found["first"]["seconds"] < 600
    row = rows(done.stdout)["first"]
    assert row[4] == f"{found['first']['figures']['validation']['uar']:.3f}"
    assert row[6] == f"{found['first']['figures']['test']['uar']:.3f}"
    assert "test: UAR" in (out / "first" / "fold-1.log").read_text()

    stamps = {p: p.stat().st_mtime_ns for p in out.rglob("fold-1/*")}
    again = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert again.returncode == 0
    assert "Ray" not in again.stderr
    assert {p: p.stat().st_mtime_ns for p in out.rglob("fold-1/*")} == stamps


@pytest.mark.system
@needs_ray
def test_a_run_that_fails_does_not_stop_the_others(bench):
    bench.write({"name": "bad"}, {"name": "after", "from": "bad"}, {"name": "good"})
    (bench.folder / "tracking.yaml").write_text("project: voices")
    tracking = ["--tracking", str(bench.folder / "tracking.yaml"), "--track", "mlflow", "wandb"]
    done = bench.run_on_ray("--quiet", *tracking)
    assert done.returncode == 1
    calls = bench.calls()
    assert [str(Path(call[1]).relative_to(bench.out)) for call in calls] == [
        "bad/fold-1", "bad/fold-4", "good/fold-1", "good/fold-4",
    ]  # fmt: skip
    cores = os.environ.get("OMP_NUM_THREADS", len(os.sched_getaffinity(0)))
    assert all(call[-len(tracking) - 1 :] == [*tracking, str(cores)] for call in calls)
    problems = done.stderr.splitlines()
    assert len(problems) == 4
    log = bench.out / "bad" / "fold-1.log"
    assert any(
        "bad/fold-1" in line
        and f"exit status 2: train.py: error: out of memory; log: {log}" in line
        for line in problems
    )
    assert any("after/fold-1" in line and "failed, which it needs" in line for line in problems)
    assert rows(done.stdout)["bad"][4] == "0 of 2 runs done"
    assert rows(done.stdout)["good"][4] == "0.550 ± 0.071"

    again = bench.run_on_ray("--jobs", 2)
    assert again.returncode == 1
    assert sorted(bench.ran()) == ["bad/fold-1", "bad/fold-4"]
    assert "bad/fold-1: exit status 2" in again.stderr


def wait_for(there: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not there():
        assert time.monotonic() < until
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)


@pytest.mark.system
@needs_ray
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_series_that_was_stopped_is_resumed(bench, number):
    """However it was stopped, its training has ended and is started again, once."""
    bench.write({"name": "one"})
    process = bench.start()
    first, second = bench.out / "one" / "fold-1", bench.out / "one" / "fold-4"
    wait_for((first / "metrics.json").exists, process)
    bench.hold.touch()
    wait_for((second / "checkpoints").exists, process)
    process.send_signal(number)
    error = process.communicate()[1]
    stamp = (first / "metrics.json").stat().st_mtime_ns
    assert bench.ran() == ["one/fold-1", "one/fold-4"]
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert "the same command resumes" in error
    assert not (second / "metrics.json").exists()

    process = bench.start()  # the training that SIGKILL left may be there for a moment: none beside
    wait_for((bench.folder / "scripts" / "calls").exists, process)
    bench.hold.unlink()
    assert process.wait() == 0
    process.communicate()
    assert bench.ran() == ["one/fold-4"]
    assert (second / "metrics.json").exists()
    assert (first / "metrics.json").stat().st_mtime_ns == stamp


@pytest.mark.system
@needs_ray
def test_a_cluster_by_its_address(bench, monkeypatch):
    bench.write({"name": "one"})
    done = bench.run_on_ray("--address", "127.0.0.1:1")
    assert done.returncode == 1
    assert "Ray at 127.0.0.1:1 cannot be used" in done.stderr.splitlines()[-1]
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    start = "ray.init(num_cpus=3, include_dashboard=False).address_info['address']"
    cluster = subprocess.Popen(
        [sys.executable, "-c", f"import ray, sys; print({start}, flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    address = cluster.stdout.readline().strip()
    many = bench.run_on_ray("--address", address, "--cpus", 4)
    done = bench.run_on_ray("--address", address, "--cpus", 2)
    cluster.communicate("")
    assert many.returncode == 2
    assert "a run takes 4 CPUs and 0 GPUs: no machine has them" in many.stderr
    assert done.returncode == 0, done.stderr
    assert [call[-1] for call in bench.calls()] == [os.environ.get("OMP_NUM_THREADS", "2")] * 2


def test_ray_is_an_extra(bench, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda n, *a: None if n == "ray" else find(n))
    bench.write({"name": "one"})
    done = bench.run()
    assert done.returncode == 2
    assert "Ray is not installed: pip install 'ser-edge[experiments]'" in done.stderr
    assert bench.ran() == []
    bench.finish()
    assert bench.run().returncode == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"jobs": 0}, "jobs is 0, allowed: 1 or more"),
        ({"cpus": 0}, "cpus is 0, allowed: 1 or more"),
        ({"gpus": -1}, "gpus is -1, allowed: 0 to 1 or a whole number"),
        ({"gpus": 1.5}, "gpus is 1.5, allowed"),
        ({"address": "auto", "jobs": 2}, "jobs is for this machine"),
    ],
)
def test_resources_out_of_range(values, message):
    with pytest.raises(ValueError, match=message):
        Resources(**values)


# ------------------------------------------------------------------------------------- the runs


def test_runs_are_in_the_order_of_the_file(bench):
    bench.write({"name": "one", "seeds": [1, 2]}, {"name": "two", "folds": [1]})
    assert list(map(str, bench.runs())) == [
        "one/fold-1", "one/fold-4", "one/seed-2/fold-1", "one/seed-2/fold-4", "two/fold-1",
    ]  # fmt: skip
    bench.finish()
    assert all(run.finished for run in bench.runs())
    assert Recipe.read(bench.out / "one" / "config.yaml").name == "one"
    bench.calls()
    assert bench.run().returncode == 0
    assert bench.ran() == []


def test_arguments_of_a_training(bench):
    bench.write(
        {"name": "far", "images": "nemo", "folds": ["all"]},
        {
            "name": "near", "also": ["nemo"], "from": "far", "seeds": [2],
            "recipe": {"sound": {"noise": 0.3}, "epochs": 7, "gate": 9}, "speech": ["nemo"],
        },
    )  # fmt: skip
    found = bench.commands()
    images, data, out = bench.folder / "images", bench.folder / "data", bench.out
    assert found["far/fold-all"] == [str(word) for word in (
        images / "nemo", out / "far" / "fold-all", "--config", out / "far" / "config.yaml",
        "--fold", "all", "--seed", 1, "--resume", "--quiet",
    )]  # fmt: skip
    assert found["near/seed-2/fold-1"] == [str(word) for word in (
        images / "ravdess", out / "near" / "seed-2" / "fold-1",
        "--config", out / "near" / "config.yaml", "--fold", 1, "--seed", 2, "--resume", "--quiet",
        "--also", images / "nemo", "--sounds", data / "ravdess", data / "nemo",
        "--from", out / "far" / "fold-all", "--gate-speech", images / "nemo",
    )]  # fmt: skip
    write_configs(bench.runs())
    recipe = Recipe.read(out / "near" / "config.yaml")
    assert (recipe.epochs, recipe.sound.noise, recipe.image) == (7, 0.3, SMALL)


def test_networks_as_a_table(bench):
    """A row a network: honest folds, the leaky one beside them, what it costs from a file."""
    own = {"recipe": {"net": "compact-bigru"}}
    entries = (
        {"name": "plain"},
        {"name": "gru", **own},
        {"name": "plain-leaky", "folds": ["random"]},
        {"name": "gru-leaky", "folds": ["random"], **own},
    )
    bench.write(*entries)
    document, measured = bench.folder / "heads.md", bench.folder / "heads.json"
    document.write_text("# Heads\n<!-- heads:begin -->\n<!-- heads:end -->\nThe end.\n")
    words = ("--columns", "heads", "--table", document, "--measured", measured)

    bench.finish("plain", folds=["1"])
    assert bench.run(*words, "--only", "plain", "--folds", 1).returncode == 0
    cells = rows(document.read_text())
    assert cells["`compact`"][1] == "0.600 (fold 1: 0.600)"
    assert cells["`compact`"][2:4] == ["not evaluated yet"] * 2
    assert cells["`compact`"][4:] == ["not run yet", *["not measured yet"] * 4]
    assert cells["`compact-bigru`"][1] == "not run yet"

    costs = {
        "parameters": 699_984,
        "multiply_adds": 147_653_248,
        "ms": {"FP16": 3.21, "INT8": None},
    }
    measured.write_text(json.dumps({"nets": {"compact-bigru": costs}}))
    bench.finish()
    assert bench.run(*words).returncode == 0
    edge = {"folds": ["4"], "FP16": {"uar_mean": 0.6511}, "INT8": {"uar_mean": 0.64}}
    for folds, said in ((["4"], ["not evaluated yet"] * 2), (["4", "1"], ["0.651", "0.640"])):
        evaluated = {"edge": {**edge, "folds": folds}}
        (bench.out / "gru" / "metrics.json").write_text(json.dumps(evaluated))
        assert bench.run(*words).returncode == 0
        assert rows(document.read_text())["`compact-bigru`"][1:] == [
            "0.650 (fold 1: 0.600, fold 4: 0.700)", *said, "0.750", "699,984", "147.7 M", "3.21",
            "not measured yet",
        ]  # fmt: skip
    (bench.out / "gru" / "metrics.json").write_text('{"edge": []}')
    done = bench.run(*words)
    assert done.returncode == 2
    assert "metrics.json: not as scripts/evaluate.py writes it" in done.stderr
    (bench.out / "gru" / "metrics.json").unlink()
    assert document.read_text().endswith("The end.\n")

    measured.write_text("[]")
    done = bench.run(*words)
    assert done.returncode == 2
    assert "heads.json: not as benchmarks/heads.py writes it" in done.stderr
    document.write_text("# Nothing\n")
    done = bench.run(*words)
    assert done.returncode == 2
    assert "it should have one <!-- heads:begin -->" in done.stderr


def test_an_experiment_is_selected_with_those_that_it_depends_on(bench):
    bench.write({"name": "a"}, {"name": "b", "from": "a"}, {"name": "c"})
    assert list(bench.commands("b")) == ["a/fold-1", "a/fold-4", "b/fold-1", "b/fold-4"]


def test_teachers_are_of_the_same_fold_and_of_all_seeds(bench):
    bench.write(
        {"name": "a", "seeds": [1, 2]},
        {"name": "b"},
        {"name": "student", "teachers": ["a", "b"], "recipe": {"distill": 0.5}},
    )
    found = bench.commands("student", folds=["4"])
    teachers = ["a/fold-4", "a/seed-2/fold-4", "b/fold-4"]
    assert list(found) == [*teachers, "student/fold-4"]
    assert after(found["student/fold-4"], "--teacher", 3) == [
        str(bench.out / name) for name in teachers
    ]


def test_networks_to_average_with_are_of_the_same_fold_and_seed(bench):
    bench.write(
        {"name": "a"},
        {"name": "b", "seeds": [1, 2]},
        {"name": "mean", "seeds": [2], "average": ["a", "b"]},
    )
    found = bench.commands("mean", folds=["4"])
    assert list(found) == ["a/fold-4", "b/fold-4", "b/seed-2/fold-4", "mean/seed-2/fold-4"]
    assert after(found["mean/seed-2/fold-4"], "--average", 2) == [
        str(bench.out / name) for name in ("a/fold-4", "b/seed-2/fold-4")
    ]
    write_configs(bench.runs())
    assert (bench.out / "mean" / "data.yaml").read_text() == (
        "images: ravdess\nalso: []\nfrom: null\naverage:\n- a\n- b\n"
    )


def test_a_refit_is_the_same_but_for_its_training_speakers(bench):
    bench.write(
        {"name": "a", "folds": [1, 4, "all"]},
        {"name": "b", "from": "a", "teachers": ["a"], "recipe": {"distill": 0.5}},
    )
    bench.append({"name": "c", "stage": "h", "what": "Again.", "refit": "b"})
    found = bench.commands("c")
    assert list(found)[-4:] == ["b/fold-1", "b/fold-4", "c/fold-1", "c/fold-4"]
    first, refit = found["b/fold-4"], found["c/fold-4"]
    assert "--refit" not in first
    assert after(refit, "--refit") == [str(bench.out / "b" / "fold-4")]
    for option in ("--from", "--teacher"):
        assert after(refit, option) == after(first, option)
    bench.finish()
    configs = [(bench.out / name / "config.yaml").read_text() for name in ("b", "c")]
    assert configs[0] == configs[1]
    document = bench.folder / "table.md"
    document.write_text(f"{BEGIN}\n{END}\n")
    assert bench.run("--table", document).returncode == 0
    cells = rows(document.read_text())
    assert cells["c"][-5:-3] == ["-", "-"]
    assert cells["c"][-3] == cells["b"][-3]
    assert cells["b"][-5] != "-"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"refit": "z"}, "c: refit is 'z', which is no experiment before it"),
        ({"refit": "a", "recipe": {}}, "c: a refit takes refit, name, stage, what, folds, not rec"),
        ({"refit": "a", "folds": [2]}, "c: folds to refit are those that a has: 1"),
        ({"refit": "far"}, "c: folds to refit are those that far has: none"),
        ({"refit": "off"}, "c: folds to refit are those that off has: 1"),
    ],
)
def test_a_bad_refit_is_named(bench, entry, message):
    bench.write(
        {"name": "a", "folds": [1]},
        {"name": "far", "folds": ["all"]},
        {"name": "off", "folds": [1], "not_run": "x"},
    )
    bench.append({"name": "c", "stage": "h", "what": "Again.", **entry})
    done = bench.run()
    assert done.returncode == 2
    assert f"list.yaml: {message}" in done.stderr
    assert not bench.out.exists()


def test_images_are_rendered_once_a_specification(bench, monkeypatch):
    made: list[Path] = []

    def note(utterances: Any, out: Path, spec: Any, **_: Any) -> Any:
        made.append(out)
        return render((), out, spec, workers=1, progress=False)

    monkeypatch.setattr(experiment_images, "render", note)
    shutil.copy(sorted((ROOT / "samples").glob("*.wav"))[0], bench.folder / "data" / "ravdess"
                / "03-01-01-01-01-01-01.wav")  # fmt: skip
    bench.write(
        {"name": "plain"},
        {"name": "fine", "recipe": {"image": {"n_mels": 24}}},
        {"name": "finer", "recipe": {"image": {"n_mels": 24}, "epochs": 3}},
    )
    found = bench.commands(folds=["1"])
    assert len(made) == 1
    images = {name.partition("/")[0]: Path(words[0]) for name, words in found.items()}
    assert images == {"plain": bench.folder / "images" / "ravdess", "fine": made[0],
                      "finer": made[0]}  # fmt: skip
    assert made[0].name.startswith("ravdess-")


# ------------------------------------------------------------------------------------- the table


def test_the_table_is_replaced_in_place(bench):
    document = bench.folder / "experiments.md"
    document.write_text(f"# Title\n\n{BEGIN}\nwhat was\n{END}\n\nRest.\n")
    bench.write(
        {"name": "one", "seeds": [1, 2], "what": "A | B."},
        {"name": "far", "images": "nemo", "folds": ["all"]},
        {"name": "part"},
        {"name": "never", "stage": "h", "not_run": "no time"},
    )
    bench.finish("one", "far")
    assert bench.run("--only", "one", "far", "--table", document).returncode == 0
    text = document.read_text()
    assert text.startswith(f"# Title\n\n{BEGIN}\n")
    assert text.endswith(f"{END}\n\nRest.\n")
    assert "what was" not in text
    assert "on the validation columns alone" in text
    found = rows(text)
    assert list(found) == ["one", "far", "part", "never"]
    assert found["one"] == [
        "a", "A \\| B.", "1, 4", "1, 2", "0.560 ± 0.071", "1.500", "0.660 ± 0.071", "0.62", "1.00",
    ]  # fmt: skip
    assert found["far"][2:] == ["all", "1", "-", "-", "-", "0.62", "0.25"]
    assert found["part"][4] == "0 of 2 runs done"
    assert (found["never"][0], found["never"][4]) == ("h", "no time")
    assert bench.run("--only", "one", "far", "--table", document).returncode == 0
    assert document.read_text() == text


@pytest.mark.parametrize(
    "text", [None, "no marker", BEGIN, END + BEGIN, BEGIN + END + BEGIN + END], ids=repr
)
def test_a_document_without_a_place_for_the_table_is_rejected(bench, text):
    bench.write({"name": "one"})
    document = bench.folder / "experiments.md"
    if text is not None:
        document.write_text(text)
    done = bench.run("--table", document)
    assert done.returncode == 2
    assert str(document) in done.stderr.splitlines()[-1]
    assert not any(bench.out.rglob("fold-*"))


# ----------------------------------------------------------------------------- what can be wrong


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([{"name": "a", "what": 3}], "a: what is 3, it should be text"),
        ([{"what": "b"}], "entry 1: name is None"),
        ([{"name": "a", "reciep": {}}], "a: unknown reciep; known: name, stage"),
        ([{"name": "a", "stage": "z"}], "a: stage is 'z', allowed: a to h"),
        ([{"name": "a/b"}], "a/b: name is 'a/b', allowed: letters"),
        ([{"name": "a"}, {"name": "a"}], "a: there are two of this name"),
        ([{"name": "a", "base": "/no.yaml"}], "a: /no.yaml: No such file"),
        ([{"name": "a", "recipe": [1]}], "a: recipe should be a mapping"),
        ([{"name": "a", "recipe": {"epoch": 1}}], "a: unknown epoch; known: name"),
        ([{"name": "a", "recipe": {"image": {"hop": 1}}}], "a: the mel image specification has"),
        ([{"name": "a", "recipe": {"sound": {"noise": 2}}}], "a: sound.noise is 2.0, allowed"),
        ([{"name": "a", "recipe": {"seed": 2}}], "a: seed is no part of recipe here: seeds"),
        ([{"name": "a", "also": ["ravdess"]}], "a: also is ['ravdess'], allowed: other corpora"),
        ([{"name": "a", "speech": ["me"]}], "a: speech is ['me'], allowed: crema-d"),
        ([{"name": "a", "also": "nemo"}], "a: also is 'nemo', it should be a list"),
        ([{"name": "a", "images": "iemocap"}], "a: images is 'iemocap', allowed: crema-d"),
        ([{"name": "a", "images": "nemo"}], "a: folds 1, 2, 3, 4, 5 divide ravdess: give folds"),
        ([{"name": "a", "folds": [6]}], "a: folds is ['6'], allowed: 1, 2, 3, 4, 5, all, random"),
        ([{"name": "a", "folds": [1, "random"]}], "a: fold random is leaky and stands alone"),
        ([{"name": "a", "folds": [1, "1"]}], "a: folds is [1, '1'], it should hold nothing twice"),
        ([{"name": "a", "seeds": []}], "a: seeds is [], allowed: 0 or more"),
        ([{"name": "a", "seeds": [True]}], "a: seeds is [True], it should be a list"),
        ([{"name": "b", "from": "a"}, {"name": "a"}], "b: from names 'a', which is no experiment"),
        (
            [{"name": "a", "not_run": "x"}, {"name": "b", "from": "a"}],
            "b: from names a, which is not",
        ),
        (
            [{"name": "a", "folds": [1]}, {"name": "b", "from": "a"}],
            "b: from names a, which has no fold 4",
        ),
        (
            [{"name": "b", "teachers": ["a"]}, {"name": "a"}],
            "b: teachers names 'a', which is no experiment before it",
        ),
        (
            [{"name": "a", "folds": [1]}, {"name": "b", "teachers": ["a"]}],
            "b: teachers names a, which has no fold 4",
        ),
        (
            [{"name": "a", "not_run": "x"}, {"name": "b", "teachers": ["a"]}],
            "b: teachers names a, which is not run",
        ),
        (
            [{"name": "a", "folds": [1]}, {"name": "b", "average": ["a"]}],
            "b: average names a, which has no fold 4",
        ),
        (
            [{"name": "a", "folds": ["all"]}, {"name": "b", "from": "a"}],
            "b: from names a, whose fold all is trained on the actors that fold 1 tests",
        ),
        (
            [
                {"name": "a", "folds": ["all"]},
                {"name": "b", "images": "nemo", "folds": ["all"], "from": "a"},
                {"name": "c", "from": "b"},
            ],
            "c: from names b, whose fold all is trained on",
        ),
    ],
)
def test_a_bad_entry_is_named(bench, entries, message):
    bench.write(*entries)
    done = bench.run()
    assert done.returncode == 2
    assert f"list.yaml: {message}" in done.stderr
    assert "Traceback" not in done.stderr
    assert not any(bench.out.rglob("fold-*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it should be a list"),
        ("a: 1", "it should be a list"),
        ("- 1", "1: it should be a mapping"),
        ("- [", "list.yaml: while parsing"),
        (None, "No such file"),
    ],
)
def test_a_bad_file_is_named(bench, text, message):
    if text is not None:
        (bench.folder / "list.yaml").write_text(text)
    done = bench.run()
    assert done.returncode == 2
    assert message in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "b"], "there is no experiment 'b', but a"),
        (["--jobs", "0"], "jobs is 0, allowed: 1 or more"),
        (["--address", "auto", "--jobs", "2"], "jobs is for this machine"),
        pytest.param(
            ["--images", "elsewhere"],
            "data/ravdess: a/fold-1 needs it, there is no such folder",
            marks=needs_ray,
        ),
    ],
)
def test_wrong_usage(bench, words, message):
    bench.write({"name": "a"})
    (bench.folder / "data" / "ravdess").rmdir()
    done = bench.run(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert not any(bench.out.rglob("fold-*"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": {"epochs": 9}}, "its recipe has epochs 1 (asked for: 9)"),
        ({"also": ["nemo"]}, "it was started with images: ravdess also: [] from: null (asked for"),
    ],
)
def test_what_was_started_cannot_be_changed(bench, change, message):
    bench.write({"name": "a"})
    bench.finish()
    bench.write({"name": "a", **change})
    done = bench.run()
    assert done.returncode == 2
    assert message in done.stderr


def test_the_list_that_is_shipped_can_be_read(monkeypatch):
    monkeypatch.chdir(ROOT)
    experiments = read_experiments(Path("configs/experiments.yaml"), ["1"])
    assert [experiment.name for experiment in experiments][:3] == ["plain", "crop", "hop320"]
    assert set(CORPORA) >= {corpus for entry in experiments for corpus in entry.corpora}
    assert runs_of(experiments, Path("out"))


def test_the_stages_of_the_shipped_model_are_those_of_the_list(monkeypatch):
    monkeypatch.chdir(ROOT)
    listed = {e.name: e for e in read_experiments(Path("configs/experiments.yaml"))}
    stages = read_experiments(Path("configs/compact-stages.yaml"), ["1", "all"])
    for stage in stages:
        assert stage.folds == ("1", "all")
        assert replace(stage, stage="", what="", folds=()) == replace(
            listed[stage.name], stage="", what="", folds=()
        )
    shipped = Recipe.read(Path("models/compact/config.yaml"))
    assert shipped == stages[-1].recipe == Recipe.read(Path("configs/compact.yaml"))
