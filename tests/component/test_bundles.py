"""Speech encoders without torchaudio, or with one that does not load; all else does without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from conftest import ROOT
from ser_edge.nets import ssl_bundles

INSTALL = r"pip install 'ser-edge\[speech-encoders\]'"


def test_without_torchaudio_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchaudio", None)
    with pytest.raises(ValueError, match=f"speech encoders need torchaudio: {INSTALL}"):
        ssl_bundles.find_bundle("RANDOM_WAVLM")


def test_one_that_was_built_for_another_torch_is_told_so(monkeypatch, tmp_path):
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text(
        "raise OSError('Could not load this library: libtorchaudio.so')"
    )
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(ssl_bundles, "version", lambda name: "2.11.1")
    message = r"torchaudio 2\.11\.1 does not load beside torch .*libtorchaudio\.so.*" + INSTALL
    with pytest.raises(ValueError, match=message):
        ssl_bundles.bundle_names()


def test_every_module_can_be_imported_without_torchaudio():
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "ser_edge").rglob("*.py"))
    ]
    code = "import sys, importlib; sys.modules['torchaudio'] = None\n"
    code += f"for name in {names}: importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
