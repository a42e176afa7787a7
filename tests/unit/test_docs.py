"""README and docs/: what they name is there, and what names them names their place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FOLDERS = (
    "benchmarks", "configs", "deploy", "edge_app", "notebooks", "scripts", "ser_edge", "tests",
)  # fmt: skip
SUFFIXES = (".py", ".yaml", ".yml", ".md", ".sh", ".ipynb", ".service", ".env", ".html", "")
MADE = ("configs/mine.yaml", "configs/short.yaml", "ser_edge/corpora/cafe.py")
"""Files that a reader makes."""


def sources() -> Iterator[Path]:
    """Files of the repository that may name a document."""
    yield ROOT / "Makefile"
    yield ROOT / "README.md"
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in SUFFIXES and "__pycache__" not in path.parts:
                yield path


def test_a_document_is_where_it_is_said_to_be():
    wrong = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources()
        for name in re.findall(r"\bdocs/[\w/-]+\.(?:md|png)\b", path.read_text(errors="replace"))
        if not (ROOT / name).exists()
    ]
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_page_names_files_that_there_are(page):
    text = page.read_text()
    named = set(re.findall(rf"\b(?:{'|'.join(FOLDERS)})/[\w/-]+\.(?:py|yaml|sh|md|env)\b", text))
    assert [name for name in sorted(named - set(MADE)) if not (ROOT / name).exists()] == []
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_prose_is_wrapped_at_100(page):
    prose = re.sub(r"^( *)```.*?^\1```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    prose = re.sub(r"<!-- (\S+):begin -->.*<!-- \1:end -->", "", prose, flags=re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > 100 and " " in line[:100].strip()]
    assert [line for line in long if not line.lstrip().startswith(("|", "- [", "!["))] == []


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) < 120
