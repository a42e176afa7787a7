"""``edge-app predict``: sounds -> emotions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from itertools import islice
from typing import BinaryIO, Final

from edge_app.answers import Prediction
from edge_app.classifier import Classifier
from edge_app.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    Commands,
    add_answer_options,
    add_model_options,
    make_classifier,
    source_of,
    wrong_usage,
)
from edge_app.progress import Bar
from edge_app.sinks import ONE_SOUND, SINKS, Sink
from edge_app.sources import STANDARD_INPUT, expand

_DESCRIPTION: Final = """\
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
  edge-app predict --format audacity talk.flac > talk.txt   # Audacity: File > Import > Labels
  edge-app predict -d GPU --fallback CPU calls/      # edge-app devices lists what there is
  edge-app predict --profile anna clip.wav           # Anna speaks; edge-app enroll made her profile

exit status: 0 all well, 1 some sound failed, 2 wrong usage (no such model, device or option)
"""


def add(commands: Commands) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "predict",
        help="files, folders, globs, standard input -> emotions",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="sound, mel image (.png), folder (searched through), glob, or - for standard input",
    )
    add_model_options(command, hint="throughput")  # long sounds, many sounds
    add_answer_options(command)
    command.add_argument("--format", choices=tuple(SINKS), default="table", help="(default: table)")
    command.set_defaults(run=_run, command=command)


def _run(options: argparse.Namespace) -> int:
    if options.format in ONE_SOUND and len(list(islice(expand(options.paths), 2))) > 1:
        wrong_usage(options, f"--format {options.format} is for one sound: it names no files")
    classifier = make_classifier(options)
    sink = SINKS[options.format](sys.stdout, classifier.labels)
    return _predict_all(classifier, options.paths, sink)


def _predict_all(classifier: Classifier, paths: Sequence[str], sink: Sink) -> int:
    status = EXIT_OK
    names: Iterable[str] = expand(paths)
    bar = Bar(sys.stderr, total=0)
    if bar.wanted:  # who watches wants to know how many there are
        names = list(names)
        bar = Bar(sys.stderr, total=len(names))

    def opened(name: str) -> str | BinaryIO:
        found = source_of(name)
        return bar.open(found) if isinstance(found, str) else found

    # A thread that waits for standard input could not be told to stop.
    workers = 0 if STANDARD_INPUT in paths else None
    # Closed whatever happens here, so that no thread outlives it.
    with (
        closing(bar),
        closing(
            classifier.predict_all(names, opened, workers=workers, progress=bar.heard)
        ) as answers,
    ):
        for name, answer in answers:
            bar.done(name)
            if isinstance(answer, Prediction):
                sink.answer(answer)
            else:
                sink.error(name, str(answer))
                status = EXIT_FAILED
    return status
