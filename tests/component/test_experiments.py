"""``scripts/experiments.py``: a file of experiments, the queue of their runs, their table."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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
from ser_edge.experiments import queue as jobqueue
from ser_edge.experiments.plan import jobs_of, read_experiments
from ser_edge.experiments.table import BEGIN, END
from ser_edge.metrics.classification import ClipPrediction, predictions_csv

RECIPE = Recipe(
    name="tiny", width=0.25, epochs=1, batch_size=8, dropout=0.0, freq_mask=2, time_mask=10,
    precision="32-true", image=SMALL,
)  # fmt: skip

# Leaves what scripts/train.py leaves, in no time. It notes how it was called; experiments called
# "bad" fail, and while there is a file "hold" nothing ends but what has ended.
FAKE = """
import json, os, sys, time
from pathlib import Path

here, words = Path(__file__).parent, sys.argv[1:]
out, fold, seed = Path(words[1]), words[words.index("--fold") + 1], words[words.index("--seed") + 1]
with open(here / "calls", "a") as calls:
    print(json.dumps([*words, os.environ["OMP_NUM_THREADS"]]), file=calls)
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
    """A queue whose trainings are fakes."""

    folder: Path
    here: Callable[..., Done]

    @property
    def out(self) -> Path:
        return self.folder / "runs"

    @property
    def words(self) -> list[str]:
        script, config = self.folder / "scripts" / "experiments.py", self.folder / "list.yaml"
        images = self.folder / "images"
        return [str(word) for word in (
            script, config, self.folder / "data", self.out, "--folds", 1, 4, "--quiet",
            "--images", images,
        )]  # fmt: skip

    def write(self, *entries: dict[str, Any]) -> None:
        base = {"stage": "a", "what": "Something.", "base": str(self.folder / "tiny.yaml")}
        text = yaml.safe_dump([{**base, **entry} for entry in entries])
        (self.folder / "list.yaml").write_text(text)

    def run(self, *words: object) -> Done:
        return self.here(*self.words, *words)

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
def bench(rendered, here, tmp_path, monkeypatch, own_sigterm) -> Bench:
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
    monkeypatch.setattr(jobqueue, "_LOOK_EVERY", 0.02)
    return Bench(tmp_path, lambda script, *words: here(script, *words))


def rows(table: str) -> dict[str, list[str]]:
    """The table's cells by experiment."""
    found = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in table.splitlines()
        if line.startswith("| ")
    ]
    return {cells[1]: [cells[0], *cells[2:]] for cells in found[1:]}


# -------------------------------------------------------------------------------- the real thing


