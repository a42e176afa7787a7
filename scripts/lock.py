#!/usr/bin/env python3
"""Renew the lock files in requirements/: exact versions with hashes, for every Python and system.

make demo, make test, make test-all and make test-legacy install from them, so that what passes its
tests today does so in a year. One resolution holds for all: edge, unit and dev are parts of it. Run
it before a release, then the tests, and commit what has changed.

example:
  make lock
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "requirements"
OLDEST_PYTHON: Final = "3.10"
UV: Final = "0.13.9"
"""The resolver, installed for this alone: another release may write another file."""

LEGACY_OPENVINO: Final = "2022.3.2"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--keep", action="store_true", help="keep versions that still fit")
    keep = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        subprocess.run([sys.executable, "-m", "venv", folder / "uv"], check=True)
        subprocess.run([folder / "uv/bin/pip", "install", "--quiet", f"uv=={UV}"], check=True)
        uv = folder / "uv/bin/uv"
        # What builds the project, and the pip that installs it, are pinned with the rest.
        tools = folder / "tools.in"
        tools.write_text("\n".join(["pip", *_build_requirements()]) + "\n")
        every = FOLDER / "all.txt"
        extras = ("dev-all", "speech-encoders")
        universal = ("--universal", "--python-version", OLDEST_PYTHON)
        _compile(uv, every, tools, extras, *universal, upgrade=not keep)
        within = (*universal, "--constraints", every)
        _compile(uv, FOLDER / "dev.txt", tools, ("dev", "speech-encoders"), *within)
        _compile(uv, FOLDER / "unit.txt", tools, ("dev-unit",), *within)
        _compile(uv, FOLDER / "edge.txt", tools, (), *within)
        old = folder / "old.in"
        old.write_text(f"openvino=={LEGACY_OPENVINO}\n")
        linux = ("--python-version", OLDEST_PYTHON, "--python-platform", "x86_64-manylinux_2_28")
        _compile(uv, FOLDER / "legacy.txt", tools, (), *linux, old)
    return 0


def _build_requirements() -> list[str]:
    """``build-system.requires`` of pyproject.toml, which Python 3.10 has no parser for."""
    (line,) = (
        line
        for line in (ROOT / "pyproject.toml").read_text().splitlines()
        if line.startswith("requires = ")
    )
    return line.split('"')[1::2]


def _compile(
    uv: Path,
    out: Path,
    tools: Path,
    extras: tuple[str, ...],
    *words: str | Path,
    upgrade: bool = True,
) -> None:
    print(f"{out.relative_to(ROOT)} ...", flush=True)
    subprocess.run(
        [
            uv, "pip", "compile", "--quiet", "--no-python-downloads", "--generate-hashes",
            "--no-annotate", "--custom-compile-command", "make lock",
            *(["--upgrade"] if upgrade else []),
            *(word for extra in extras for word in ("--extra", extra)),
            *words, "pyproject.toml", tools, "--output-file", out,
        ],
        cwd=ROOT,
        check=True,
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
