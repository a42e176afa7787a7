"""``ser-edge completion``: a script for the user's shell."""

from __future__ import annotations

import argparse
from typing import Final

from ser_edge.commandline import completion

DESCRIPTION: Final = completion.DESCRIPTION.format(program="ser-edge")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    completion.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from ser_edge.cli.main import make_parser

    print(completion.script(make_parser(), options.shell), end="")
    return 0
