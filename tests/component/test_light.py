"""Both commands start light. Which module may import which: the contracts in pyproject.toml."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from conftest import ROOT

HEAVY = (
    "torch",
    "librosa",
    "numba",
    "scipy",
    "PIL",
    "lightning",
    "sklearn",
    "av",
    "yaml",
    "tqdm",
    "paho",
    "openvino_genai",
    "pyarrow",
    "ray",
)
TRAINING = (
    "torch",
    "torchaudio",
    "torchvision",
    "lightning",
    "openvino",
    "nncf",
    "onnx",
    "librosa",
)


def loaded(code: str) -> set[str]:
    """Packages that are imported when some code has run."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules, file=sys.stderr)"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {name.split(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("edge_app", ("numpy", "openvino", "logging", *HEAVY)),
        ("edge_app.cli", ("numpy", "openvino", "logging", *HEAVY)),
        ("edge_app.commands.predict", HEAVY),
        ("edge_app.commands.archive", HEAVY),
    ],
)
def test_importing_the_edge_app_pulls_in_nothing_heavy(module, heavy):
    assert not loaded(f"import {module}") & set(heavy)


def test_ser_edge_without_a_verb_needs_the_standard_library_alone():
    tops = loaded("from ser_edge.cli.main import main; main([])")
    assert not tops & {*HEAVY, *TRAINING, "numpy", "soundfile", "soxr"}


def test_help_of_every_verb_needs_nothing_that_trains():
    tops = loaded("from ser_edge.cli.main import make_parser; make_parser()")
    assert "yaml" in tops
    assert not tops & set(TRAINING)


@pytest.mark.parametrize("how", [["-m", "ser_edge"], [ROOT / "scripts" / "train.py"]])
def test_ctrl_c_during_an_import_ends_quietly(how, tmp_path):
    """A torch of its own interrupts the import of what trains."""
    (tmp_path / "torch.py").write_text("import os, signal; os.kill(os.getpid(), signal.SIGINT)")
    verb = ["train"] if how[0] == "-m" else []
    done = subprocess.run(
        [sys.executable, *how, *verb, "images", "out", "--fold", "1"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])},
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "ser-edge train: interrupted; --resume resumes\n"


def test_a_reader_that_has_enough_is_no_error():
    command = [sys.executable, "-m", "ser_edge", "corpora", "list", "--json"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_a_script_outside_the_environment_names_the_way_into_it(tmp_path):
    python = [sys.executable, "-S", "-E"]  # without what is installed
    script = ROOT / "scripts" / "render.py"
    done = subprocess.run(
        [*python, script, "a", "b"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "`make .venv/.done` sets it up, then run .venv/bin/python" in done.stderr


@pytest.mark.parametrize(
    "script",
    [
        path
        for path in sorted((ROOT / "scripts").glob("[a-z]*.py"))
        if "_verb" not in path.read_text()
    ],
    ids=lambda path: path.name,
)
def test_every_other_script_explains_itself_with_an_example(script):
    done = subprocess.run(
        [sys.executable, script, "--help"], capture_output=True, text=True, check=True
    )
    assert "example" in done.stdout
