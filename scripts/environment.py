#!/usr/bin/env python3
"""Make a virtual environment from a lock file and install this project into it.

It needs nothing but Python: pip itself comes from the lock, and what builds the project, too. Every
package is checked against its hash.

torch on PyPI for Linux brings CUDA's libraries, which a machine without an NVIDIA GPU has no use
for: 3.8 of 6.4 GB. PyTorch's own index has the same version without them. Where there is no NVIDIA
GPU and that index can be reached, torch comes from there (exact versions, but no hashes: the lock
has PyPI's); --torch cuda and --torch cpu choose without asking. What was chosen is said.

examples:
  scripts/environment.py .venv-edge requirements/edge.txt
  scripts/environment.py .venv requirements/dev.txt --editable --torch cpu
  scripts/environment.py .venv requirements/all.txt --editable --update

exit status: 0 all well, 1 something could not be installed, 2 wrong usage
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CPU_INDEX: Final = "https://download.pytorch.org/whl/cpu"
TORCH: Final = ("torch", "torchaudio", "torchvision")
CUDA: Final = re.compile(r"nvidia-|cuda-|triton$")
"""Packages that torch's CUDA build asks for and its CPU build does not."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="of the environment; it is made anew")
    parser.add_argument("lock", type=Path, help="one of requirements/*.txt")
    parser.add_argument("--editable", action="store_true", help="the project as it lies here")
    parser.add_argument("--update", action="store_true", help="add to what is there")
    parser.add_argument(
        "--torch",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="which build of torch on Linux (default: auto, see above)",
    )
    parser.add_argument(
        "--torch-index",
        default=CPU_INDEX,
        metavar="URL",
        help=f"where builds without CUDA are (default: {CPU_INDEX})",
    )
    options = parser.parse_args()
    if not options.lock.is_file():
        parser.error(f"{options.lock} is not there; requirements/ has the lock files")
    began = time.monotonic()
    try:
        install(options)
    except subprocess.CalledProcessError as error:
        print(f"{parser.prog}: pip ended with exit status {error.returncode}", file=sys.stderr)
        return 1
    files = (path for path in options.folder.rglob("*") if path.is_file())
    size = sum(path.lstat().st_size for path in files) / 1e9
    print(f"{options.folder}: {size:.1f} GB, in {time.monotonic() - began:.0f} s", flush=True)
    return 0


def install(options: argparse.Namespace) -> None:
    folder: Path = options.folder
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (options.update and python.exists()):
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    wanted = locked(options.lock.read_text())
    from_index = None
    if "torch" in wanted and sys.platform == "linux":
        from_index = cpu_index(options.torch, options.torch_index)
    now = folder / "lock.txt"

    def pip(*words: str | Path) -> None:
        command = [python, "-m", "pip", "install", "--disable-pip-version-check", *words]
        subprocess.run(list(map(str, command)), check=True)

    def from_lock(names: set[str]) -> None:
        now.write_text("".join(text for name, text in wanted.items() if name in names))
        pip("--require-hashes", "--no-deps", "-r", now)

    from_lock({"pip"})  # an old one shows no progress where it takes minutes
    print(f"installing {len(wanted)} packages of {options.lock} ...", flush=True)
    rest = set(wanted) - {"pip"}
    if from_index:
        torch = [f"{name}=={release(wanted[name])}" for name in TORCH if name in wanted]
        pip("--no-deps", "--index-url", from_index, *torch)
        rest = {name for name in rest if name not in TORCH and not CUDA.match(name)}
    from_lock(rest)
    build = ["--no-build-isolation", "--no-deps"]
    pip("--quiet", *build, *(["--editable"] if options.editable else []), ROOT)


def locked(text: str) -> dict[str, str]:
    """Names of packages, and all the lines that a lock file has of each."""
    found: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        if line[0].isalnum():
            name = line.split("==")[0]
            found.setdefault(name, "")
        if name and not line.startswith("#"):
            found[name] += line
    return found


def release(lines: str) -> str:
    """The version in the lines of a package that has one for all Pythons and systems."""
    (version,) = {line.split("==")[1].split()[0] for line in lines.splitlines() if "==" in line}
    return version


def cpu_index(choice: str, index: str) -> str | None:
    """Where torch comes from without CUDA, or None for PyPI's build; what was decided is said."""
    if choice == "cuda":
        return None
    if choice == "auto":
        if platform.machine() not in ("x86_64", "aarch64"):
            return None
        if shutil.which("nvidia-smi"):
            print("torch: with CUDA's libraries, for the NVIDIA GPU here (--torch cpu: without)")
            return None
        try:
            urllib.request.urlopen(f"{index}/torch/", timeout=10).close()
        except (OSError, urllib.error.URLError) as error:
            print(
                f"torch: PyPI's build, with 3.4 GB of CUDA's libraries: {index} has one without, "
                f"but cannot be reached ({getattr(error, 'reason', error)})"
            )
            return None
    print(f"torch: without CUDA's libraries, from {index} (TORCH=cuda: with them)", flush=True)
    return index


if __name__ == "__main__":
    sys.exit(main())
