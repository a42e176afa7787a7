"""``edge-app``: the command line. It parses and calls."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence

from edge_app.commands import COMMANDS
from edge_app.commands.options import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK
from ser_edge import __version__


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 all well, 1 some item failed, 2 wrong usage.
    """
    parser = argparse.ArgumentParser(
        prog="edge-app", description="Hear emotion in voices with an OpenVINO model."
    )
    parser.add_argument("--version", action="version", version=f"ser-edge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    options = parser.parse_args(arguments)
    if sys.stdout is None:  # closed by the caller
        return EXIT_FAILED
    _survive_odd_names(sys.stdout)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:  # of the sink: those of sounds are AudioErrors
        # What is still in the buffer must not be tried again when Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader (head, less) has enough
            return EXIT_OK
        print(f"{parser.prog}: the answers cannot be written: {error}", file=sys.stderr)
        return EXIT_FAILED


def _survive_odd_names(stream: object) -> None:
    """Names of files may hold bytes that are no UTF-8; printing them must not fail."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
