"""A short form of benchmarks/serverload.py: the server stays usable under load."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from conftest import ROOT


def test_sixty_clients_of_all_kinds_are_answered_or_rejected(tmp_path):
    out = tmp_path / "load.json"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "serverload.py", "--clients", "60", "--seconds",
         "2.5", "--out", out],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    report = json.loads(out.read_text())
    assert (report["wrong"], done.returncode) == ([], 0), done.stderr
    assert "Traceback" not in done.stderr
    assert report["statuses"]["200"] > 0
    assert report["statuses"].get("503", 0) + report["statuses"].get("429", 0) > 0
    assert {"raw", "in_form", "slow", "cut", "wrong_type"} <= set(report["by_kind"])
