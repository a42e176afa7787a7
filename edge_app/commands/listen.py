"""``edge-app listen``: a microphone or piped sound -> emotions, live."""

from __future__ import annotations

import argparse
import sys
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

from edge_app.classifier import Classifier
from edge_app.commands import EXIT_FAILED, EXIT_OK
from edge_app.commands.interrupts import leaving_on_interrupt
from edge_app.commands.options import (
    add_answer_options,
    add_model_options,
    make_classifier,
    wrong_usage,
)
from edge_app.commands.terminal import complain
from edge_app.inference.runtime import DeviceError
from edge_app.inputs import STANDARD_INPUT
from edge_app.results import EVENT_KINDS
from ser_edge.audio.base import AudioError

if TYPE_CHECKING:
    from edge_app.live.health import HealthAddress
    from edge_app.output.delivery import Delivery

_CLOSE_SECONDS: Final = 1.5  # for what the sinks still hold

_DESCRIPTION: Final = """\
Recognise the emotion in speech from a microphone or standard input, live: segments with start and
end, each as soon as it is over. In a terminal it shows scores, level and segments; into a pipe or a
file it writes a line a segment. Ctrl-C or SIGTERM ends it.

examples:
  edge-app listen                                    # the default microphone
  edge-app listen --list-mics
  edge-app listen "USB Audio" --sink jsonl:events.jsonl
  edge-app listen 3 --every change --sink mqtt://broker.local/ser-edge
  edge-app listen --health 8001                      # and: curl http://127.0.0.1:8001/healthz
  arecord -f S16_LE -r 16000 -t raw | edge-app listen - --rate 16000
  edge-app listen - < interview.wav                  # a WAV says its rate itself
  ffmpeg -loglevel error -rtsp_transport tcp -i rtsp://camera/stream -vn -ac 1 -ar 16000 \\
    -f wav - | edge-app listen - --sink jsonl        # a camera, read by ffmpeg

A microphone that is unplugged is searched for by its name until it is back. Raw sound is 16-bit,
little endian. No sound is stored. For the same file predict gives somewhat different segments and
scores: it has the whole file at once, while listen decides every half second without knowing what
follows.

exit status: 0 ended or interrupted, 1 the sound or the device failed, 2 wrong usage
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    command.description = _DESCRIPTION
    command.add_argument(
        "source",
        nargs="?",
        metavar="SOURCE",
        help="a microphone's name, part of it, or number; or - for standard input "
        "(default: the default microphone)",
    )
    command.add_argument("--list-mics", action="store_true", help="list microphones and end")
    command.add_argument(
        "--rate", type=int, metavar="HZ", help="of raw sound; of a microphone: the rate to ask for"
    )
    command.add_argument(
        "--channels", type=int, default=1, help="of raw sound on standard input (default: 1)"
    )
    command.add_argument("--name", help="of the source in the output (default: the microphone's)")
    command.add_argument(
        "--every",
        choices=EVENT_KINDS,
        default="segment",
        help="write each window (every half second), segment or change (default: segment)",
    )
    command.add_argument(
        "--sink",
        action="append",
        metavar="SINK",
        help="output: table, jsonl, csv, jsonl:PATH, csv:PATH, audacity:PATH, "
        "mqtt[s]://[user@]host[:port]/prefix (docs/how-to/outputs.md: where the password goes); "
        "repeatable (default: the live view in a terminal, else table)",
    )
    command.add_argument("--no-view", action="store_true", help="no live view in a terminal either")
    command.add_argument(
        "--health",
        metavar="[HOST:]PORT",
        help="answer GET /healthz there: 200 while sound arrives, 503 while it does not "
        "(HOST: 127.0.0.1; PORT 0: a free one)",
    )
    add_model_options(command)
    add_answer_options(command)


def run(options: argparse.Namespace) -> int:
    with leaving_on_interrupt():
        from edge_app.live.health import HealthAddress
        from edge_app.live.microphone import MicrophoneError
        from edge_app.output.delivery import open_sinks

    if options.list_mics:
        return _list_mics(options)
    try:
        address = None if options.health is None else HealthAddress.parse(options.health)
    except ValueError as error:
        wrong_usage(options, f"--health: {error}")
    sinks = list(options.sink or ())
    # Sinks named without a place write to standard output, where the view would be.
    taken = any(":" not in sink for sink in sinks)
    view = sys.stdout.isatty() and not options.no_view and not taken
    if not sinks and not view:
        sinks = ["table"]
    classifier = make_classifier(options)
    try:
        delivery = open_sinks(sinks, classifier.labels, options.every)
    except ValueError as error:
        wrong_usage(options, str(error))
    try:
        return _listen(options, classifier, delivery, view, address)
    except MicrophoneError as error:
        complain(options, str(error))
        return EXIT_FAILED
    finally:
        delivery.close(timeout=_CLOSE_SECONDS)  # it says itself what was not written


def _listen(
    options: argparse.Namespace,
    classifier: Classifier,
    delivery: Delivery,
    wanted: bool,
    address: HealthAddress | None,
) -> int:
    with leaving_on_interrupt():
        from edge_app.live.health import HealthServer
        from edge_app.live.loop import listen, stopped_by_signals
        from edge_app.live.view import LiveView

    stop = threading.Event()
    view: LiveView | None = None

    def say(message: str) -> None:
        text = f"{options.command.prog}: {message}"
        if view is not None and sys.stderr is not None and sys.stderr.isatty():
            view.say(text)
        else:
            print(text, file=sys.stderr, flush=True)

    source = _source(options, say)
    with ExitStack() as open_things:
        open_things.enter_context(stopped_by_signals(stop))
        if address is not None:
            try:
                server = HealthServer(address, lambda: source.status, delivery.health)
            except OSError as error:
                say(f"error: --health {options.health}: {error.strerror or error}")
                return EXIT_FAILED
            say(f"health: {open_things.enter_context(server).url}")
        if wanted:
            title = f"{classifier.manifest.name} on {classifier.device}"
            view = LiveView(sys.stdout, classifier.labels, title, lambda: source.status)
        try:
            listen(classifier, source, delivery.event, stop, name=options.name, watcher=view)
        except (AudioError, DeviceError) as error:
            say(f"error: {error}")
            return EXIT_FAILED
        finally:
            if view is not None:
                view.close()
                view = None
    return EXIT_OK


def _source(options: argparse.Namespace, say: Any) -> Any:
    try:
        if options.source == STANDARD_INPUT:
            from edge_app.live.sources import StandardInput

            if sys.stdin is None:
                wrong_usage(options, "standard input is closed")
            return StandardInput(sys.stdin.fileno(), options.rate, options.channels)
        from edge_app.live.microphone import Microphone

        return Microphone(options.source, options.rate, say)
    except ValueError as error:
        wrong_usage(options, str(error))


def _list_mics(options: argparse.Namespace) -> int:
    from edge_app.live.microphone import MicrophoneError, microphones

    try:
        found = microphones()
    except MicrophoneError as error:
        complain(options, str(error))
        return EXIT_FAILED
    for one in found:
        channels = "1 channel" if one.channels == 1 else f"{one.channels} channels"
        print(f"{one.number}: {one.name}, {channels}, {one.rate} Hz")
    if not found:
        print("no microphones")
    return EXIT_OK
