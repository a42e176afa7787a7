"""What is written to standard error: errors, warnings and, in a terminal, progress."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Final, TextIO

WIPE: Final = "\r\x1b[K"
"""Empties the terminal's line, where progress may be."""

_STYLES: Final = {"error": "1;31", "warning": "33"}
_LOGGERS: Final = ("edge_app", "ser_edge")


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a stream is a terminal that understands escape sequences."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def complain(options: argparse.Namespace, message: str, kind: str = "error") -> None:
    """Write ``edge-app COMMAND: error: message`` to stderr, in colour in a terminal.

    Parameters
    ----------
    options : Namespace
        Of the command that runs.
    message : str
        One sentence that names file or value.
    kind : str
        ``error``, or ``warning``, which ``--quiet`` leaves out.
    """
    if kind == "warning" and getattr(options, "verbosity", 0) < 0:
        return
    _write(options.command.prog, kind, message)


def start_log(options: argparse.Namespace) -> None:
    """Show log records on stderr: warnings; with ``-v`` information too, with ``-q`` errors alone.

    A command that is a service has ``options.service``: its records have the time and include
    information. Records of other libraries are shown from warnings on.
    """
    service = getattr(options, "service", False)
    handler = logging.StreamHandler() if service else _Messages(options.command.prog)
    form = "%(asctime)s %(levelname)s %(message)s" if service else "%(message)s"
    handler.setFormatter(logging.Formatter(form))
    level = (logging.INFO if service else logging.WARNING) - 10 * options.verbosity
    handler.setLevel(level)
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    if level < logging.WARNING:
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(level)


class _Messages(logging.Handler):
    def __init__(self, prog: str) -> None:
        super().__init__()
        self._prog = prog

    def emit(self, record: logging.LogRecord) -> None:
        try:
            _write(self._prog, record.levelname.lower(), self.format(record))
        except Exception:
            self.handleError(record)


def _write(prog: str, kind: str, message: str) -> None:
    out = sys.stderr
    if out is None:
        return
    wipe, word = "", kind
    if is_terminal(out):
        wipe = WIPE
        if kind in _STYLES and not os.environ.get("NO_COLOR"):
            word = f"\x1b[{_STYLES[kind]}m{kind}\x1b[0m"
    # Names of files may hold bytes that are not UTF-8: stderr escapes them.
    out.write(f"{wipe}{prog}: {word}: {message}\n")
    out.flush()
