"""The argument parser of both commands: an error is one sentence, with a suggestion if one is near.

Needs the standard library alone, so that ``--version`` and ``--help`` answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, NoReturn

EXIT_USAGE: Final = 2
"""Exit status of a command line that cannot be run as it is written."""


class ArgumentParser(argparse.ArgumentParser):
    """An :class:`argparse.ArgumentParser` for people.

    An error is one sentence on stderr that ends with where the help is, in place of the usage. A
    misspelt command, option or choice gets a suggestion from the parser's own names. Descriptions
    keep their lines, so that they can hold examples. Sub-commands get the same class.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Print the message in one line, and where the help is, and exit with status 2."""
        sentence = " ".join(line.strip() for line in message.splitlines())
        self.exit(EXIT_USAGE, f"{self.prog}: error: {sentence} (see `{self.prog} --help`)\n")

    def format_help(self) -> str:
        """As the base class; the usage names what must be given, the rest is listed below it."""
        if self.usage is None:
            self.usage = self._usage()
        return super().format_help()

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """As the base class; unknown options come first, before what is missing."""
        given = sys.argv[1:] if args is None else list(args)
        for word, owner in self._owners(given):
            name = word.partition("=")[0]
            if not name.startswith("--") or " " in name:  # for argparse no option either
                continue
            known = owner._option_string_actions
            if not any(option.startswith(name) for option in known):
                owner.error(f"unknown option {name}{did_you_mean(name, known)}")
        found, unknown = self.parse_known_args(given, namespace)
        if unknown:
            first = unknown[0]
            owners = (owner for word, owner in self._owners(given) if word == first)
            is_option = first.startswith("-")
            message = f"unknown option {first}" if is_option else f"unexpected argument {first!r}"
            next(owners, self).error(message)
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        near, allowed = did_you_mean(str(value), known), f", allowed: {', '.join(known)}"
        if isinstance(action, argparse._SubParsersAction):
            raise argparse.ArgumentError(None, f"unknown command {value!r}{near or allowed}")
        raise argparse.ArgumentError(action, f"unknown value {value!r}{allowed}{near}")

    def _owners(self, given: Sequence[str]) -> Iterator[tuple[str, ArgumentParser]]:
        """Each argument before a ``--``, and the parser of the sub-command that it stands after."""
        owner = self
        for word in given:
            if word == "--":
                return
            yield word, owner
            for action in owner._actions:
                if isinstance(action, argparse._SubParsersAction):
                    owner = action.choices.get(word, owner)

    def _usage(self) -> str:
        """``app command FILE --required X [options]``."""
        words = [self.prog]
        for action in sorted(self._actions, key=lambda each: bool(each.option_strings)):
            name = str(action.metavar or action.dest)
            shown = {"?": f"[{name}]", "*": f"[{name} ...]", "+": f"{name} [...]"}
            value = shown.get(str(action.nargs), name)
            if not action.option_strings:
                words.append(value)
            elif action.required:
                words.append(f"{action.option_strings[-1]} {value}")
        return " ".join([*words, "[options]"]).replace("%", "%%")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean X?`` for a misspelt name, or nothing where no known name is near.

    Parameters
    ----------
    name : str
        What was given. Case makes no difference.
    known : iterable of str
        What there is.
    """
    import difflib

    folded = {each.casefold(): each for each in known}
    near = difflib.get_close_matches(name.casefold(), folded, n=1)
    return f"; did you mean {folded[near[0]]}?" if near else ""
