"""``edge-app explain``: a sound -> a picture of what made the model say so."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Final

from edge_app.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    Commands,
    add_model_options,
    make_classifier,
    wrong_usage,
)
from edge_app.inference.runtime import DeviceError
from edge_app.inputs import source_of
from ser_edge.audio.base import AudioError

_DESCRIPTION: Final = """\
Draw why a sound got its answer: its mel image, the same with what spoke for the answer in orange
and what spoke against it in blue, and the scores, as one PNG. Parts of the image are made silent
one by one, and the model is asked again each time: some 600 times, a few seconds.

examples:
  edge-app explain clip.wav                           # writes why.png
  edge-app explain clip.wav --out pictures/clip.png
  edge-app explain clip.wav --emotion happy           # why not happy?
  edge-app explain interview.ogg --at 63.5            # the 5 seconds around it
  sox clip.amr -t wav - | edge-app explain -

It shows what this model goes by, right or wrong, not what makes a voice sound so.

exit status: 0 all well, 1 the sound or the picture failed, 2 wrong usage
"""


def add(commands: Commands) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "explain",
        help="a sound -> a picture of what made the model say so",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "path", metavar="PATH", help="sound, mel image (.png), or - for standard input"
    )
    command.add_argument(
        "--out", default="why.png", metavar="PNG", help="picture to write (default: why.png)"
    )
    command.add_argument(
        "--at",
        type=float,
        metavar="SECONDS",
        help="of a sound longer than 5 s, the window around this (default: that with most speech)",
    )
    command.add_argument("--emotion", help="explain this one (default: that of the highest score)")
    add_model_options(command)
    command.set_defaults(run=_run, command=command)


def _run(options: argparse.Namespace) -> int:
    from edge_app.output import explanation_image

    out = Path(options.out)
    if out.suffix.lower() != ".png":
        wrong_usage(
            options, f"--out is {options.out!r}, the picture is a PNG: its name should end so"
        )
    if os.path.isfile(out) and os.path.isfile(options.path) and out.samefile(options.path):
        wrong_usage(options, f"--out is {options.out!r}, which is what should be explained")
    if not out.parent.is_dir():
        wrong_usage(options, f"--out is {options.out!r}: there is no folder {str(out.parent)!r}")
    classifier = make_classifier(options)
    try:
        found = classifier.explain(source_of(options.path), at=options.at, emotion=options.emotion)
    except (AudioError, DeviceError) as error:
        print(f"{options.command.prog}: error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except ValueError as error:
        wrong_usage(options, str(error))
    picture = explanation_image.draw(found)
    try:
        out.write_bytes(picture)
    except OSError as error:
        cause = error.strerror or error
        print(f"{options.command.prog}: error: {options.out}: {cause}", file=sys.stderr)
        return EXIT_FAILED
    print(explanation_image.title(found), *explanation_image.sentences(found), sep="\n")
    print(f"drawn: {options.out}")
    return EXIT_OK
