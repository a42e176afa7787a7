"""What the scripts here share: each is a command of ``ser-edge`` or ``edge-app``, from a clone."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn


def run(
    verb: str, arguments: Sequence[str] | None = None, program: str = "ser_edge.__main__:run"
) -> NoReturn:
    """Run a verb with the script's arguments, or with others, and exit with its status."""
    module, _, function = program.partition(":")
    try:
        main = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        if error.name not in ("ser_edge", "edge_app"):
            raise
        print(
            f"{sys.argv[0]}: ser-edge is not installed for {sys.executable}: `make .venv/.done` "
            f"sets it up, then run .venv/bin/python {sys.argv[0]}",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(main([verb, *(sys.argv[1:] if arguments is None else arguments)]))
