"""MkDocs hook: links to files beside docs/ lead to the repository; --help is put into pages."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

_OUTSIDE = re.compile(r"\]\(\.\./\.\./([^)]+)\)")
_HELP = re.compile(r"^<!-- help: (\S+) -->$", re.MULTILINE)
_MODULES = {"edge-app": "edge_app", "ser-edge": "ser_edge"}
_ROLE = re.compile(r":(?:mod|class|func|meth|data|attr|exc):(?=<code>)")
_VERB = re.compile(r"^ {2,4}([a-z][a-z-]+)  +\S", re.MULTILINE)


def on_page_markdown(markdown: str, *, config: Any, **_: Any) -> str:
    """``../../x`` -> a link to the repository; ``<!-- help: PROGRAM -->`` -> what it prints."""
    markdown = _OUTSIDE.sub(rf"]({config.extra['repository']}/blob/main/\1)", markdown)
    return _HELP.sub(lambda found: _reference(found[1]), markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Remove the roles of Sphinx that docstrings have before names."""
    return _ROLE.sub("", html)


def _reference(program: str) -> str:
    """The help of a program, and of each of its verbs under a heading."""
    text = _help(program)
    parts = [_fence(text)]
    for verb in _VERB.findall(text):
        parts += [f"### {program} {verb}", _fence(_help(program, verb))]
    return "\n\n".join(parts)


def _help(program: str, *verb: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", _MODULES[program], *verb, "--help"],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "90"},
    ).stdout.strip()


def _fence(text: str) -> str:
    return f"```text\n{text}\n```"
