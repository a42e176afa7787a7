"""``edge-app embed``: sounds -> vectors, what the network's last layer looks at."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

import numpy as np

from edge_app.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    Commands,
    add_model_options,
    make_classifier,
    wrong_usage,
)
from edge_app.inference.devices import DeviceError
from edge_app.inference.model_store import ModelError
from edge_app.inputs import expand, source_of
from edge_app.results import Embedding
from ser_edge.audio.base import AudioError
from ser_edge.files import whole_file

_DESCRIPTION: Final = """\
Give the vector that the network's last layer looks at, for classifiers, searches and plots of your
own: one line of JSON a sound. Of a sound longer than 5 s it is the mean over the windows, weighted
by their shares of speech, as the scores are.

examples:
  edge-app embed clip.wav
  edge-app embed recordings/ > vectors.jsonl
  edge-app embed recordings/ --out vectors.npy > rows.jsonl   # float32 (sounds, features)
  edge-app embed interview.ogg --windows                      # a line every 2.5 s

With --out the lines have the row of the array in place of the vector.

exit status: 0 all well, 1 some sound failed (silent ones do), 2 wrong usage
"""


def add(commands: Commands) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "embed",
        help="sounds -> vectors, what the network's last layer looks at",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="sound, mel image (.png), folder (searched through), glob, or - for standard input",
    )
    add_model_options(command, hint=None)
    command.add_argument("--out", metavar="NPY", help="array to write the vectors to")
    command.add_argument(
        "--windows", action="store_true", help="one for each window of 5 s, not their mean"
    )
    command.set_defaults(run=_run, command=command)


def _run(options: argparse.Namespace) -> int:
    out = None if options.out is None else Path(options.out)
    if out is not None and out.suffix.lower() != ".npy":
        wrong_usage(options, f"--out is {options.out!r}, its name should end in .npy")
    if out is not None and not out.parent.is_dir():
        wrong_usage(options, f"--out is {options.out!r}: there is no folder {str(out.parent)!r}")
    classifier = make_classifier(options)
    status = EXIT_OK
    rows: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    for name in expand(options.paths):
        try:
            found = classifier.embed(source_of(name))
        except ModelError as error:  # the same for every sound
            wrong_usage(options, str(error))
        except (AudioError, DeviceError) as error:
            _print({"file": name, "error": str(error)})
            status = EXIT_FAILED
            continue
        for line, vector in _lines(found, options.windows):
            if out is None:
                line["embedding"] = [float(f"{value:.6g}") for value in vector.tolist()]
            else:
                line["row"] = len(rows)
                rows.append(vector)
            _print(line)
    if out is not None:
        return _write(options, out, rows) or status
    return status


def _lines(
    found: Embedding, windows: bool
) -> list[tuple[dict[str, Any], np.ndarray[Any, np.dtype[np.float32]]]]:
    parts = (
        [(w.start, w.end, w.speech, w.vector) for w in found.windows]
        if windows
        else [(0.0, found.duration, None, found.vector)]
    )
    lines = []
    for start, end, speech, vector in parts:
        line: dict[str, Any] = {"file": found.file, "start": round(start, 3), "end": round(end, 3)}
        if speech is not None:
            line["speech"] = round(speech, 6)
        line |= {"device": found.device, "model": found.model}
        lines.append((line, vector))
    return lines


def _print(values: dict[str, Any]) -> None:
    print(json.dumps(values, allow_nan=False), flush=True)


def _write(
    options: argparse.Namespace, out: Path, rows: list[np.ndarray[Any, np.dtype[np.float32]]]
) -> int:
    if not rows:
        print(f"{options.command.prog}: error: no vector, {out} is not written", file=sys.stderr)
        return EXIT_FAILED
    try:
        with whole_file(out) as temporary, open(temporary, "wb") as file:
            np.save(file, np.stack(rows))
    except OSError as error:
        cause = error.strerror or error
        print(f"{options.command.prog}: error: {options.out}: {cause}", file=sys.stderr)
        return EXIT_FAILED
    return EXIT_OK
