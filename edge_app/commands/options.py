"""What the commands share: exit statuses, options, and how a model or a sound is opened."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from edge_app.classifier import Classifier
from edge_app.inference.devices import HINTS
from edge_app.inference.model_store import DEFAULT_MODEL
from edge_app.inference.profile_store import find_profile
from edge_app.inference.runtime import DeviceError
from edge_app.language.llm_client import (
    DEFAULT_SECONDS,
    KEY_VARIABLE,
    MODEL_VARIABLE,
    URL_VARIABLE,
    endpoint_from_environment,
)
from edge_app.threads import cores
from ser_edge.labels import GROUPINGS
from ser_edge.manifest import PRECISIONS

if TYPE_CHECKING:
    from edge_app.language.interpretation import Interpreter
    from edge_app.language.transcription import Transcriber

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
"""What ``add`` of a command takes: argparse's collection of commands."""

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130


def wrong_usage(options: argparse.Namespace, message: str) -> NoReturn:
    """Say how the command is used and what is wrong, and end the program with 2."""
    command: argparse.ArgumentParser = options.command
    command.error(message)


def add_profiles_option(command: argparse.ArgumentParser) -> None:
    """``--profiles``."""
    command.add_argument(
        "--profiles",
        type=Path,
        metavar="DIR",
        help="where profiles are (default: ser-edge/profiles in your configuration's folder)",
    )


def add_model_options(command: argparse.ArgumentParser, hint: str | None = "latency") -> None:
    """``--model``, ``--precision``, ``--device`` and how it is used.

    ``hint`` is the default; without one :func:`make_classifier` chooses, for many windows in a row.
    """
    command.add_argument(
        "-m", "--model", default=DEFAULT_MODEL, help=f"name or .xml (default: {DEFAULT_MODEL})"
    )
    command.add_argument(
        "-d",
        "--device",
        default="CPU",
        help="CPU, GPU, NPU, MYRIAD, AUTO, AUTO:NPU,CPU, HETERO:GPU,CPU, MULTI:GPU,CPU; "
        "edge-app devices lists them (default: CPU)",
    )
    command.add_argument(
        "--precision", choices=PRECISIONS, default="FP16", help="of a model given by name"
    )
    command.add_argument(
        "--hint",
        choices=HINTS,
        default=hint,
        help="one answer soon, or many in all (default: "
        + (hint or "latency on the CPU, throughput elsewhere")
        + ")",
    )
    command.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="of the CPU, for the network (default: all"
        + (")" if hint else ", of more than two all but one)"),
    )
    command.add_argument(
        "--fallback",
        metavar="DEVICE",
        help="takes over where the device is not there, fails, hangs or gives no finite scores",
    )


def add_answer_options(command: argparse.ArgumentParser) -> None:
    """``--labels``, ``--profile``, ``--profiles``: what answers say, and of whom."""
    command.add_argument(
        "--labels",
        metavar="NAME|FILE",
        help="coarser labels, whose scores are sums: "
        + ", ".join(GROUPINGS)
        + ", or a file with a line a group (default: the model's own)",
    )
    command.add_argument(
        "--profile",
        metavar="NAME|FILE",
        help="of the person who speaks, made by edge-app enroll; or a .json (default: none)",
    )
    add_profiles_option(command)


def add_words_options(command: argparse.ArgumentParser) -> None:
    """``--transcribe``, ``--language``, ``--interpret-seconds``: what stands beside the emotion."""
    command.add_argument(
        "--transcribe",
        type=Path,
        metavar="DIR",
        help="also write down what is said, with the Whisper model in this folder (docs/words.md; "
        "needs the extra transcribe)",
    )
    command.add_argument(
        "--language", metavar="CODE", help="spoken, such as en (default: the model finds out)"
    )
    command.add_argument(
        "--interpret-seconds",
        type=float,
        default=DEFAULT_SECONDS,
        metavar="S",
        help=f"for an answer of the language model that ${URL_VARIABLE}, ${MODEL_VARIABLE} and "
        f"${KEY_VARIABLE} name (default: {DEFAULT_SECONDS:g})",
    )


def make_transcriber(options: argparse.Namespace, threads: int | None) -> Transcriber | None:
    """What ``--transcribe`` asks for, on the classifier's device."""
    if options.transcribe is None:
        if options.language is not None:
            wrong_usage(options, "--language goes with --transcribe")
        return None
    from edge_app.language.transcription import Transcriber

    try:
        return Transcriber(
            options.transcribe,
            options.device,
            options.language,
            fallback=options.fallback,
            threads=threads,
        )
    except (ValueError, DeviceError) as error:
        wrong_usage(options, f"--transcribe: {error}")


def make_interpreter(options: argparse.Namespace) -> Interpreter:
    """Asks the endpoint that the environment names, if it names one."""
    from edge_app.language.interpretation import Interpreter

    try:
        return Interpreter(endpoint_from_environment(options.interpret_seconds))
    except ValueError as error:
        wrong_usage(options, str(error))


def make_classifier(options: argparse.Namespace) -> Classifier:
    """The classifier that the options ask for; what is wrong with them ends the program with 2.

    Where the command has no hint of its own, it has many windows in a row, and the pictures of the
    next are drawn while the network works. Measured on the CPU (docs/speed.md): one window after
    the other by all threads is faster than several side by side, whose ends all wait for Python's
    lock; and of more than two cores drawing needs one.
    """
    profile = getattr(options, "profile", None)
    hint: str | None = options.hint
    threads: int | None = options.threads
    if hint is None:
        on_cpu = options.device.upper() == "CPU"
        hint = "latency" if on_cpu else "throughput"
        if on_cpu and threads is None and cores() > 2:
            threads = cores() - 1
    try:
        return Classifier(
            options.model,
            options.device,
            options.precision,
            getattr(options, "labels", None),
            None if profile is None else find_profile(profile, options.profiles),
            hint=hint,
            threads=threads,
            fallback=options.fallback,
        )
    except (ValueError, DeviceError) as error:  # ModelError is a ValueError
        wrong_usage(options, str(error))  # exits with 2
