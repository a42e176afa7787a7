#!/usr/bin/env python3
"""Make an environment with OpenVINO 2022.3.2 under Python 3.10, the only pair that runs it today.

example:
  scripts/legacy_env.py .venv-legacy
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    python = next(filter(_is_3_10, _candidates()), None)
    if python is None:
        print("no Python 3.10 found (on the PATH or in pyenv's versions)", file=sys.stderr)
        return 1
    root = Path(__file__).resolve().parent.parent
    script, lock = root / "scripts" / "environment.py", root / "requirements" / "legacy.txt"
    return subprocess.run([python, script, folder, lock], check=False).returncode


def _candidates() -> Iterator[str]:
    for name in ("python3.10", "python3"):
        found = shutil.which(name)
        if found:
            yield found
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob("versions/3.10*/bin/python3.10"), reverse=True))


def _is_3_10(python: str) -> bool:
    # pyenv's shims exist for versions that are not switched on, and fail when called.
    asked = subprocess.run(
        [python, "-c", "import sys; print(sys.version_info[:2] == (3, 10))"],
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() == "True"


if __name__ == "__main__":
    sys.exit(main())
