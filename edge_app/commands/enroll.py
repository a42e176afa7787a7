"""``edge-app enroll``: clips of a person -> a profile."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Final

from edge_app.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    Commands,
    add_model_options,
    add_profiles_option,
    make_classifier,
    wrong_usage,
)
from edge_app.enrolment import WHY_SO_MANY, hear, make_profile
from edge_app.inference.profile_store import ProfileError, check_free, profile_path, save_profile
from edge_app.inputs import STANDARD_INPUT, expand, source_of
from ser_edge.profiles import MIN_CLIPS

_DESCRIPTION: Final = """\
Keep what the model says of a person's voice on average, so that predict --profile can take it
back: some voices sound sad to it, or angry, whatever they say. No labels are needed, but clips in
which the person speaks with all kinds of emotion, about as often with each: 30 are good, 8 the
least. Clips of one mood alone teach the profile that this mood is the person's voice, and it will
hear that mood less. No sound is kept; what is kept describes a person, so ask them.

examples:
  edge-app enroll --name anna anna/                    # a folder of clips
  edge-app enroll --name anna a/*.wav --replace        # make it anew
  edge-app enroll --name bo -m ir/mine/FP16/mine.xml bo/*.flac --profiles ./people
  edge-app predict --profile anna clip.wav
  edge-app profiles                                    # which there are

A profile belongs to the weights it was made with (FP16 or INT8 alike); others refuse it.

exit status: 0 all well, 1 some clip failed or too few could be heard, 2 wrong usage
"""


def add(commands: Commands) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "enroll",
        help="clips of a person -> a profile for predict --profile",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "paths",
        nargs="+",
        metavar="CLIP",
        help="sound, mel image (.png), folder (searched through), glob, or - for standard input",
    )
    command.add_argument("--name", required=True, help="what the profile will be called")
    command.add_argument("--replace", action="store_true", help="where there is one of that name")
    add_profiles_option(command)
    add_model_options(command, hint=None)
    command.set_defaults(run=_run, command=command)


def _run(options: argparse.Namespace) -> int:
    names = list({_once(name): name for name in expand(options.paths)}.values())
    try:
        path = profile_path(options.name, options.profiles)
        check_free(path, options.replace)
    except ProfileError as error:
        wrong_usage(options, str(error))
    if len(names) < MIN_CLIPS:
        wrong_usage(options, f"clips are {len(names)}, {WHY_SO_MANY}")
    classifier = make_classifier(options)
    heard = hear(classifier, names, source_of)
    for problem in heard.failed:
        print(f"{options.command.prog}: left out: {problem}", file=sys.stderr)
    for name in heard.silent:
        print(f"{options.command.prog}: not counted: {name}: it is silent", file=sys.stderr)
    try:
        profile = make_profile(options.name, heard, classifier)
        save_profile(profile, options.profiles, options.replace)
    except ProfileError as error:
        print(f"{options.command.prog}: error: {error}", file=sys.stderr)
        return EXIT_FAILED
    counts = heard.counts(profile.labels)
    said = ", ".join(f"{label} {count}" for label, count in counts.items())
    changes = ", ".join(
        f"{label} {change:+.2f}"
        for label, change in zip(profile.labels, profile.correction, strict=True)
    )
    print(
        f"kept: {path}",
        f"{profile.name}: {profile.clips} clips, heard by {profile.model} as: {said}",
        f"added to log scores: {changes}",
        "This holds if the clips were spoken with all kinds of emotion, about as often with each; "
        "if not, make it anew from clips that were, or leave out --profile.",
        sep="\n",
    )
    return EXIT_FAILED if heard.failed else EXIT_OK


def _once(name: str) -> str:
    """What is the same for two names of one file."""
    return name if name == STANDARD_INPUT else os.path.realpath(name)
