"""The commands of ``edge-app``, one module each: a new one is a module and a line below.

A module has ``add_arguments(command)``, which describes the command to its parser, and
``run(options)``, which returns its exit status. Only the module of the command that was asked for
is imported.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ser_edge.commandline.arguments import ArgumentParser

PROGRAM: Final = "edge-app"

COMMANDS: Final = {
    "predict": "files, folders, globs, standard input -> emotions",
    "listen": "a microphone or standard input -> emotions, live",
    "serve": "a page, HTTP and WebSocket: files and live sound -> emotions",
    "explain": "a sound -> an image of what made the model say so",
    "embed": "sounds -> vectors, the input of the network's last layer",
    "archive": "a million clips -> Parquet, on all cores or a cluster",
    "enroll": "clips of a person -> a profile for predict --profile",
    "profiles": "list the profiles",
    "devices": "what a model can run on here, and what is missing for the rest",
    "bench": "how fast a model is on a device",
    "completion": "a script that completes commands and options in your shell",
}
"""Name -> summary, in the order of ``edge-app --help``."""

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130


def make_parser(complete: Collection[str] = tuple(COMMANDS)) -> ArgumentParser:
    """The parser of the command line.

    Parameters
    ----------
    complete : collection of str
        Commands whose modules are imported for their options; the others have only their names.
    """
    from importlib import import_module

    from ser_edge import __version__
    from ser_edge.commandline.arguments import ArgumentParser

    parser = ArgumentParser(
        prog=PROGRAM,
        description="Recognise emotion in speech with an OpenVINO model.",
        epilog=f"`{PROGRAM} COMMAND --help` shows options and examples.",
    )
    parser.add_argument("--version", action="version", version=f"ser-edge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, summary in COMMANDS.items():
        command = commands.add_parser(name, help=summary)
        if name in complete:
            module = import_module(f"edge_app.commands.{name}")
            module.add_arguments(command)
            command.set_defaults(run=module.run, command=command)
    return parser