@pytest.mark.system
def test_one_command_from_recordings_to_a_table(
    here, make_ravdess, tmp_path, monkeypatch, own_sigterm
):
    """Rendering and training and all, and a second experiment that starts from the first."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
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

    words = ("experiments.py", config, tmp_path / "data", out, "--images", images)
    done = here(*words)
    assert done.returncode == 0, done.stderr
    assert "first/fold-1: training" in done.stderr
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
    assert here(*words, "--quiet").returncode == 0
    assert {p: p.stat().st_mtime_ns for p in out.rglob("fold-1/*")} == stamps


# ------------------------------------------------------------------------------------- the queue


def test_runs_are_made_in_the_order_of_the_file(bench):
    bench.write({"name": "one", "seeds": [1, 2]}, {"name": "two", "folds": [1]})
    done = bench.run()
    assert done.returncode == 0, done.stderr
    assert bench.ran() == [
        "one/fold-1", "one/fold-4", "one/seed-2/fold-1", "one/seed-2/fold-4", "two/fold-1",
    ]  # fmt: skip
    assert Recipe.read(bench.out / "one" / "config.yaml").name == "one"
    assert bench.run().returncode == 0
    assert bench.ran() == []


def test_what_a_training_is_told(bench):
    bench.write(
        {"name": "far", "images": "nemo", "folds": ["all"]},
        {
            "name": "near", "also": ["nemo"], "from": "far", "seeds": [2],
            "recipe": {"sound": {"noise": 0.3}, "epochs": 7, "gate": 9}, "speech": ["nemo"],
        },
    )  # fmt: skip
    done = bench.run("--jobs", 2)
    assert done.returncode == 0, done.stderr
    far, *both = bench.calls()
    (near,) = (call for call in both if call[1].endswith("fold-1"))  # they begin at once
    images, data, out = bench.folder / "images", bench.folder / "data", bench.out
    cores = len(os.sched_getaffinity(0))
    assert far == [str(word) for word in (
        images / "nemo", out / "far" / "fold-all", "--config", out / "far" / "config.yaml",
        "--fold", "all", "--seed", 1, "--resume", "--quiet", max(1, cores // 2),
    )]  # fmt: skip
    assert near == [str(word) for word in (
        images / "ravdess", out / "near" / "seed-2" / "fold-1",
        "--config", out / "near" / "config.yaml", "--fold", 1, "--seed", 2, "--resume", "--quiet",
        "--also", images / "nemo", "--sounds", data / "ravdess", data / "nemo",
        "--from", out / "far" / "fold-all", "--gate-speech", images / "nemo", max(1, cores // 2),
    )]  # fmt: skip
    recipe = Recipe.read(out / "near" / "config.yaml")
    assert (recipe.epochs, recipe.sound.noise, recipe.image) == (7, 0.3, SMALL)


def test_what_follows_a_training_is_handed_on(bench):
    bench.write({"name": "a", "folds": [1]})
    (bench.folder / "tracking.yaml").write_text("project: voices")
    done = bench.run("--tracking", bench.folder / "tracking.yaml", "--track", "mlflow", "wandb")
    assert done.returncode == 0, done.stderr
    (call,) = bench.calls()
    said = ["--tracking", str(bench.folder / "tracking.yaml"), "--track", "mlflow", "wandb"]
    assert call[-len(said) - 1 : -1] == said


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

    assert bench.run(*words, "--only", "plain", "--folds", 1).returncode == 0
    cells = networks(document)
    assert cells["`compact`"][2] == "0.600 (fold 1: 0.600)"
    assert cells["`compact`"][3:5] == ["not heard yet"] * 2
    assert cells["`compact`"][5:] == ["not run yet", *["not measured yet"] * 4]
    assert cells["`compact-bigru`"][2] == "not run yet"

    costs = {
        "parameters": 699_984,
        "multiply_adds": 147_653_248,
        "ms": {"FP16": 3.21, "INT8": None},
    }
    measured.write_text(json.dumps({"nets": {"compact-bigru": costs}}))
    assert bench.run(*words).returncode == 0
    heard = {"folds": ["4"], "FP16": {"uar_mean": 0.6511}, "INT8": {"uar_mean": 0.64}}
    for folds, said in ((["4"], ["not heard yet"] * 2), (["4", "1"], ["0.651", "0.640"])):
        evaluated = {"edge": {**heard, "folds": folds}}
        (bench.out / "gru" / "metrics.json").write_text(json.dumps(evaluated))
        assert bench.run(*words).returncode == 0
        assert networks(document)["`compact-bigru`"][2:] == [
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


def networks(document: Path) -> dict[str, list[str]]:
    lines = [line for line in document.read_text().splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[1:]]
    return {row[1]: row for row in cells}


def test_what_is_asked_for_alone_comes_with_its_start(bench):
    bench.write({"name": "a"}, {"name": "b", "from": "a"}, {"name": "c"})
    assert bench.run("--only", "b").returncode == 0
    assert bench.ran() == ["a/fold-1", "a/fold-4", "b/fold-1", "b/fold-4"]


def test_teachers_are_finished_first_and_told_by_fold_and_seed(bench):
    bench.write(
        {"name": "a", "seeds": [1, 2]},
        {"name": "b"},
        {"name": "pupil", "teachers": ["a", "b"], "recipe": {"distill": 0.5}},
    )
    assert bench.run("--only", "pupil", "--folds", 4).returncode == 0
    calls = bench.calls()
    told = calls[-1]
    assert [call[1] for call in calls] == [
        str(bench.out / name)
        for name in ("a/fold-4", "a/seed-2/fold-4", "b/fold-4", "pupil/fold-4")
    ]
    first = told.index("--teacher") + 1
    assert told[first : first + 3] == [
        str(bench.out / name) for name in ("a/fold-4", "a/seed-2/fold-4", "b/fold-4")
    ]


def test_networks_to_average_with_are_finished_first_and_of_the_same_fold(bench):
    bench.write(
        {"name": "a"},
        {"name": "b", "seeds": [1, 2]},
        {"name": "mean", "seeds": [2], "average": ["a", "b"]},
    )
    assert bench.run("--only", "mean", "--folds", 4).returncode == 0
    calls = bench.calls()
    assert {call[1] for call in calls[:-1]} == {
        str(bench.out / name) for name in ("a/fold-4", "b/fold-4", "b/seed-2/fold-4")
    }
    words = calls[-1]
    assert words[1] == str(bench.out / "mean/seed-2/fold-4")
    first = words.index("--average") + 1
    assert words[first : first + 2] == [
        str(bench.out / name) for name in ("a/fold-4", "b/seed-2/fold-4")
    ]
    assert "average" in (bench.out / "mean" / "data.yaml").read_text()


def test_a_refit_is_all_of_what_it_refits_but_for_who_is_heard(bench):
    bench.write(
        {"name": "a", "folds": [1, 4, "all"]},
        {"name": "b", "from": "a", "teachers": ["a"], "recipe": {"distill": 0.5}},
    )
    path = bench.folder / "list.yaml"
    refit = {"name": "c", "stage": "h", "what": "Again.", "refit": "b"}
    path.write_text(path.read_text() + yaml.safe_dump([refit]))
    assert bench.run("--only", "c").returncode == 0
    calls = {str(Path(call[1]).relative_to(bench.out)): call for call in bench.calls()}
    assert list(calls)[-4:] == ["b/fold-1", "b/fold-4", "c/fold-1", "c/fold-4"]
    before, after = calls["b/fold-4"], calls["c/fold-4"]
    assert "--refit" not in before
    assert after[after.index("--refit") + 1] == str(bench.out / "b" / "fold-4")
    for option in ("--from", "--teacher"):
        assert after[after.index(option) + 1] == before[before.index(option) + 1]
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
    path = bench.folder / "list.yaml"
    entry = {"name": "c", "stage": "h", "what": "Again.", **entry}
    path.write_text(path.read_text() + yaml.safe_dump([entry]))
    done = bench.run()
    assert done.returncode == 2
    assert f"list.yaml: {message}" in done.stderr
    assert bench.ran() == []


def test_a_run_that_fails_does_not_stop_the_others(bench):
    bench.write({"name": "bad"}, {"name": "after", "from": "bad"}, {"name": "good"})
    done = bench.run()
    assert done.returncode == 1
    assert bench.ran() == ["bad/fold-1", "bad/fold-4", "good/fold-1", "good/fold-4"]
    problems = done.stderr.splitlines()
    assert len(problems) == 4
    log = bench.out / "bad" / "fold-1.log"
    assert any(
        "bad/fold-1" in line
        and f"exit status 2: train.py: error: out of memory; all of it: {log}" in line
        for line in problems
    )
    assert any("after/fold-1" in line and "failed, which it needs" in line for line in problems)
    assert rows(done.stdout)["bad"][4] == "0 of 2 runs done"
    assert bench.run().returncode == 1  # tried again
    assert bench.ran() == ["bad/fold-1", "bad/fold-4"]


def wait_for(there: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not there():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_queue_that_was_killed_goes_on(bench, number):
    """SIGKILL leaves its training running: that one is waited for, not started beside itself."""
    bench.write({"name": "one"})
    queue = subprocess.Popen([sys.executable, *bench.words], stderr=subprocess.PIPE, text=True)
    first, second = bench.out / "one" / "fold-1", bench.out / "one" / "fold-4"
    wait_for((first / "metrics.json").exists)
    bench.hold.touch()
    wait_for((second / "checkpoints").exists)
    queue.send_signal(number)
    error = queue.communicate()[1]
    stamp = (first / "metrics.json").stat().st_mtime_ns
    assert bench.ran() == ["one/fold-1", "one/fold-4"]
    assert not (second / "metrics.json").exists()
    if number != signal.SIGKILL:
        assert queue.returncode == 130
        assert "the same command resumes" in error
    bench.hold.unlink()
    time.sleep(0.2)

    assert bench.run().returncode == 0
    assert bench.ran() == ([] if number == signal.SIGKILL else ["one/fold-4"])
    assert (second / "metrics.json").exists()
    assert (first / "metrics.json").stat().st_mtime_ns == stamp


def test_pictures_are_made_once_a_specification(bench, monkeypatch):
    made: list[Path] = []

    def note(utterances: Any, out: Path, spec: Any, **_: Any) -> Any:
        made.append(out)
        return render((), out, spec, workers=1, progress=False)

    monkeypatch.setattr(jobqueue, "render", note)
    shutil.copy(sorted((ROOT / "samples").glob("*.wav"))[0], bench.folder / "data" / "ravdess"
                / "03-01-01-01-01-01-01.wav")  # fmt: skip
    bench.write(
        {"name": "plain"},
        {"name": "fine", "recipe": {"image": {"n_mels": 24}}},
        {"name": "finer", "recipe": {"image": {"n_mels": 24}, "epochs": 3}},
    )
    assert bench.run().returncode == 0
    assert len(made) == 1
    images = {str(Path(call[1]).parent.name): Path(call[0]) for call in bench.calls()}
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
def test_a_document_without_a_place_for_the_table_is_refused(bench, text):
    bench.write({"name": "one"})
    document = bench.folder / "experiments.md"
    if text is not None:
        document.write_text(text)
    done = bench.run("--table", document)
    assert done.returncode == 2
    assert str(document) in done.stderr.splitlines()[-1]
    assert bench.ran() == []


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
        ([{"name": "b", "from": "a"}, {"name": "a"}], "b: from is 'a', which is no experiment"),
        ([{"name": "a", "not_run": "x"}, {"name": "b", "from": "a"}], "b: from is a, which is not"),
        (
            [{"name": "a", "folds": [1]}, {"name": "b", "from": "a"}],
            "b: from is a, which has no fold 4",
        ),
        (
            [{"name": "b", "teachers": ["a"]}, {"name": "a"}],
            "b: teachers has 'a', which is no experiment before it",
        ),
        (
            [{"name": "a", "folds": [1]}, {"name": "b", "teachers": ["a"]}],
            "b: teachers has a, which has no fold 4",
        ),
        (
            [{"name": "a", "not_run": "x"}, {"name": "b", "teachers": ["a"]}],
            "b: teachers has a, which is not run",
        ),
        (
            [{"name": "a", "folds": [1]}, {"name": "b", "average": ["a"]}],
            "b: average has a, which has no fold 4",
        ),
        (
            [{"name": "a", "folds": ["all"]}, {"name": "b", "from": "a"}],
            "b: from is a, whose fold all has heard the actors that fold 1 tests",
        ),
        (
            [
                {"name": "a", "folds": ["all"]},
                {"name": "b", "images": "nemo", "folds": ["all"], "from": "a"},
                {"name": "c", "from": "b"},
            ],
            "c: from is b, whose fold all has heard",
        ),
    ],
)
def test_a_bad_entry_is_named(bench, entries, message):
    bench.write(*entries)
    done = bench.run()
    assert done.returncode == 2
    assert f"list.yaml: {message}" in done.stderr
    assert "Traceback" not in done.stderr
    assert bench.ran() == []


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
        (["--images", "elsewhere"], "data/ravdess: a/fold-1 needs it, there is no such folder"),
    ],
)
def test_wrong_usage(bench, words, message):
    bench.write({"name": "a"})
    (bench.folder / "data" / "ravdess").rmdir()
    done = bench.run(*words)
    assert done.returncode == 2
    assert message in done.stderr
    assert bench.ran() == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": {"epochs": 9}}, "its recipe has epochs 1 (asked for: 9)"),
        ({"also": ["nemo"]}, "it was begun with images: ravdess also: [] from: null (asked for"),
    ],
)
def test_what_was_begun_cannot_be_changed(bench, change, message):
    bench.write({"name": "a"})
    assert bench.run().returncode == 0
    bench.calls()
    bench.write({"name": "a", **change})
    done = bench.run()
    assert done.returncode == 2
    assert message in done.stderr
    assert bench.ran() == []


def test_the_list_that_is_shipped_can_be_read(monkeypatch):
    monkeypatch.chdir(ROOT)
    experiments = read_experiments(Path("configs/experiments.yaml"), ["1"])
    assert [experiment.name for experiment in experiments][:3] == ["plain", "crop", "hop320"]
    assert set(CORPORA) >= {corpus for entry in experiments for corpus in entry.corpora}
    assert jobs_of(experiments, Path("out"))


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
