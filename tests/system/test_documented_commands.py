"""README and docs/: every command in them is run, with small data, or says why it is not.

A block of commands runs in a copy of what a clone holds, beside a corpus of machine voices in place
of RAVDESS; the blocks of a page run in their order. ``<!-- not run: REASON -->`` above a block
leaves it out. :data:`SUBSTITUTIONS` is all that is changed in what is run.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from conftest import ROOT, SAMPLES
from ser_edge.data.toy_corpus import make_toy_corpus

PAGES: Final = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHELL: Final = ("bash", "console")
LANGUAGES: Final = (*SHELL, "python", "yaml", "json", "text", "sql", "ini", "diff")
REASONS: Final = ("needs ", "takes ", "tests/")
"""How a reason may begin."""

ACTORS: Final = (1, 2, 3, 5, 7, 9, 10, 11, 12)
"""Of fold 1: two to test on, two for choices, the others to train on."""

SHORT: Final = "--epochs 1 --batch-size 16 --accelerator cpu"
SUBSTITUTIONS: Final[tuple[tuple[str, str], ...]] = (
    # What make would run: the targets exist, and installing is not repeated.
    (r"^make ", "make -n "),
    # An epoch of a small network.
    (r"--epochs 100", ""),
    (r"^(ser-edge train .*)", rf"\1 {SHORT}"),
    (r"^(ser-edge evaluate .*)", rf"\1 {SHORT} --folds 1"),
    (r"^(ser-edge finetune .*)", r"\1 --epochs 1 --gate 40"),
    (r"--width 1\.5", "--width 0.6"),
    (r"^(ser-edge (?:train|evaluate) (?!.*--(?:net|width)).*)", r"\1 --width 0.5"),
    # What is small loses accuracy in INT8.
    (r"^(ser-edge export .*)", r"\1 --int8 plain --max-drop 1"),
    (r"^(ser-edge robustness runs.*)", r"\1 --only gain+6 not-speech --per-kind 1"),
    (r"^(ser-edge baseline .*)", r"\1 --folds 1 random --seeds 1"),
    # The server runs beside the page, on a free port.
    (r"^edge-app serve --open", "curl -fsS -o page.html http://127.0.0.1:8000/"),
    (r"//127\.0\.0\.1:8000/", "//127.0.0.1:{port}/"),
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its first line there, language, text, and why it is not run."""

    page: Path
    line: int
    language: str
    text: str
    reason: str

    def commands(self) -> list[str]:
        """Its commands with their continuation lines joined; of a console what follows ``$``."""
        text = self.text
        if self.language == "console":
            text = "\n".join(re.findall(r"^\$ (.*)$", text, re.MULTILINE))
        lines = text.replace("\\\n", " ").splitlines()
        without = (re.sub(r"(^|\s+)# .*", "", line).strip() for line in lines)
        return [line for line in without if line]


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, those in lists too."""
    found, above, opened, inside = [], "", None, []
    for number, line in enumerate(page.read_text().splitlines(), 1):
        fence = re.match(r"\s*```(\S*)", line)
        if fence and opened is None:
            opened, inside = (number, fence[1]), []
        elif fence and opened is not None:
            reason = re.fullmatch(r"<!-- not run: (.+) -->", above)
            text = textwrap.dedent("\n".join(inside))
            found.append(Block(page, opened[0] + 1, opened[1], text, reason[1] if reason else ""))
            opened, above = None, ""
        elif opened is not None:
            inside.append(line)
        elif line.strip():
            above = line.strip()
    return found


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


RUN: Final = [
    page
    for page in PAGES
    if any(b.language in (*SHELL, "python") and not b.reason for b in blocks(page))
]


@pytest.mark.unit
@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_block_has_a_language_and_a_reason_begins_as_reasons_do(page):
    for block in blocks(page):
        assert block.language in LANGUAGES, f"{page}:{block.line}"
        assert not block.reason or block.reason.startswith(REASONS), f"{page}:{block.line}"
    markers = len(re.findall(r"<!-- not run: ", page.read_text()))
    assert markers == sum(bool(block.reason) for block in blocks(page)), "a marker above no block"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a clone holds, with machine voices in place of RAVDESS, rendered."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("samples", "configs", "models", "ir", "docs", "notebooks", "deploy"):
        shutil.copytree(ROOT / name, folder / name)
    for name in ("scripts", "benchmarks", "requirements", "ser_edge", "edge_app"):
        (folder / name).symlink_to(ROOT / name)
    for name in ("Makefile", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder)
    corpus = folder / "data" / "ravdess"
    by_name = {path.stem: path for path in SAMPLES}
    men = [by_name["man-even"], by_name["man-loud-hard"]]
    women = [by_name["woman-soft-slow"], by_name["woman-bright-fast"]]
    make_toy_corpus(corpus, men, women, ACTORS)
    for clip in corpus.rglob("*.wav"):  # one sentence, once
        if not clip.stem[:-3].endswith("-01-01"):
            clip.unlink()
    clips = sorted(corpus.rglob("*.wav"))
    shutil.copy(folder / "samples" / "man-even.wav", folder / "clip.wav")
    shutil.copytree(folder / "samples", folder / "recordings")
    (folder / "anna").mkdir()
    for clip in clips[:16]:
        shutil.copy(clip, folder / "anna")
    for emotion, code in (("happy", "03"), ("sad", "04")):
        (folder / "my-voice" / emotion).mkdir(parents=True)
        for clip in clips:
            if clip.name.startswith(f"03-01-{code}-"):
                shutil.copy(clip, folder / "my-voice" / emotion)
    (folder / "mine.txt").write_text(
        "upset: sad angry fearful disgust\nfine: neutral, calm, happy\nother: surprised\n"
    )
    page = ROOT / "docs" / "how-to" / "experiments.md"
    short = next(b.text for b in blocks(page) if b.text.startswith("# configs/short.yaml"))
    (folder / "configs" / "short.yaml").write_text(short.replace("epochs: 20", "epochs: 1"))
    programs = folder / "bin"
    programs.mkdir()
    for program, module in (
        ("edge-app", "-m edge_app"),
        ("ser-edge", "-m ser_edge"),
        ("python", ""),
    ):
        path = programs / program
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        path.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def port(clone: Path) -> Iterator[int]:
    """A server as ``edge-app serve``, on a port of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = int(free.getsockname()[1])
    with subprocess.Popen(
        [sys.executable, "-m", "edge_app", "serve", "--port", str(number)],
        cwd=clone,
        env=environment(clone),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{number}/readyz", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield number
        server.send_signal(signal.SIGINT)


def environment(clone: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PATH": f"{clone / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(clone / "config"),
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")  # of libraries: users see them as warnings, not as errors
@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_commands_of_a_page_run(page, clone, request, monkeypatch, capfd):
    for name in ("runs", "scores"):  # of the page before
        shutil.rmtree(clone / name, ignore_errors=True)
    monkeypatch.chdir(clone)
    for name, value in environment(clone).items():
        monkeypatch.setenv(name, value)
    needed = "".join(block.text for block in blocks(page) if not block.reason)
    if "ser-edge" in needed and not (clone / "images").exists():
        assert run("ser-edge render data/ravdess images/ravdess --workers 1 -q", clone) == 0
    for block in blocks(page):
        if block.reason:
            continue
        here = f"{name_of(page)}:{block.line}"
        if block.language == "python":
            text = block.text
            if ":8000/" in text:
                text = text.replace(":8000/", f":{request.getfixturevalue('port')}/")
            done = subprocess.run([sys.executable, "-c", text], check=False)
            assert done.returncode == 0, f"{here}\n{''.join(capfd.readouterr())}"
        elif block.language in SHELL:
            for command in block.commands():
                for pattern, short in SUBSTITUTIONS:
                    command = re.sub(pattern, short, command)
                if "{port}" in command:
                    command = command.replace("{port}", str(request.getfixturevalue("port")))
                capfd.readouterr()
                assert run(command, clone) == 0, f"{here}: {command}\n{''.join(capfd.readouterr())}"


def run(command: str, clone: Path) -> object:
    """The exit status; ``ser-edge`` alone on a line runs in this process, which has torch.

    Not so ``experiments``: Ray forks the process that starts it.
    """
    words = shlex.split(command, comments=True)
    here = words[:1] == ["ser-edge"] and words[1:2] != ["experiments"]
    if not here or set(words) & {"|", ">", "<", ";", "&&"}:
        return subprocess.run(["bash", "-c", command], cwd=clone, check=False).returncode
    from ser_edge.cli.main import main

    try:
        return main(words[1:])
    except SystemExit as ended:
        return ended.code
