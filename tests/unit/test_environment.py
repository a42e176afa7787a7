"""Lock files and the script that installs from them."""

from __future__ import annotations

import ensurepip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, unquote

import pytest

from conftest import ROOT

sys.path.insert(0, str(ROOT / "scripts"))
import environment

LOCKS = {path.stem: path for path in sorted((ROOT / "requirements").glob("*.txt"))}
PROJECT = (ROOT / "pyproject.toml").read_text()


def packages(lock: str) -> dict[str, str]:
    return environment.locked(LOCKS[lock].read_text())


def releases(lock: str) -> set[str]:
    """As ``numpy==2.4.6``."""
    lines = LOCKS[lock].read_text().splitlines()
    return {line.split()[0] for line in lines if line[0].isalnum()}


def extra(name: str) -> list[str]:
    """What an extra of pyproject.toml lists."""
    found = re.search(rf"^{name} = \[(.*?)\]$", PROJECT, re.MULTILINE | re.DOTALL)
    return re.findall(r'"([^"]+)"', found[1])


def test_there_is_one_for_every_environment():
    texts = [path.read_text() for path in (ROOT / "Makefile", *(ROOT / "scripts").glob("*.py"))]
    used = set(re.findall(r"requirements/(\w+)\.txt", "\n".join(texts))) | {"legacy"}
    assert used == set(LOCKS)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_release_is_exact_and_has_hashes(lock):
    for name, lines in packages(lock).items():
        heads = [line for line in lines.splitlines() if line[0].isalnum()]
        assert all(re.match(rf"{re.escape(name)}==\S+", head) for head in heads)
        assert lines.count("--hash=sha256:") >= len(heads)
    assert not re.search(r"https?://|file:", LOCKS[lock].read_text())


def test_what_is_shipped_is_what_is_tested():
    assert releases("edge") <= releases("dev") <= releases("all")


@pytest.mark.parametrize("lock", LOCKS)
def test_pip_and_what_builds_the_project_are_locked_too(lock):
    (requires,) = re.findall(r"^requires = \[(.*)\]$", PROJECT, re.MULTILINE)
    builders = re.findall(r'"([\w-]+)', requires)
    assert {"pip", "hatchling", *builders} <= set(packages(lock))


def test_three_packages_that_fit_each_other_alone_are_pinned_alike_everywhere():
    pins = {pin for pin in extra("speech-encoders") if not pin.startswith("ser-edge")}
    assert pins == {"torch==2.11.0", "torchaudio==2.11.0", "torchvision==0.26.0"}
    for lock in ("dev", "all"):
        assert pins <= releases(lock)


def test_users_get_ranges():
    ranges = [line for name in ("train", "serve", "features") for line in extra(name)]
    assert ranges
    assert not [line for line in ranges if "==" in line]
    assert not [line for line in ranges if line.startswith("torchaudio")]


def test_lines_of_a_package_and_its_release():
    text = (
        "# by a tool\n"
        "numpy==2.2.6 ; python_full_version < '3.11' \\\n    --hash=sha256:aa\n"
        "numpy==2.4.6 ; python_full_version >= '3.11' \\\n    --hash=sha256:bb\n"
        "torch==2.11.0 \\\n    --hash=sha256:cc\n    # via nobody\n"
    )
    found = environment.locked(text)
    assert list(found) == ["numpy", "torch"]
    assert found["numpy"].count("hash") == 2
    assert environment.release(found["torch"]) == "2.11.0"


@pytest.mark.parametrize(
    ("name", "cuda"),
    [("nvidia-cublas", True), ("cuda-bindings", True), ("triton", True), ("torch", False),
     ("tritonclient", False), ("numpy", False)],
)  # fmt: skip
def test_what_a_torch_without_cuda_does_not_ask_for(name, cuda):
    assert bool(environment.CUDA.match(name)) is cuda


class Index(BaseHTTPRequestHandler):
    """Has torch without CUDA, and nothing else."""

    wheels: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        path = self.path.removeprefix("/cpu/torch/")
        links = "".join(f'<a href="{quote(name)}">{name}</a>' for name in self.wheels)
        content = self.wheels.get(unquote(path), b"")
        if self.path == "/cpu/torch/":
            content = f"<!DOCTYPE html><html><body>{links}</body></html>".encode()
        self.send_response(200 if self.path == "/cpu/torch/" or content else 404)
        self.send_header("Content-Type", "application/zip" if path else "text/html")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def index():
    server = HTTPServer(("127.0.0.1", 0), Index)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.component
