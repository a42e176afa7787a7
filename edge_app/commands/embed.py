"""``edge-app embed``: sounds -> vectors, the input of the network's last layer."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from edge_app.classifier import Classifier
from edge_app.commands import EXIT_FAILED, EXIT_OK
from edge_app.commands.options import (
    add_model_options,
    make_classifier,
    progress_stream,
    wrong_usage,
)
from edge_app.commands.progress import working
from edge_app.commands.terminal import complain
from edge_app.inference.devices import DeviceError
from edge_app.inference.model_store import ModelError
from edge_app.inputs import expand, source_of
from edge_app.results import Embedding
from ser_edge.audio.decode import AudioError
from ser_edge.files import whole_file

Vector: TypeAlias = npt.NDArray[np.float32]

_DESCRIPTION: Final = """\
Print the input of the network's last layer (the embedding), for classifiers, searches and plots of
your own: one line of JSON a sound. For a sound longer than 5 s it is the mean over the windows,
weighted by their shares of speech, as the scores are.

examples:
  edge-app embed clip.wav
  edge-app embed recordings/ > vectors.jsonl
  edge-app embed recordings/ --out vectors.npy > rows.jsonl   # float32 (sounds, features)
  edge-app embed interview.ogg --windows                      # a line every 2.5 s

With --out the lines have the row of the array in place of the vector. Errors are lines too, and
also go to stderr.

exit status: 0 success, 1 some sound failed (silent ones do), 2 wrong usage
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    command.description = _DESCRIPTION
    command.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="sound, mel image (.png), folder (searched through), glob, or - for standard input",
    )
    add_model_options(command, hint=None)
    command.add_argument("--out", metavar="NPY", help="array to write the vectors to")
    command.add_argument(
        "--windows", action="store_true", help="one vector for each window of 5 s, not their mean"
    )


def run(options: argparse.Namespace) -> int:
    out = None if options.out is None else Path(options.out)
    if out is not None and out.suffix.lower() != ".npy":
        wrong_usage(options, f"--out is {options.out!r}, its name should end in .npy")
    if out is not None and not out.parent.is_dir():
        wrong_usage(options, f"--out is {options.out!r}: there is no folder {str(out.parent)!r}")
    classifier = make_classifier(options)
    rows: list[Vector] = []
    # Lines in the same terminal show how far it is.
    progress = None if sys.stdout.isatty() else progress_stream(options)
    with working(progress, "computing embeddings"):
        status = _embed_all(options, classifier, rows)
    if out is not None:
        return _write(options, out, rows) or status
    return status


def _embed_all(options: argparse.Namespace, classifier: Classifier, rows: list[Vector]) -> int:
    """Print a line for each vector, and append the vectors to ``rows``."""
    status = EXIT_OK
    for name in expand(options.paths):
        try:
            found = classifier.embed(source_of(name))
        except ModelError as error:  # the same for every sound
            wrong_usage(options, str(error))
        except (AudioError, DeviceError) as error:
            complain(options, str(error))
            _print({"file": name, "error": str(error)})
            status = EXIT_FAILED
            continue
        for line, vector in _lines(found, options.windows):
            if options.out is None:
                line["embedding"] = [float(f"{value:.6g}") for value in vector.tolist()]
            else:
                line["row"] = len(rows)
                rows.append(vector)
            _print(line)
    return status


def _lines(found: Embedding, windows: bool) -> list[tuple[dict[str, Any], Vector]]:
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


def _write(options: argparse.Namespace, out: Path, rows: list[Vector]) -> int:
    if not rows:
        complain(options, f"no vector, {out} is not written")
        return EXIT_FAILED
    try:
        with whole_file(out) as temporary, open(temporary, "wb") as file:
            np.save(file, np.stack(rows))
    except OSError as error:
        cause = error.strerror or error
        complain(options, f"{options.out}: {cause}")
        return EXIT_FAILED
    return EXIT_OK
