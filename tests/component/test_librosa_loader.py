"""librosa's compiled functions: each process writes to a folder of its own, the fullest is kept."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("librosa")

CODE = """
import os, sys
from ser_edge.audio.librosa_loader import VARIABLE, load_librosa
librosa = load_librosa()
print(os.environ[VARIABLE], flush=True)
if sys.argv[1:]:
    import numpy
    librosa.util.localmax(numpy.arange(9.0))  # compiled at its first call
    input()
"""


def start(cache: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return subprocess.Popen(
        [sys.executable, "-c", CODE, *words],
        env={**kept, "SER_EDGE_CACHE": str(cache), **environment},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_processes_share_no_folder_and_keep_the_fullest(tmp_path):
    with start(tmp_path, "compile") as first, start(tmp_path, "compile") as second:
        assert first.stdout is not None
        assert second.stdout is not None
        folders = {first.stdout.readline(), second.stdout.readline()}
        assert len(folders) == 2
        first.communicate("\n")
        second.communicate("\n")
    (kept,) = tmp_path.iterdir()  # nothing else is left
    before = names(kept)
    assert any(name.endswith(".nbc") for name in before)
    with start(tmp_path) as third:
        third.communicate()
    assert [names(folder) for folder in tmp_path.iterdir()] == [before]


def test_whoever_sets_the_folder_decides(tmp_path):
    chosen = str(tmp_path / "chosen")
    with start(tmp_path / "cache", NUMBA_CACHE_DIR=chosen) as process:
        assert process.communicate()[0] == f"{chosen}\n"
    assert not (tmp_path / "cache").exists()
