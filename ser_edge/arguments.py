"""The argument parser of both commands: an error is one sentence, with a suggestion if one is near.

Needs the standard library alone, so that ``--version`` and ``--help`` answer at once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
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
        """Print the message and where the help is, and end the program with exit status 2."""
        self.exit(EXIT_USAGE, f"{self.prog}: error: {message} (see `{self.prog} --help`)\n")

    def parse_args(self, args: Iterable[str] | None = None, namespace: Any = None) -> Any:
        """As the base class; the sub-command that an unknown argument was given to reports it."""
        given = sys.argv[1:] if args is None else list(args)
        found, unknown = self.parse_known_args(given, namespace)
        if unknown:
            self._owner(given, unknown[0])._reject(unknown)
        return found

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is None or value in action.choices:
            return
        known = [str(choice) for choice in action.choices]
        near, allowed = did_you_mean(str(value), known), f", allowed: {', '.join(known)}"
        if isinstance(action, argparse._SubParsersAction):
            raise argparse.ArgumentError(None, f"unknown command {value!r}{near or allowed}")
        raise argparse.ArgumentError(action, f"unknown value {value!r}{allowed}{near}")

    def _owner(self, given: Sequence[str], unknown: str) -> ArgumentParser:
        """The parser of the innermost sub-command that stands before an unknown argument."""
        for action in self._actions:
            if isinstance(action, argparse._SubParsersAction):
                for index, word in enumerate(given):
                    if word == unknown:
                        return self
                    chosen = action.choices.get(word)
                    if isinstance(chosen, ArgumentParser):
                        return chosen._owner(given[index + 1 :], unknown)
        return self

    def _reject(self, unknown: Sequence[str]) -> NoReturn:
        """Report the first option that there is not, or else the first argument too many."""
        options = [word for word in unknown if word.startswith("-") and word != "-"]
        if not options:
            self.error(f"unexpected argument {unknown[0]!r}")
        name = options[0].partition("=")[0]
        self.error(f"unknown option {name}{did_you_mean(name, self._option_string_actions)}")


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
