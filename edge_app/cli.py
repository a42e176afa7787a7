"""``edge-app``: the command line. It parses and calls."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from typing import BinaryIO

from edge_app.classifier import Classifier
from edge_app.models import DEFAULT_MODEL
from edge_app.runtime import DeviceError
from edge_app.sinks import SINKS, Sink
from edge_app.sources import STANDARD_INPUT, expand
from ser_edge import __version__
from ser_edge.audio import AudioError
from ser_edge.labels import GROUPINGS
from ser_edge.manifest import PRECISIONS

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130

_PREDICT = """\
Say which emotion is heard in sounds. One answer a sound; a sound that fails gives an error line
and the rest goes on.

examples:
  edge-app predict clip.wav
  edge-app predict recordings/ --format jsonl > answers.jsonl
  edge-app predict 'calls/**/*.flac' --format csv --precision INT8
  arecord -d 5 -f cd | edge-app predict -
  edge-app predict -m ir/mine/FP16/mine.xml -d AUTO clip.ogg
  edge-app predict --labels valence clip.wav         # negative, neutral or positive
  edge-app predict --labels mine.txt clip.wav        # lines like: upset: sad angry fearful disgust

exit status: 0 all well, 1 some sound failed, 2 wrong usage (no such model, device or option)
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 all well, 1 some item failed, 2 wrong usage.
    """
    parser = argparse.ArgumentParser(
        prog="edge-app", description="Hear emotion in voices with an OpenVINO model."
    )
    parser.add_argument("--version", action="version", version=f"ser-edge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    predict = commands.add_parser(
        "predict",
        help="files, folders, globs, standard input -> emotions",
        description=_PREDICT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="sound, mel image (.png), folder (searched through), glob, or - for standard input",
    )
    predict.add_argument(
        "-m", "--model", default=DEFAULT_MODEL, help=f"name or .xml (default: {DEFAULT_MODEL})"
    )
    predict.add_argument(
        "-d", "--device", default="CPU", help="CPU, GPU, NPU, MYRIAD, AUTO, ... (default: CPU)"
    )
    predict.add_argument(
        "--precision", choices=PRECISIONS, default="FP16", help="of a model given by name"
    )
    predict.add_argument(
        "--labels",
        metavar="NAME|FILE",
        help="coarser labels, whose scores are sums: "
        + ", ".join(GROUPINGS)
        + ", or a file with a line a group (default: the model's own)",
    )
    predict.add_argument("--format", choices=tuple(SINKS), default="table", help="(default: table)")
    options = parser.parse_args(arguments)
    if sys.stdout is None:  # closed by the caller
        return EXIT_FAILED
    try:
        classifier = Classifier(options.model, options.device, options.precision, options.labels)
    except (ValueError, DeviceError) as error:  # ModelError is a ValueError
        predict.error(str(error))  # exits with 2
    _survive_odd_names(sys.stdout)
    try:
        sink = SINKS[options.format](sys.stdout, classifier.labels)
        return _predict_all(classifier, options.paths, sink)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:  # of the sink: those of sounds are AudioErrors
        # What is still in the buffer must not be tried again when Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader (head, less) has enough
            return EXIT_OK
        print(f"{parser.prog}: the answers cannot be written: {error}", file=sys.stderr)
        return EXIT_FAILED


def _survive_odd_names(stream: object) -> None:
    """Names of files may hold bytes that are no UTF-8; printing them must not fail."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _predict_all(classifier: Classifier, paths: Sequence[str], sink: Sink) -> int:
    status = EXIT_OK
    for name in expand(paths):
        try:
            answer = classifier.predict(_source(name))
        except (AudioError, DeviceError) as error:
            sink.error(name, str(error))
            status = EXIT_FAILED
        else:
            sink.answer(answer)
    return status


def _source(name: str) -> str | BinaryIO:
    if name == STANDARD_INPUT:
        if sys.stdin is None:
            raise AudioError(name, "standard input is closed")
        return sys.stdin.buffer
    if os.path.isdir(name):
        raise AudioError(name, "there is no sound in this folder")
    return name
