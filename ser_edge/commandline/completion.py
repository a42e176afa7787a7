"""Shell completion of both commands: scripts that shtab makes from their parsers, kept as files.

They lie in ``completions/``, so that no command needs shtab; ``scripts/completions.py`` makes them
anew after an option has changed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Final

SHELLS: Final = ("bash", "zsh", "fish")

_FOLDER: Final = Path(__file__).resolve().parent / "completions"

DESCRIPTION: Final = """\
Print a script that completes commands and options of {program} in your shell.

examples:
  source <({program} completion bash)                       # this shell; or in ~/.bashrc
  {program} completion zsh > ~/.zfunc/_{program}            # with ~/.zfunc in $fpath
  {program} completion fish > ~/.config/fish/completions/{program}.fish

exit status: 0 success, 2 wrong usage
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command ``completion`` to its parser."""
    command.add_argument("shell", choices=SHELLS, help=", ".join(SHELLS))


def script(program: str, shell: str) -> str:
    """The completion script of a program for a shell.

    Parameters
    ----------
    program : str
        ``edge-app`` or ``ser-edge``.
    shell : str
        One of :data:`SHELLS`.
    """
    return (_FOLDER / f"{program}.{shell}").read_text(encoding="utf-8")


def generate(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of a parser, made by shtab; needs shtab.

    Arguments that have neither choices nor a type but text or a path are completed as files.
    """
    import shtab

    _complete_files(parser, shtab.FILE)
    made: str = shtab.complete(parser, shell)
    return made.rstrip("\n") + "\n"


def write(parser: argparse.ArgumentParser) -> None:
    """Write the scripts of a parser for all shells into ``completions/``."""
    _FOLDER.mkdir(exist_ok=True)
    for shell in SHELLS:
        path = _FOLDER / f"{parser.prog}.{shell}"
        path.write_text(generate(parser, shell), encoding="utf-8")


def _complete_files(parser: argparse.ArgumentParser, how: Mapping[str, object]) -> None:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            action.help = None  # a suppressed one is not completed
            for command in action.choices.values():
                _complete_files(command, how)
        elif action.nargs != 0 and action.choices is None and action.type in (None, str, Path):
            action.complete = how  # type: ignore[attr-defined]  # read by shtab
