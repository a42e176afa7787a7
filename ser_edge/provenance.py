"""Where a result comes from: code, command, machine, time."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path


def git_revision() -> str:
    """Revision of the checkout this code lies in, ``-dirty`` if changed; else ``unknown``."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip() or "unknown"


def provenance() -> dict[str, str]:
    """Command, revision, Python, processor and UTC time of the running program.

    Paths outside the working folder are cut to their last part: what is recorded is published.
    """
    return {
        "command": " ".join(_without_machine_path(word) for word in sys.argv),
        "git_revision": git_revision(),
        "python": platform.python_version(),
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
    }


def _without_machine_path(word: str) -> str:
    inside = os.path.relpath(word) if os.path.isabs(word) else word
    return os.path.basename(inside) if inside.startswith("..") else inside


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
