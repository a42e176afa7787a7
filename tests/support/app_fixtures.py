"""Fixtures of tests of the edge app, loaded as a plugin by ``conftest.py``."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from edge_app import Classifier


@pytest.fixture(scope="session")
def classifier() -> Classifier:
    """The default model on the CPU."""
    from edge_app import Classifier

    return Classifier()


@pytest.fixture(scope="session")
def whisper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny Whisper model."""
    pytest.importorskip("openvino_genai", reason="no openvino-genai (extra transcribe)")
    from whisper_model import make_whisper

    return make_whisper(tmp_path_factory.mktemp("whisper") / "tiny-table")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the variables of an endpoint; without arguments, remove them."""
    from edge_app.language.llm_client import KEY_VARIABLE, MODEL_VARIABLE, URL_VARIABLE
    from language_model import KEY

    def name(url: str | None = None, model: str | None = "small", key: str | None = KEY) -> None:
        values = {URL_VARIABLE: url, MODEL_VARIABLE: model, KEY_VARIABLE: key}
        for variable, value in values.items():
            if value is None or url is None:
                monkeypatch.delenv(variable, raising=False)
            else:
                monkeypatch.setenv(variable, value)

    name()
    return name


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost and 127.0.0.1, and its key (PEM)."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    certificate, key = folder / "box.pem", folder / "box.key"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    return certificate, key
