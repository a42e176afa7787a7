"""What the scripts here share: each is a verb of ``ser-edge`` under its old name."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import NoReturn


def run(verb: str, arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a verb with the script's arguments, or with others, and exit with its status."""
    try:
        from ser_edge import __main__ as program
    except ModuleNotFoundError as error:
        if error.name != "ser_edge":
            raise
        print(
            f"{sys.argv[0]}: ser-edge is not installed for {sys.executable}: `make .venv/.done` "
            f"sets it up, then run .venv/bin/python {sys.argv[0]}",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(program.run([verb, *(sys.argv[1:] if arguments is None else arguments)]))
