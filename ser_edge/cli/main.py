"""``ser-edge``: finds the verb, imports its module alone, runs it and reports errors.

Nothing heavy is imported here, so that ``--version``, ``--help`` and a misspelt verb answer at
once. A verb is a module of this package with ``DESCRIPTION``, ``add_arguments(parser)`` and
``run(options)``, which returns the exit status, and a line in :data:`VERBS`.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from ser_edge import __version__
from ser_edge.cli.errors import CommandError
from ser_edge.commandline.arguments import EXIT_USAGE, ArgumentParser

EXIT_OK: Final = 0
EXIT_INTERRUPTED: Final = 130

SAME: Final = "the same command resumes"

DATA: Final = "data"
TRAINING: Final = "training"
EVALUATION: Final = "evaluation"
DEPLOYMENT: Final = "deployment"
FEATURES: Final = "classic features"
SHELL: Final = "shell"


class Verb(NamedTuple):
    """What is known of a verb before its module is imported."""

    group: str
    help: str
    extra: str = "train"
    """What pip installs for it."""
    again: str = ""
    """How an interrupted run is resumed."""


VERBS: Final[Mapping[str, Verb]] = {
    "download": Verb(DATA, "download a corpus and unpack it", again=SAME),
    "corpora": Verb(DATA, "list the known corpora, or check one on disk"),
    "render": Verb(DATA, "corpus -> mel images", again=SAME),
    "explore": Verb(DATA, "pages about a clip, its augmentations or a corpus", "explore"),
    "train": Verb(
        TRAINING, "mel images -> weights and figures of one run", again="--resume resumes"
    ),
    "finetune": Verb(TRAINING, "adapt a model to your own recordings", again=SAME),
    "finetune-ssl": Verb(TRAINING, "fine-tune a pretrained speech encoder", again=SAME),
    "teach": Verb(TRAINING, "soft targets of a teacher, for distillation"),
    "experiments": Verb(TRAINING, "run a file of experiments", "experiments", again=SAME),
    "evaluate": Verb(EVALUATION, "train and score a recipe by cross-validation", again=SAME),
    "compare": Verb(EVALUATION, "two evaluations, runs or models on the same clips"),
    "crosscorpus": Verb(EVALUATION, "score a run or model on other corpora"),
    "robustness": Verb(EVALUATION, "score degraded clips and nonspeech", again=SAME),
    "listen": Verb(EVALUATION, "classify recordings without labels"),
    "profiles": Verb(EVALUATION, "measure what speaker profiles change"),
    "package": Verb(DEPLOYMENT, "final run and fold runs -> models/NAME"),
    "export": Verb(DEPLOYMENT, "models/NAME -> OpenVINO IR"),
    "features": Verb(FEATURES, "corpus -> table of features", "features", again=SAME),
    "baseline": Verb(FEATURES, "a small network on such a table", "features"),
    "completion": Verb(SHELL, "a script that completes verbs and options"),
}
"""In the order of ``ser-edge --help``."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Verb and its arguments, in place of those of the program.

    Returns
    -------
    int
        Exit status: 0 success, 1 something failed, 2 wrong usage, 130 interrupted.
    """
    given = sys.argv[1:] if arguments is None else list(arguments)
    name = _named(given)
    try:
        return _dispatch(name, given)
    except ModuleNotFoundError as error:
        missing = error.name or "ser_edge"
        if not name or missing.partition(".")[0] in ("ser_edge", "edge_app"):
            raise
        print(
            f"ser-edge {name}: error: it needs {missing}: "
            f"pip install 'ser-edge[{VERBS[name].extra}]'",
            file=sys.stderr,
        )
        return EXIT_USAGE
    except KeyboardInterrupt:
        return _interrupted(name)
    except SystemExit as ended:
        if isinstance(ended.__context__, KeyboardInterrupt):  # Lightning exits with 1
            return _interrupted(name)
        raise


def make_parser(complete: Collection[str] = tuple(VERBS)) -> ArgumentParser:
    """The parser of the command line.

    Parameters
    ----------
    complete : collection of str
        Verbs whose modules are imported for their options; the others have only their names.
    """
    parser = ArgumentParser(
        prog="ser-edge",
        usage="ser-edge VERB [options] | --help | --version",
        description=_description(),
    )
    parser.add_argument("--version", action="version", version=f"ser-edge {__version__}")
    verbs = parser.add_subparsers(
        prog="ser-edge", required=True, metavar="VERB", help=argparse.SUPPRESS
    )
    for name, about in VERBS.items():
        verb = verbs.add_parser(name, help=about.help)
        if name in complete:
            from ser_edge.cli.options import add_output_options

            module = importlib.import_module(f"ser_edge.cli.{name.replace('-', '_')}")
            verb.description = module.DESCRIPTION
            verb.set_defaults(run=module.run, command=verb)
            module.add_arguments(verb)
            add_output_options(verb)
    return parser


def _description() -> str:
    lines = ["Train, evaluate and export networks for speech emotion recognition."]
    group = ""
    for name, verb in VERBS.items():
        if verb.group != group:
            group = verb.group
            lines += ["", f"{group}:"]
        lines.append(f"  {name:<13} {verb.help}")
    return "\n".join([*lines, "", "example:", "  ser-edge render --help"])


def _named(given: Sequence[str]) -> str:
    """The verb among the arguments, or an empty text."""
    first = next((word for word in given if not word.startswith("-")), "")
    return first if first in VERBS else ""


def _dispatch(name: str, given: Sequence[str]) -> int:
    parser = make_parser([name])
    if not given:
        parser.print_help()
        return EXIT_OK
    options = parser.parse_args(given)
    try:
        return _run(options)
    except CommandError as error:
        _print_traceback(options)
        print(f"ser-edge {name}: error: {error}", file=sys.stderr)
        return error.status
    except (ValueError, OSError) as error:
        _print_traceback(options)
        command: ArgumentParser = options.command
        command.error(str(error))


def _run(options: argparse.Namespace) -> int:
    if options.verbose:
        import logging

        logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    for stream in (sys.stdout, sys.stderr):  # names of files may hold bytes that are no UTF-8
        getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
    try:
        status = int(options.run(options))
        sys.stdout.flush()
    except BrokenPipeError:  # the reader (head, less) has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_OK
    return status


def _print_traceback(options: argparse.Namespace) -> None:
    if options.verbose:
        import traceback

        traceback.print_exc()


def _interrupted(name: str) -> int:
    if name:
        again = VERBS[name].again
        print(f"ser-edge {name}: interrupted{again and '; '}{again}", file=sys.stderr)
    return EXIT_INTERRUPTED
