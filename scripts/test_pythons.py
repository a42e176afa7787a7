#!/usr/bin/env python3
"""Install the edge app, run the demo and the unit tests on every Python that is found.

Looked for are python3.10 to python3.15 on the PATH and in pyenv's versions. Each gets an
environment of its own from the lock files: first the edge's, which classifies the samples, then
what the unit tests need beside it.

examples:
  make test-pythons
  scripts/test_pythons.py .venv-pythons --python /usr/bin/python3.14

exit status: 0 all well on each, 1 something failed on one
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from environment import ROOT

MINORS: Final = range(10, 16)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="for the environments, one each")
    parser.add_argument("--python", nargs="+", help="these alone (default: all that are found)")
    options = parser.parse_args()
    results = {}
    for python in options.python or found():
        name = version(python)
        results[name] = tried(python, options.folder / name)
        print(f"Python {name}: {results[name]}", flush=True)
    print("\n" + "\n".join(f"Python {name:8} {result}" for name, result in results.items()))
    return 0 if results and all(result == "passed" for result in results.values()) else 1


def found() -> list[str]:
    """The newest of each minor release."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    pythons = []
    for minor in MINORS:
        name = f"python3.{minor}"
        here = [shutil.which(name), *sorted(pyenv.glob(f"versions/3.{minor}.*/bin/{name}"))]
        working = [str(path) for path in here if path and version(str(path))]
        pythons += working[-1:]
    return pythons


def version(python: str) -> str:
    """As 3.12.1; empty where it does not start, as pyenv's shims of what is not switched on."""
    done = subprocess.run(
        [python, "-c", "import platform; print(platform.python_version())"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout.strip()


def tried(python: str, folder: Path) -> str:
    """``passed``, or what failed."""
    script = ROOT / "scripts" / "environment.py"
    scripts = folder / ("Scripts" if os.name == "nt" else "bin")
    steps: dict[str, list[str | Path]] = {
        "edge install": [python, script, folder, "requirements/edge.txt"],
        "demo": [scripts / "edge-app", "predict", "samples"],
        "test install": [python, script, folder, "requirements/unit.txt", "--update"],
        # The installed package is tested, so no editable one and no working folder on the path.
        "unit tests": [scripts / "pytest", "-m", "unit", "--numprocesses", "auto", "--quiet",
                       "-p", "no:cacheprovider"],
    }  # fmt: skip
    for name, command in steps.items():
        if subprocess.run(list(map(str, command)), cwd=ROOT, check=False).returncode:
            return f"{name} failed"
    return "passed"


if __name__ == "__main__":
    sys.exit(main())