def test_which_torch_is_taken_and_that_it_is_said(index, monkeypatch, capsys):
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(environment.shutil, "which", lambda name: None)
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    there = f"{index}/cpu"
    assert environment.cpu_index("auto", there) == there
    assert f"without CUDA's libraries, from {there}" in capsys.readouterr().out
    assert environment.cpu_index("auto", f"{index}/other") is None
    assert "cannot be reached (Not Found)" in capsys.readouterr().out
    assert environment.cpu_index("cuda", there) is None
    assert environment.cpu_index("cpu", f"{index}/other") == f"{index}/other"
    capsys.readouterr()
    monkeypatch.setattr(environment.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert environment.cpu_index("auto", there) is None
    assert "for the NVIDIA GPU here" in capsys.readouterr().out
    monkeypatch.setattr(environment.platform, "machine", lambda: "riscv64")
    assert environment.cpu_index("auto", there) is None


def wheel_of(name: str, release: str, folder: Path, requires: str = "") -> Path:
    """A package with nothing in it."""
    stem = f"{name}-{release}"
    path = folder / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as bundle:
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n{needs}"
        bundle.writestr(f"{stem}.dist-info/METADATA", head)
        bundle.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        bundle.writestr(f"{stem}.dist-info/RECORD", "")
    return path


BACKEND = """
import shutil
def build_wheel(folder, *_):
    return shutil.copy("own-1.0-py3-none-any.whl", folder).rsplit("/", 1)[-1]
"""


@pytest.fixture
def project(tmp_path, monkeypatch, index) -> Path:
    """A project with this script and a lock of four packages, where the usual index is empty."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    wheels = [
        wheel_of("torch", "2.11.0", shelf, requires="nvidia-cublas"),
        wheel_of("nvidia_cublas", "13.1", shelf),
        wheel_of("plain", "3.0", shelf),
        *(Path(shutil.copy(path, shelf)) for path in Path(ensurepip.__path__[0]).rglob("pip-*")),
    ]
    lock = ""
    for wheel in wheels:
        name, release = wheel.name.replace("_", "-").split("-py3")[0].rsplit("-", 1)
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        lock += f"{name}=={release} \\\n    --hash=sha256:{digest}\n"
    wheel_of("own", "1.0", tmp_path)
    (tmp_path / "backend.py").write_text(BACKEND)
    (tmp_path / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "own"\nversion = "1.0"\n'
    )
    (tmp_path / "scripts").mkdir()
    shutil.copy(environment.__file__, tmp_path / "scripts")
    (tmp_path / "lock.txt").write_text(lock)
    for name in ("PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", f"{index}/empty")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return tmp_path


def make(project: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "scripts/environment.py", "place", *words],
        capture_output=True, text=True, check=False, cwd=project,
    )  # fmt: skip


def installed(project: Path) -> set[str]:
    listed = subprocess.run(
        [project / "place/bin/python", "-m", "pip", "freeze", "--all"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return {line.split(" @")[0] for line in listed.splitlines()} - {"setuptools==65.5.0"}


@pytest.mark.system
@pytest.mark.skipif(os.name == "nt", reason="bin/python")
def test_an_environment_with_cuda_then_one_without(project, index, monkeypatch):
    done = make(project, "lock.txt", "--torch", "cuda")
    assert done.returncode == 0, done.stderr
    assert "installing 4 packages of lock.txt" in done.stdout
    (pip,) = (line for line in installed(project) if line.startswith("pip=="))
    assert installed(project) == {pip, "nvidia_cublas==13.1", "own", "plain==3.0", "torch==2.11.0"}

    wheel = wheel_of("torch", "2.11.0+cpu", project)
    monkeypatch.setattr(Index, "wheels", {wheel.name: wheel.read_bytes()})
    done = make(project, "lock.txt", "--torch", "cpu", "--torch-index", f"{index}/cpu")
    assert done.returncode == 0, done.stderr
    assert installed(project) == {pip, "own", "plain==3.0", "torch==2.11.0+cpu"}
    # Once more on top: nothing is left to do, and nothing is taken away.
    words = ("lock.txt", "--update", "--torch", "cpu", "--torch-index", f"{index}/cpu")
    assert make(project, *words).returncode == 0
    assert installed(project) == {pip, "own", "plain==3.0", "torch==2.11.0+cpu"}


@pytest.mark.system
@pytest.mark.skipif(os.name == "nt", reason="bin/python")
def test_what_cannot_be_is_one_line(project):
    done = make(project, "none.txt")
    assert done.returncode == 2
    assert "none.txt is not there; requirements/ has the lock files" in done.stderr
    done = make(project, "lock.txt", "--torch", "rocm")
    assert (done.returncode, "invalid choice: 'rocm'" in done.stderr) == (2, True)
    lock = project / "lock.txt"
    spoilt = re.sub(r"(plain==3.0 \\\n    --hash=sha256:)\w", r"\g<1>0", lock.read_text())
    spoilt = re.sub(r"(plain==3.0 \\\n    --hash=sha256:0)\w", r"\g<1>0", spoilt)
    lock.write_text(spoilt)
    done = make(project, "lock.txt", "--torch", "cuda")
    assert done.returncode == 1
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert done.stderr.splitlines()[-1] == "environment.py: pip ended with exit status 1"
