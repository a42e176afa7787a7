"""What pip installs: the edge app with the default IR, and nothing of the workshop."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from conftest import ROOT, SAMPLES


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT],
        check=True,
        capture_output=True,
    )
    return next(out.glob("ser_edge-*.whl"))


def test_the_wheel_holds_the_default_ir_the_licences_and_no_more(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for precision in ("FP16", "INT8"):
        for suffix in ("xml", "bin"):
            assert f"edge_app/ir/compact/{precision}/compact.{suffix}" in names
    web = {path.name for path in (ROOT / "edge_app" / "server" / "web").iterdir()}
    assert {"index.html", "app.js", "style.css"} <= web
    assert {f"edge_app/server/web/{name}" for name in web} <= set(names)
    assert any(name.endswith("licenses/LICENSE-WEIGHTS") for name in names)
    assert {name.split("/")[0].split("-")[0] for name in names} == {
        "edge_app",
        "ser_edge",
    }


def test_the_base_dependencies_are_the_edges_alone(wheel):
    bundle = zipfile.ZipFile(wheel)
    metadata = next(name for name in bundle.namelist() if name.endswith("/METADATA"))
    lines = bundle.read(metadata).decode().splitlines()
    base = {
        line.split(":")[1].split(">")[0].strip()
        for line in lines
        if line.startswith("Requires-Dist") and "extra ==" not in line
    }
    assert base == {"numpy", "openvino", "pillow", "soundfile", "soxr"}


def test_it_answers_from_the_wheel_alone_anywhere(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    code = "import sys; from edge_app.cli import main; print(main.__module__, file=sys.stderr);"
    done = subprocess.run(
        [sys.executable, "-c", code + "sys.exit(main())", "predict", "--format", "jsonl",
         SAMPLES[0]],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "compact"
