"""What the commands share: exit statuses, options, and how a model or a sound is opened."""

from __future__ import annotations

import argparse
import concurrent.futures
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, TextIO

from edge_app.classifier import Classifier
from edge_app.commands.interrupts import leave
from edge_app.commands.progress import working
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
from edge_app.threads import cores, in_background
from ser_edge.labels import GROUPINGS
from ser_edge.manifest import PRECISIONS

if TYPE_CHECKING:
    from edge_app.language.interpretation import Interpreter
    from edge_app.language.transcription import Transcriber

_LOG: Final = logging.getLogger("edge_app")
_LOOK_EVERY: Final = 0.2  # seconds: how soon Ctrl-C is obeyed while a model is compiled


def wrong_usage(options: argparse.Namespace, message: str) -> NoReturn:
    """Print what is wrong and where the help is, and end the program with 2."""
    command: argparse.ArgumentParser = options.command
    command.error(message)


def _add_verbosity_options(command: argparse.ArgumentParser) -> None:
    """``-v`` and ``-q``."""
    how = command.add_mutually_exclusive_group()
    how.add_argument(
        "-v",
        "--verbose",
        dest="verbosity",
        action="store_const",
        const=1,
        default=0,
        help="also print what is done, and how long loading takes, to stderr",
    )
    how.add_argument(
        "-q",
        "--quiet",
        dest="verbosity",
        action="store_const",
        const=-1,
        help="no progress and no warnings on stderr, errors alone",
    )


def progress_stream(options: argparse.Namespace) -> TextIO | None:
    """Where progress is shown: standard error, or nowhere with ``--quiet``."""
    return None if options.verbosity < 0 else sys.stderr


def add_profiles_option(command: argparse.ArgumentParser) -> None:
    """``--profiles``."""
    command.add_argument(
        "--profiles",
        type=Path,
        metavar="DIR",
        help="folder of profiles (default: ser-edge/profiles in your configuration folder)",
    )


def add_model_options(command: argparse.ArgumentParser, hint: str | None = "latency") -> None:
    """``--model``, ``--precision``, ``--device``, how it is used, ``-v`` and ``-q``.

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
        help="optimise one answer or many (default: "
        + (hint or "latency on the CPU, throughput elsewhere")
        + ")",
    )
    command.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads of the network (default: all"
        + (")" if hint else ", or all but one of three or more)"),
    )
    command.add_argument(
        "--fallback",
        metavar="DEVICE",
        help="takes over where the device is missing, fails, hangs or gives scores that are not "
        "finite",
    )
    _add_verbosity_options(command)


def add_answer_options(command: argparse.ArgumentParser) -> None:
    """``--labels``, ``--profile``, ``--profiles``."""
    command.add_argument(
        "--labels",
        metavar="NAME|FILE",
        help="coarser labels, with summed scores: "
        + ", ".join(GROUPINGS)
        + ", or a file with a line a group (default: the model's own)",
    )
    command.add_argument(
        "--profile",
        metavar="NAME|FILE",
        help="of the speaker, made by edge-app enroll; or a .json (default: none)",
    )
    add_profiles_option(command)


def add_transcription_options(command: argparse.ArgumentParser) -> None:
    """``--transcribe``, ``--language``, ``--interpret-seconds``."""
    command.add_argument(
        "--transcribe",
        type=Path,
        metavar="DIR",
        help="also transcribe, with the Whisper model in this folder (docs/how-to/words.md; "
        "needs the extra transcribe)",
    )
    command.add_argument(
        "--language", metavar="CODE", help="spoken, such as en (default: detected)"
    )
    command.add_argument(
        "--interpret-seconds",
        type=float,
        default=DEFAULT_SECONDS,
        metavar="S",
        help=f"timeout of the language model that ${URL_VARIABLE}, ${MODEL_VARIABLE} and "
        f"${KEY_VARIABLE} name (default: {DEFAULT_SECONDS:g})",
    )


def make_transcriber(options: argparse.Namespace, threads: int | None) -> Transcriber | None:
    """The transcriber of ``--transcribe``, on the classifier's device, if it is given."""
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
    """The interpreter; it uses the endpoint that the environment names, if it names one."""
    from edge_app.language.interpretation import Interpreter

    try:
        return Interpreter(endpoint_from_environment(options.interpret_seconds))
    except ValueError as error:
        wrong_usage(options, str(error))


def make_classifier(options: argparse.Namespace) -> Classifier:
    """The classifier that the options ask for; what is wrong with them ends the program with 2.

    Where the command has no hint of its own, it has many windows in a row, and the mel images of
    the next are computed while the network works. Measured on the CPU (docs/results/speed.md): one
    window after the other by all threads is faster than several side by side, whose ends all wait
    for Python's lock; and of more than two cores the mel images need one.

    Compiling for a GPU or NPU can take a minute: it is shown, and Ctrl-C ends it.
    """
    profile = getattr(options, "profile", None)
    hint: str | None = options.hint
    threads: int | None = options.threads
    if hint is None:
        on_cpu = options.device.upper() == "CPU"
        hint = "latency" if on_cpu else "throughput"
        if on_cpu and threads is None and cores() > 2:
            threads = cores() - 1

    def load() -> Classifier:
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

    what = f"{options.model} on {options.device}"
    begun = time.monotonic()
    try:
        with working(progress_stream(options), f"loading {what}"):
            loading = in_background(load, "load")
            while not concurrent.futures.wait([loading], _LOOK_EVERY).done:
                pass
        classifier = loading.result()
    except KeyboardInterrupt:
        leave()  # OpenVINO's compiler cannot be stopped
    except (ValueError, DeviceError) as error:  # ModelError is a ValueError
        wrong_usage(options, str(error))
    _LOG.info("%s: loaded in %.2f s", what, time.monotonic() - begun)
    return classifier
