"""Shell completion of both commands: parser to a script for bash, zsh or fish."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import Final

SHELLS: Final = ("bash", "zsh", "fish")

DESCRIPTION: Final = """\
Print a script that completes commands, options and their values in your shell.

examples:
  source <({program} completion bash)                # this shell; or in ~/.bashrc
  source <({program} completion zsh)                 # in ~/.zshrc, after compinit
  {program} completion fish > ~/.config/fish/completions/{program}.fish

exit status: 0 success, 2 wrong usage
"""

_BASH: Final = """\
{name}() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
  local command="" word values="" options=""
  for word in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
    case "$command $word" in
      {commands}) command="$command $word" ;;
    esac
  done
  case "$command" in
{candidates}
  esac
  case "$command $prev" in
{values}
  esac
  [[ $cur == -* ]] && values=$options
  COMPREPLY=($(compgen -W "$values" -- "$cur"))
}}
complete -o default -o bashdefault -F {name} {program}
"""
"""Where nothing matches, ``-o default`` completes files."""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Add the arguments of the command ``completion`` to its parser."""
    command.add_argument("shell", choices=SHELLS, help=", ".join(SHELLS))


def script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The completion script of a parser.

    Parameters
    ----------
    parser : ArgumentParser
        Of a program, with all its commands; ``prog`` is the program's name.
    shell : str
        One of :data:`SHELLS`.
    """
    if shell == "fish":
        return "".join(f"{line}\n" for line in _fish(parser.prog, parser, ()))
    head = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return head + _bash(parser)


def _commands(
    parser: argparse.ArgumentParser, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """The parser, its commands, their commands: with the words that lead to each."""
    yield path, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, command in action.choices.items():
                yield from _commands(command, (*path, name))


def _bash(parser: argparse.ArgumentParser) -> str:
    candidates, values, commands = [], [], []
    for path, command in _commands(parser):
        key = "".join(f" {word}" for word in path)
        commands += [f'"{key}"'] if path else []
        options = [name for action in command._actions for name in action.option_strings]
        words = [
            str(choice)
            for action in command._actions
            if not action.option_strings
            for choice in action.choices or ()
        ]
        candidates.append(
            f'    "{key}") options="{" ".join(options)}" values="{" ".join(words)}" ;;'
        )
        for action in command._actions:
            if action.option_strings and action.nargs != 0:
                names = "|".join(f'"{key} {name}"' for name in action.option_strings)
                chosen = " ".join(map(str, action.choices or ()))
                values.append(f'    {names}) values="{chosen}" ;;')
    return _BASH.format(
        name="_" + parser.prog.replace("-", "_"),
        program=parser.prog,
        commands="|".join(commands),
        candidates="\n".join(candidates),
        values="\n".join(values),
    )


def _fish(program: str, parser: argparse.ArgumentParser, path: tuple[str, ...]) -> Iterator[str]:
    where = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in path)
    start = f"complete -c {program} -n {shlex.quote(where or '__fish_use_subcommand')}"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            names = list(action.choices)
            outside = f"{where}; and " if where else ""
            free = f"{outside}not __fish_seen_subcommand_from {' '.join(names)}"
            words = shlex.quote(" ".join(names))
            yield f"complete -c {program} -n {shlex.quote(free)} -xa {words}"
            for name, command in action.choices.items():
                yield from _fish(program, command, (*path, name))
            continue
        words = " ".join(map(str, action.choices or ()))
        if not action.option_strings:
            if words:
                yield f"{start} -xa {shlex.quote(words)}"
            continue
        flags = " ".join(
            f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}"
            for name in action.option_strings
        )
        value = f" -xa {shlex.quote(words)}" if words else " -r" if action.nargs != 0 else ""
        yield f"{start} {flags}{value}"
