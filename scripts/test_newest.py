#!/usr/bin/env python3
"""Run the tests with the newest releases of everything, without the lock: what broke what?

pip resolves pyproject.toml's ranges into an environment of its own. The unit and component tests
run there, then those that failed run again with one direct dependency after another put back to the
release of requirements/dev.txt: what then passes was broken by that package. The extra
speech-encoders is left out: its three packages are pinned because most other releases of them do
not load beside each other. Not part of CI; it is run before each release.

example:
  make test-newest
  scripts/test_newest.py .venv-newest .venv

exit status: 0 all tests pass, 1 some package broke some test
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from environment import ROOT

TOGETHER: Final = {"torchvision": "torch"}
"""Packages that can only be put back with another one."""


class Environment:
    """An environment that is there.

    Parameters
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        self._python = folder.resolve() / "bin" / "python"
        self._cache = folder.resolve() / "pytest-cache"

    def pip(self, *words: str) -> None:
        """Install."""
        subprocess.run([self._python, "-m", "pip", "install", *words], cwd=ROOT, check=True)

    def releases(self) -> dict[str, str]:
        """What is installed."""
        done = subprocess.run(
            [self._python, "-m", "pip", "list", "--format", "json"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        return {_name(entry["name"]): entry["version"] for entry in json.loads(done.stdout)}

    def failing(self, tests: list[str]) -> list[str]:
        """Those that do not pass of some tests, or of all, as pytest names them."""
        last = self._cache / "v" / "cache" / "lastfailed"
        last.unlink(missing_ok=True)
        done = subprocess.run(
            [self._python, "-m", "pytest", "-m", "unit or component", "--numprocesses", "auto",
             "--quiet", "--tb", "line", "-o", f"cache_dir={self._cache}", *tests],
            cwd=ROOT, check=False,
        )  # fmt: skip
        if last.exists():
            return sorted(json.loads(last.read_text()))
        done.check_returncode()  # it did not come to a test: that is no pass
        return []


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the environment; it is made anew")
    parser.add_argument("locked", type=Path, help="environment of the lock file, to compare with")
    options = parser.parse_args()
    try:
        return compared(options.folder, options.locked)
    except subprocess.CalledProcessError as error:
        print(f"{parser.prog}: {error}; what is above says why", file=sys.stderr)
        return 1


def compared(folder: Path, locked: Path) -> int:
    """Install, test, put back, and tell; the exit status."""
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    place = Environment(folder)
    place.pip("--upgrade", "pip")
    place.pip("--upgrade", "--upgrade-strategy", "eager", "--editable", ".[dev]")
    old, new = Environment(locked).releases(), place.releases()
    newer = {name: (old[name], new[name]) for name in old if new.get(name, old[name]) != old[name]}
    failed = place.failing([])
    blamed: dict[str, list[str]] = {}
    left = failed
    for name in [name for name in direct_dependencies() if name in newer]:
        if not left:
            break
        group = [name, *(other for other, head in TOGETHER.items() if head == name)]
        if name in TOGETHER:
            continue
        place.pip(*(f"{member}=={newer[member][0]}" for member in group if member in newer))
        still = place.failing(left)
        blamed[name] = [test for test in left if test not in still]
        left = still
        place.pip(*(f"{member}=={newer[member][1]}" for member in group if member in newer))

    print(f"\n{len(newer)} packages are of other releases than in {locked}:")
    for name, (before, after) in sorted(newer.items()):
        print(f"  {name:28} {before:>14} -> {after}")
    for name, tests in blamed.items():
        for test in tests:
            print(f"{name} {newer[name][1]} breaks {test}")
    for test in left:
        print(f"no direct dependency alone breaks {test}")
    print(f"{len(failed)} of the tests fail" if failed else "all tests pass")
    return 1 if failed else 0


def direct_dependencies() -> list[str]:
    """Packages that pyproject.toml names."""
    named = re.findall(r'^  "([A-Za-z][\w.-]*)[<>=]', (ROOT / "pyproject.toml").read_text(), re.M)
    return list(dict.fromkeys(map(_name, named)))


def _name(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


if __name__ == "__main__":
    sys.exit(main())
