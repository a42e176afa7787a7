"""``edge-app completion``: a script for the user's shell."""

from __future__ import annotations

import argparse

from edge_app.commands import EXIT_OK, PROGRAM, make_parser
from ser_edge.commandline import completion


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    command.description = completion.DESCRIPTION.format(program=PROGRAM)
    completion.add_arguments(command)


def run(options: argparse.Namespace) -> int:
    print(completion.script(make_parser(), options.shell), end="")
    return EXIT_OK
