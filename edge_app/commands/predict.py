"""``edge-app predict``: sounds -> emotions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from edge_app.classifier import Classifier
from edge_app.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    Commands,
    add_answer_options,
    add_model_options,
    add_words_options,
    make_classifier,
    make_interpreter,
    make_transcriber,
    wrong_usage,
)
from edge_app.commands.progress import Bar
from edge_app.inputs import PICTURE_SUFFIXES, STANDARD_INPUT, expand, source_of
from edge_app.output.answer_formats import ONE_SOUND, SINKS, Sink
from edge_app.results import Prediction
from ser_edge.audio import decode

if TYPE_CHECKING:
    from edge_app.language.annotations import Wording, Words

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
  edge-app predict --transcribe whisper-base-ov clip.wav        # and what is said (docs/words.md)
  edge-app predict --transcribe whisper-base-ov --interpret --format jsonl calls/

exit status: 0 all well, 1 some sound failed, 2 wrong usage (no such model, device or option);
words that are missing fail no sound, there is a reason in their place
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
    # For long sounds and many sounds.
    add_model_options(command, hint=None)
    add_answer_options(command)
    add_words_options(command)
    command.add_argument(
        "--interpret",
        action="store_true",
        help="also say what it might mean: by the language model of --interpret-seconds, else in "
        "a plain sentence made from the scores",
    )
    command.add_argument("--format", choices=tuple(SINKS), default="table", help="(default: table)")
    command.set_defaults(run=_run, command=command)


def _run(options: argparse.Namespace) -> int:
    if options.format in ONE_SOUND and len(list(islice(expand(options.paths), 2))) > 1:
        wrong_usage(options, f"--format {options.format} is for one sound: it names no files")
    if options.format in ONE_SOUND and (options.transcribe or options.interpret):
        wrong_usage(options, f"--format {options.format} has no place for words")
    classifier = make_classifier(options)
    wording = _wording(options)
    sink = SINKS[options.format](
        sys.stdout, classifier.labels, () if wording is None else wording.fields
    )
    return _predict_all(classifier, options.paths, sink, wording)


def _wording(options: argparse.Namespace) -> Wording | None:
    transcriber = make_transcriber(options, options.threads)
    interpreter = make_interpreter(options) if options.interpret else None
    if transcriber is None and interpreter is None:
        return None
    from edge_app.language.annotations import Wording

    return Wording(transcriber, interpreter)


def _predict_all(
    classifier: Classifier, paths: Sequence[str], sink: Sink, wording: Wording | None
) -> int:
    status = EXIT_OK
    twice: dict[str, BinaryIO] = {}  # standard input, where it is needed once more for the words
    names: Iterable[str] = expand(paths)
    bar = Bar(sys.stderr, total=0)
    if bar.wanted:  # who watches wants to know how many there are
        names = list(names)
        bar = Bar(sys.stderr, total=len(names))

    def opened(name: str) -> str | BinaryIO:
        found = source_of(name)
        if isinstance(found, str):
            return bar.open(found)
        if wording is not None:
            found = held.enter_context(decode.opened(found, decode.source_name(found)))
            twice[name] = found
        return found

    def told(name: str, answer: Prediction) -> Words | None:
        if wording is None:
            return None
        is_picture = Path(name).suffix.lower() in PICTURE_SUFFIXES
        return wording.of(answer, twice.get(name, name), is_picture)

    # A thread that waits for standard input could not be told to stop.
    workers = 0 if STANDARD_INPUT in paths else None
    # Closed whatever happens here, so that no thread outlives it.
    with (
        ExitStack() as held,
        closing(bar),
        closing(
            classifier.predict_all(names, opened, workers=workers, progress=bar.heard)
        ) as answers,
    ):
        for name, answer in answers:
            bar.done(name)
            if isinstance(answer, Prediction):
                if name in twice:  # it was heard from a copy
                    answer = replace(answer, file=decode.source_name(sys.stdin.buffer))
                sink.answer(answer, told(name, answer))
            else:
                sink.error(name, str(answer))
                status = EXIT_FAILED
    return status
