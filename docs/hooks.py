"""MkDocs hook: links to files beside docs/ lead to the repository, and --help is put into pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

_OUTSIDE = re.compile(r"\]\(\.\./\.\./([^)]+)\)")
_HELP = re.compile(r"^<!-- help: (.+) -->$", re.MULTILINE)
_MODULES = {"edge-app": "edge_app", "ser-edge": "ser_edge"}


def on_page_markdown(markdown: str, *, config: Any, **_: Any) -> str:
    """``../../x`` -> a link to the repository; ``<!-- help: COMMAND -->`` -> what it prints."""
    markdown = _OUTSIDE.sub(rf"]({config.extra['repository']}/blob/main/\1)", markdown)
    return _HELP.sub(lambda found: _help(found[1]), markdown)


def _help(command: str) -> str:
    name, *rest = command.split()
    done = subprocess.run(
        [sys.executable, "-m", _MODULES[name], *rest, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "90"},
    )
    return f"```text\n{done.stdout.strip()}\n```"
