"""``edge-app explain``: a sound -> an image of what made the model say so."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Final

from edge_app.commands import EXIT_FAILED, EXIT_OK
from edge_app.commands.options import (
    add_model_options,
    make_classifier,
    progress_stream,
    wrong_usage,
)
from edge_app.commands.progress import working
from edge_app.commands.terminal import complain
from edge_app.inference.runtime import DeviceError
from edge_app.inputs import source_of
from ser_edge.audio.decode import AudioError

_DESCRIPTION: Final = """\
Draw why a sound got its answer: its mel image, the same with what spoke for the answer in orange
and what spoke against it in blue, and the scores, as one PNG. Parts of the mel image are silenced
one by one and classified each time: some 600 times, a few seconds (occlusion sensitivity).

examples:
  edge-app explain clip.wav                           # writes why.png
  edge-app explain clip.wav --out images/clip.png
  edge-app explain clip.wav --emotion happy           # why not happy?
  edge-app explain interview.ogg --at 63.5            # the 5 seconds around it
  sox clip.amr -t wav - | edge-app explain -

It shows what this model relies on, right or wrong, not what makes a voice sound so.

exit status: 0 success, 1 the sound or the image failed, 2 wrong usage
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    command.description = _DESCRIPTION
    command.add_argument(
        "path", metavar="PATH", help="sound, mel image (.png), or - for standard input"
    )
    command.add_argument(
        "--out", default="why.png", metavar="PNG", help="image to write (default: why.png)"
    )
    command.add_argument(
        "--at",
        type=float,
        metavar="SECONDS",
        help="of a sound longer than 5 s, the window around this (default: that with most speech)",
    )
    command.add_argument("--emotion", help="explain this one (default: that of the highest score)")
    add_model_options(command)


def run(options: argparse.Namespace) -> int:
    from edge_app.output import explanation_image

    out = Path(options.out)
    if out.suffix.lower() != ".png":
        wrong_usage(
            options, f"--out is {options.out!r}, the image is a PNG: its name should end in .png"
        )
    if os.path.isfile(out) and os.path.isfile(options.path) and out.samefile(options.path):
        wrong_usage(options, f"--out is {options.out!r}, the very file to be explained")
    if not out.parent.is_dir():
        wrong_usage(options, f"--out is {options.out!r}: there is no folder {str(out.parent)!r}")
    classifier = make_classifier(options)
    try:
        with working(progress_stream(options), f"explaining {options.path}"):
            found = classifier.explain(
                source_of(options.path), at=options.at, emotion=options.emotion
            )
    except (AudioError, DeviceError) as error:
        complain(options, str(error))
        return EXIT_FAILED
    except ValueError as error:
        wrong_usage(options, str(error))
    image = explanation_image.draw(found)
    try:
        out.write_bytes(image)
    except OSError as error:
        cause = error.strerror or error
        complain(options, f"{options.out}: {cause}")
        return EXIT_FAILED
    print(explanation_image.title(found), *explanation_image.sentences(found), sep="\n")
    print(f"drawn: {options.out}")
    return EXIT_OK
