"""Nothing is sent: OpenVINO and NNCF are imported without their telemetry, and nothing forks."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from conftest import ROOT

# Says which forks there were; what subprocess starts is none.
WATCH = """
import os, sys, traceback
os.register_at_fork(before=lambda: print("".join(traceback.format_stack())))
"""
LEFT = "print(*(name for name in sys.modules if name.startswith('openvino_telemetry')))"


@pytest.mark.parametrize(
    "code",
    [
        "from edge_app.inference import devices; devices.runtime_version(); devices.new_core()",
        "from ser_edge.export.onnx import to_onnx\n"
        "from ser_edge.export.openvino import to_openvino\n"
        "from ser_edge.export.quantize import quantize\n"
        "import numpy as np, torch\n"
        "from pathlib import Path\n"
        "net = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(),\n"
        "                          torch.nn.Linear(4 * 14 * 14, 8)).eval()\n"
        "to_onnx(net, (16, 16), Path('net.onnx'))\n"
        "model = to_openvino(Path('net.onnx'))\n"
        "quantize(model, [np.zeros((16, 16), np.uint8)] * 3)",
    ],
    ids=["run", "convert and quantize"],
)
def test_nobody_is_told_and_nothing_forks(code, tmp_path):
    try:
        version("openvino-telemetry")
    except PackageNotFoundError:
        pytest.skip("this OpenVINO came without its telemetry")
    end = f"\n{LEFT}\nimport openvino_telemetry"  # whoever else wants it can have it
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WATCH + code + end],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1:] == [""], done.stdout


def loud(path: Path) -> list[int]:
    """Lines that import OpenVINO or NNCF outside ``with without_telemetry()``."""
    found: list[int] = []

    def visit(node: ast.AST, quiet: bool) -> None:
        if isinstance(node, ast.With):
            quiet |= any("without_telemetry" in ast.unparse(item) for item in node.items)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        tops = {name.split(".")[0] for name in names}
        if tops & {"openvino", "openvino_genai", "openvino_tokenizers", "nncf"} and not quiet:
            found.append(node.lineno)
        for child in ast.iter_child_nodes(node):
            visit(child, quiet)

    visit(ast.parse(path.read_text()), False)
    return found


@pytest.mark.unit
@pytest.mark.parametrize("folder", ["ser_edge", "edge_app", "scripts", "benchmarks"])
def test_they_are_imported_quietly_everywhere(folder):
    paths = (ROOT / folder).rglob("*.py")
    assert {path.name: lines for path in paths if (lines := loud(path))} == {}
