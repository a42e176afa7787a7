"""The edge app stays light. Which module may import which: the contracts in pyproject.toml."""

from __future__ import annotations

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
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {name.split(".")[0] for name in loaded} & set(heavy)


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda p: p.name)
def test_every_script_explains_itself_with_an_example(script):
    done = subprocess.run(
        [sys.executable, script, "--help"], capture_output=True, text=True, check=True
    )
    assert "example" in done.stdout
