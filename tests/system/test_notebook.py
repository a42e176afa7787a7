"""The notebook: as it lies in the repository, and run whole, quickly."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from conftest import ROOT

NOTEBOOK = ROOT / "notebooks" / "first-model.ipynb"
QUICK_ACTORS = (1, 2, 3, 5, 7, 9, 10, 12, 16, 20)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Run it in a kernel of its own: the notebook with its outputs."""
    pytest.importorskip("ipykernel", reason="needs the extra notebook")
    nbclient = pytest.importorskip("nbclient", reason="needs the extra notebook")
    nbformat = pytest.importorskip("nbformat", reason="needs the extra notebook")

    def execute(ravdess: Path) -> tuple[Any, Path]:
        for name, value in (
            ("SER_NOTEBOOK_QUICK", "1"),
            ("SER_NOTEBOOK_WORK", str(tmp_path / "work")),
            ("SER_RAVDESS", str(ravdess)),
            ("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])),
            ("MPLCONFIGDIR", str(tmp_path / "matplotlib")),
            ("IPYTHONDIR", str(tmp_path / "ipython")),
        ):
            monkeypatch.setenv(name, value)
        notebook = nbformat.read(NOTEBOOK, as_version=4)
        client = nbclient.NotebookClient(
            notebook, timeout=1800, resources={"metadata": {"path": str(NOTEBOOK.parent)}}
        )
        client.execute()  # a cell that fails raises
        return notebook, tmp_path / "work"

    return execute


def printed(notebook: Any) -> str:
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    return "".join(o["text"] for o in outputs if o["output_type"] == "stream")


def drawings(notebook: Any) -> int:
    outputs = [o for cell in notebook.cells for o in cell.get("outputs", ())]
    return sum(bool({"image/svg+xml", "image/png"} & o.get("data", {}).keys()) for o in outputs)


def test_it_is_kept_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert len(code) >= 12
    for cell in code:
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
        assert len(cell["source"]) <= 22  # short enough to be read


def test_it_holds_no_logic_of_its_own():
    notebook = json.loads(NOTEBOOK.read_text())
    code = "".join(
        "".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"
    )
    assert "import torch" not in code
    assert "import matplotlib" not in code
    assert "import openvino" not in code
    assert "class " not in code


def test_it_runs_where_there_is_nothing_but_the_repository(run, tmp_path):
    notebook, work = run(tmp_path / "nowhere")
    text = printed(notebook)
    assert "on TOY voices: no figure below means anything" in text
    assert "320 toy clips" in text
    assert "honest: UAR" in text
    assert "LEAKY:  UAR" in text
    assert "FP16     UAR" in text
    assert "INT8     UAR" in text
    # clip, gallery, folds, two curves, confusion, scores, why, scores of the shipped model
    assert drawings(notebook) == 9
    for made in ("FP16/first.xml", "INT8/first.xml", "first.onnx"):
        assert (work / "toy" / made).is_file()
    assert json.loads((work / "toy" / "run-random" / "metrics.json").read_text())["leaky"]
    honest = json.loads((work / "toy" / "run-1" / "metrics.json").read_text())
    assert honest["speakers"]["test"] == ["ravdess-01", "ravdess-20"]
    assert not set(honest["speakers"]["train"]) & set(honest["speakers"]["test"])


def test_it_runs_on_ravdess(run, ravdess, tmp_path):
    for actor in QUICK_ACTORS:
        folder = tmp_path / "part" / f"Actor_{actor:02d}"
        folder.mkdir(parents=True)
        # The first sentence, once, in both intensities.
        for path in (ravdess / folder.name).glob("03-01-*-*-01-01-*"):
            (folder / path.name).symlink_to(path)
    notebook, work = run(tmp_path / "part")
    text = printed(notebook)
    assert f"on {tmp_path / 'part'}" in text
    assert "TOY" not in text
    assert drawings(notebook) == 9
    figures = json.loads((work / "ravdess" / "run-1" / "metrics.json").read_text())["figures"]
    assert figures["test"]["clips"] == 30
