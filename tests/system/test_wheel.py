"""What pip installs: the edge app with the default IR, and nothing of the workshop."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string
from email.message import Message
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


@pytest.fixture(scope="module")
def metadata(wheel: Path) -> Message:
    bundle = zipfile.ZipFile(wheel)
    (name,) = (name for name in bundle.namelist() if name.endswith("/METADATA"))
    return message_from_string(bundle.read(name).decode())


def test_the_base_dependencies_are_the_edges_alone(metadata):
    base = {
        re.match(r"[\w-]+", line)[0]
        for line in metadata.get_all("Requires-Dist")
        if "extra ==" not in line
    }
    assert base == {"numpy", "openvino", "pillow", "soundfile", "soxr"}


def test_an_index_can_show_its_readme(metadata):
    """Pictures and links are whole: an index has no folder beside the text."""
    assert metadata["Description-Content-Type"] == "text/markdown"
    text = metadata.get_payload()
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", text)
    links = re.findall(r"(?<!!)\[[^\]]+\]\(([^)]+)\)", text)
    assert len(pictures) >= 2
    assert len(links) > 10
    assert all(re.match(r"https://raw\.githubusercontent\.com/.*\.png$", p) for p in pictures)
    assert all(link.startswith(("https://", "#")) for link in links)
    folder = "/ser-edge/ser-edge/blob/main/"
    files = [link.partition(folder)[2].partition("#")[0] for link in links if folder in link]
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_what_it_says_of_itself(metadata, wheel):
    urls = dict(line.split(", ") for line in metadata.get_all("Project-URL"))
    assert {"Homepage", "Documentation", "Source", "Issues"} <= set(urls)
    classifiers = metadata.get_all("Classifier")
    pythons = {line.rsplit(" ", 1)[1] for line in classifiers if ":: Python :: 3." in line}
    assert pythons == {"3.10", "3.11", "3.12", "3.13", "3.14"}
    assert "Typing :: Typed" in classifiers
    names = zipfile.ZipFile(wheel).namelist()
    assert {"ser_edge/py.typed", "edge_app/py.typed"} <= set(names)


def test_the_source_archive_holds_what_the_wheel_is_made_of(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path, ROOT],
        check=True,
        capture_output=True,
    )
    (archive,) = tmp_path.glob("ser_edge-*.tar.gz")
    with tarfile.open(archive) as held:
        held.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, source],
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    assert "edge_app/ir/compact/INT8/compact.xml" in zipfile.ZipFile(wheel).namelist()


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
