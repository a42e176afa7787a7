"""The edge stays light, and the floors stay apart."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys

import pytest

from conftest import ROOT
from sources import imports

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
LOWER_ROOMS = (
    "emotions", "headers", "audio", "melimage", "decision", "labels", "profile", "manifest",
    "files", "telemetry",
)  # fmt: skip


@pytest.mark.parametrize("module", ["edge_app", "edge_app.cli"])
def test_importing_the_edge_app_pulls_in_nothing_heavy(module):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    tops = {name.split(".")[0] for name in loaded}
    assert "numpy" in tops
    assert not tops & set(HEAVY)


@pytest.mark.parametrize("path", sorted((ROOT / "edge_app").rglob("*.py")), ids=lambda p: p.name)
def test_the_edge_app_knows_only_the_lower_rooms(path):
    rooms = {name.split(".")[1] for name in imports(path) if name.startswith("ser_edge.")}
    assert rooms <= {*LOWER_ROOMS, "__version__"}


@pytest.mark.unit
@pytest.mark.parametrize("path", sorted((ROOT / "ser_edge").rglob("*.py")), ids=lambda p: p.name)
def test_the_library_does_not_know_the_edge_app(path):
    assert not [name for name in imports(path) if name.split(".")[0] == "edge_app"]


@pytest.mark.unit
@pytest.mark.parametrize("room", LOWER_ROOMS)
def test_the_lower_rooms_know_no_torch(room):
    tops = {name.split(".")[0] for name in imports(ROOT / "ser_edge" / f"{room}.py")}
    assert not tops & set(HEAVY) - {"av"}  # audio.py asks for PyAV where it is installed


@pytest.mark.unit
def test_no_room_stands_on_itself():
    """Imports among rooms, at the top of a file, lead downwards alone."""
    below: dict[str, set[str]] = {}
    for path in (ROOT / "ser_edge").rglob("*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        top = [
            node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ImportFrom)
        ]
        below[name] = {
            full if (ROOT / (full.replace(".", "/") + ".py")).exists() else str(node.module)
            for node in top
            if str(node.module).startswith("ser_edge")
            for alias in node.names
            for full in [f"{node.module}.{alias.name}"]
        }
    graphlib.TopologicalSorter(below).prepare()  # raises CycleError


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda p: p.name)
def test_every_script_explains_itself_with_an_example(script):
    done = subprocess.run(
        [sys.executable, script, "--help"], capture_output=True, text=True, check=True
    )
    assert "example" in done.stdout
