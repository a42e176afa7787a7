"""Options that several verbs share, each declared once, and what verbs print alike."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from ser_edge.corpora import CORPORA, Scan
from ser_edge.data.splits import FOLDS, RANDOM, VALIDATION_ACTORS

if TYPE_CHECKING:
    from edge_app.classifier import Classifier
    from ser_edge.evaluation.crossval import Study

CLONE: Final = Path(__file__).resolve().parents[2]
"""The repository, where the package is used from a clone of it."""

ALL_FOLDS: Final = [*map(str, VALIDATION_ACTORS)]


def positive(text: str) -> int:
    """A number of 1 or more, as an option's ``type``."""
    return _at_least(1, text)


def not_negative(text: str) -> int:
    """A number of 0 or more, as an option's ``type``."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"it is {text!r}, allowed: whole numbers") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"it is {number}, allowed: {least} or more")
    return number


def add_output_options(parser: argparse.ArgumentParser, *, nested: bool = False) -> None:
    """Add ``--quiet`` and ``--verbose``; a nested command does not reset its verb's."""
    default = argparse.SUPPRESS if nested else False
    group = parser.add_argument_group("output")
    group.add_argument(
        "-q", "--quiet", action="store_true", default=default, help="no progress bars"
    )
    group.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        default=default,
        help="logs of libraries, traceback of an error",
    )


def add_corpus_folder(parser: argparse.ArgumentParser) -> None:
    """Add the positional ``data`` and ``--corpus``, for :func:`scan_corpus`."""
    parser.add_argument(
        "data", type=Path, metavar="DATA", help="folder of the corpus, searched recursively"
    )
    add_corpus(parser)


def add_corpus(parser: argparse.ArgumentParser) -> None:
    """Add ``--corpus``."""
    parser.add_argument(
        "--corpus",
        choices=sorted(CORPORA),
        default="ravdess",
        metavar="NAME",
        help=f"{', '.join(sorted(CORPORA))} (default: ravdess)",
    )


def add_images(parser: argparse.ArgumentParser) -> None:
    """Add the positional ``images``."""
    parser.add_argument(
        "images", type=Path, metavar="IMAGES", help="folder that ser-edge render wrote"
    )


def add_sounds(
    parser: argparse.ArgumentParser, purpose: str = "", *, required: bool = False
) -> None:
    """Add ``--sounds``; the purpose says what needs the recordings."""
    parser.add_argument(
        "--sounds",
        type=Path,
        nargs="+",
        required=required,
        default=[],
        metavar="DIR",
        help=f"folders with the recordings{purpose and ': '}{purpose}",
    )


def add_also(parser: argparse.ArgumentParser) -> None:
    """Add ``--also``."""
    parser.add_argument(
        "--also",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGES",
        help="further renderings to train on, without the speakers that are scored",
    )


def add_fold(parser: Any, *, required: bool = True) -> None:
    """Add ``--fold`` to a parser or a group."""
    parser.add_argument(
        "--fold",
        required=required,
        choices=FOLDS,
        metavar="FOLD",
        help="1 to 5: EmoBox fold whose actors are the test; all: every actor but fold 6's; "
        "random: clips divided at random (leaky); speakers: speakers divided at random",
    )


def add_folds(parser: Any, *more: str, help: str = "EmoBox folds to train") -> None:
    """Add ``--folds``, of the five folds and ``more``, to a parser or a group."""
    parser.add_argument(
        "--folds",
        nargs="+",
        choices=[*ALL_FOLDS, *more],
        default=ALL_FOLDS,
        metavar="N",
        help=f"{help} (default: {' '.join(ALL_FOLDS)})",
    )


def add_workers(parser: argparse.ArgumentParser, *, threads: int | None = None) -> None:
    """Add ``--workers``: processes, or a number of threads."""
    parser.add_argument(
        "--workers",
        type=positive,
        default=threads,
        metavar="N",
        help=f"threads (default: {threads})" if threads else "processes (default: one per core)",
    )


def add_seed(parser: argparse.ArgumentParser, default: int = 0) -> None:
    """Add ``--seed``."""
    parser.add_argument(
        "--seed",
        type=not_negative,
        default=default,
        metavar="N",
        help=f"of every random choice (default: {default})",
    )


def scan_corpus(corpus: str, folder: Path, what: str = "") -> Scan:
    """The recordings of a corpus in a folder; what is left out is printed to stderr if all is.

    Raises
    ------
    ValueError
        There is no such folder, or no recording of the corpus in it.
    """
    scan = CORPORA[corpus].scan(folder)
    if not scan.utterances:
        print_problems("left out", scan.problems[:10])
        raise ValueError(f"{folder}: no {what or corpus} recording in it")
    return scan


def print_problems(what: str, problems: Sequence[object]) -> None:
    """Print a line per problem to stderr."""
    for problem in problems:
        print(f"{what}: {problem}", file=sys.stderr)


def print_figures(figures: Mapping[str, Mapping[str, Any]], fold: str, folder: Path) -> None:
    """Print the figures of a run by part, and where the rest of it is."""
    speakers = "the training speakers: LEAKY" if fold == RANDOM else "held-out speakers"
    for part, found in figures.items():
        print(
            f"{part}: UAR {found['uar']:.3f}, accuracy {found['accuracy']:.3f}, "
            f"macro F1 {found['macro_f1']:.3f} on {found['clips']} clips of {speakers}"
        )
    print(f"all of it: {folder}")


def report_study(found: Study | None, folder: Path) -> int:
    """Write and print the report of an evaluation; gives the exit status."""
    from ser_edge.evaluation import crossval
    from ser_edge.files import write_whole
    from ser_edge.reports import evaluation

    if found is None:  # one of several processes, not the first
        return 0
    write_whole(folder / crossval.REPORT, evaluation.study_page(found))
    print(crossval.table(found))
    print(f"all of it: {folder / crossval.REPORT}")
    print_problems("failed", found.problems)
    return 1 if found.problems else 0


def open_ir(xml: str) -> Classifier:
    """The edge app's classifier of an IR on the CPU."""
    from edge_app.classifier import Classifier

    return Classifier(xml)


def load_classifier(model: str, device: str, precision: str) -> Classifier:
    """The edge app's classifier of a model by name or ``.xml``.

    Raises
    ------
    ValueError
        The model or the device cannot be used.
    """
    from edge_app.classifier import Classifier
    from edge_app.inference.runtime import DeviceError

    try:
        return Classifier(model, device, precision)
    except DeviceError as error:
        raise ValueError(str(error)) from None
