"""``edge-app predict``: sounds -> emotions."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from contextlib import ExitStack, closing
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO, Final

from edge_app.classifier import Classifier
from edge_app.commands import EXIT_FAILED, EXIT_OK
from edge_app.commands.options import (
    add_answer_options,
    add_model_options,
    add_transcription_options,
    make_classifier,
    make_interpreter,
    make_transcriber,
    progress_stream,
    wrong_usage,
)
from edge_app.commands.progress import Bar, working
from edge_app.commands.terminal import complain, is_terminal
from edge_app.inputs import STANDARD_INPUT, expand, is_mel_image, source_of
from edge_app.output.formats import FORMATS, AnswerWriter
from edge_app.results import Prediction
from ser_edge.audio.files import open_source, source_name

if TYPE_CHECKING:
    from edge_app.language.annotations import Annotator

_DESCRIPTION: Final = """\
Recognise the emotion in sounds: one answer a sound. A sound that fails gives an error, in the
output and on stderr, and the others are processed.

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
  edge-app predict --transcribe whisper-base-ov clip.wav   # transcribes too (docs/how-to/words.md)
  edge-app predict --transcribe whisper-base-ov --interpret --format jsonl calls/

For the same file listen gives somewhat different segments and scores: it decides every half second
without knowing what follows, while predict has the whole file at once.

exit status: 0 success, 1 some sound failed, 2 wrong usage (no such model, device or option); a
missing transcription is no failure, the answer has a reason in its place
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
    # For long sounds and many sounds.
    add_model_options(command, hint=None)
    add_answer_options(command)
    add_transcription_options(command)
    command.add_argument(
        "--interpret",
        action="store_true",
        help="also explain the answer in a sentence: by the language model of "
        "--interpret-seconds, else made from the scores",
    )
    command.add_argument(
        "--format", choices=tuple(FORMATS), default="table", help="(default: table)"
    )


def run(options: argparse.Namespace) -> int:
    output = FORMATS[options.format]
    if output.single_file and len(list(islice(expand(options.paths), 2))) > 1:
        wrong_usage(options, f"--format {options.format} is for one sound: it names no files")
    if output.single_file and (options.transcribe or options.interpret):
        wrong_usage(options, f"--format {options.format} has no place for transcriptions")
    classifier = make_classifier(options)
    annotator = _annotator(options)
    fields = () if annotator is None else annotator.fields
    writer = AnswerWriter(sys.stdout, output(classifier.labels, fields))
    names, bar = _names(options)
    return _Prediction(options, writer, annotator, bar).run(classifier, names)


def _annotator(options: argparse.Namespace) -> Annotator | None:
    transcriber = make_transcriber(options, options.threads)
    interpreter = make_interpreter(options) if options.interpret else None
    if transcriber is None and interpreter is None:
        return None
    from edge_app.language.annotations import Annotator

    return Annotator(transcriber, interpreter)


def _names(options: argparse.Namespace) -> tuple[Iterable[str], Bar]:
    """Names of the sounds, and the bar; it needs their number, so that they are listed first."""
    names, out = expand(options.paths), progress_stream(options)
    if not is_terminal(out):
        return names, Bar(None, 0)
    found: list[str] = []
    with working(out, lambda: f"searching folders: {len(found)} sounds"):
        found.extend(names)
    return found, Bar(out, len(found))


class _Prediction:
    """Writes the answer of each sound, with its annotations where they are asked for."""

    def __init__(
        self,
        options: argparse.Namespace,
        writer: AnswerWriter,
        annotator: Annotator | None,
        bar: Bar,
    ) -> None:
        self._options = options
        self._writer = writer
        self._annotator = annotator
        self._bar = bar
        self._held = ExitStack()
        self._copies: dict[str, BinaryIO] = {}  # of standard input, to transcribe it as well
        # Errors are in the output; who redirects that sees them on stderr as well.
        self._complains = not FORMATS[options.format].single_file and not sys.stdout.isatty()

    def run(self, classifier: Classifier, names: Iterable[str]) -> int:
        """Predict all sounds; gives the exit status."""
        status = EXIT_OK
        # A thread that waits for standard input could not be stopped.
        workers = 0 if STANDARD_INPUT in self._options.paths else None
        answers = classifier.predict_all(
            names, self._opened, workers=workers, progress=self._bar.update
        )
        # Closed whatever happens here, so that no thread outlives it.
        with self._held, closing(self._bar), closing(answers):
            for name, answer in answers:
                self._bar.done(name)
                if isinstance(answer, Prediction):
                    self._write(name, answer)
                    continue
                status = EXIT_FAILED
                self._writer.error(name, str(answer))
                if self._complains:
                    complain(self._options, str(answer))
        return status

    def _opened(self, name: str) -> str | BinaryIO:
        source = source_of(name)
        if isinstance(source, str):
            return self._bar.open(source)
        if self._annotator is not None:
            source = self._held.enter_context(open_source(source, source_name(source)))
            self._copies[name] = source
        return source

    def _write(self, name: str, answer: Prediction) -> None:
        if name in self._copies:
            answer = replace(answer, file=source_name(sys.stdin.buffer))
        annotations = None
        if self._annotator is not None:
            source = self._copies.get(name, name)
            annotations = self._annotator.annotate(answer, source, is_mel_image(source))
        self._writer.answer(answer, annotations)
