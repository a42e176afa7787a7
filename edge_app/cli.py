"""``edge-app``: the command line. It parses, and calls the command.

What is imported here is little, and the rest only when it is needed: ``--version`` and the help
answer at once, and Ctrl-C is quiet from the beginning.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from typing import Any

from edge_app.commands import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    PROGRAM,
    make_parser,
)
from edge_app.commands.interrupts import leaving_on_interrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; those of this process by default.

    Returns
    -------
    int
        0 success, 1 some item failed, 130 interrupted. Wrong usage raises SystemExit with 2.
    """
    with leaving_on_interrupt():
        options = _parsed(sys.argv[1:] if arguments is None else list(arguments))
    if sys.stdout is None:  # closed by the caller
        return EXIT_FAILED
    _survive_odd_names(sys.stdout)
    try:
        return int(options.run(options))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:  # of standard output: those of sounds are AudioErrors
        # What is still in the buffer must not be tried again when Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader (head, less) has enough
            return EXIT_OK
        print(f"{PROGRAM}: error: the answers cannot be written: {error}", file=sys.stderr)
        return EXIT_FAILED


def _parsed(arguments: Sequence[str]) -> Any:
    chosen = next((each for each in arguments if not each.startswith("-")), "")
    parser = make_parser([chosen])
    if not arguments:
        parser.print_help()
        parser.exit()
    options = parser.parse_args(arguments)
    if hasattr(options, "verbosity"):
        from edge_app.commands.terminal import start_log

        start_log(options)
    return options


def _survive_odd_names(stream: object) -> None:
    """Names of files may hold bytes that are not UTF-8; printing them must not fail."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")
