"""``edge-app enroll``: clips of a person -> a profile."""

from __future__ import annotations

import argparse
import os
from typing import Final

from edge_app.commands import EXIT_FAILED, EXIT_OK
from edge_app.commands.options import (
    add_model_options,
    add_profiles_option,
    make_classifier,
    progress_stream,
    wrong_usage,
)
from edge_app.commands.progress import working
from edge_app.commands.terminal import complain
from edge_app.enrolment import WHY_SO_MANY, clip_logits, make_profile
from edge_app.inference.profile_store import ProfileError, check_free, profile_path, save_profile
from edge_app.inputs import STANDARD_INPUT, expand, source_of
from ser_edge.profiles import MIN_CLIPS

_DESCRIPTION: Final = """\
Store the model's average output for a person's voice, so that predict --profile can subtract it:
some voices are classified as sad, or angry, whatever they say. No labels are needed, but clips in
which the person speaks with all kinds of emotion, about equally often: 30 are good, 8 the minimum.
With clips of one mood alone the profile takes that mood for the person's voice, and predicts it
less. No sound is stored; the profile describes a person, so ask them.

examples:
  edge-app enroll --name anna anna/                    # a folder of clips
  edge-app enroll --name anna a/*.wav --replace        # overwrite it
  edge-app enroll --name bo -m ir/mine/FP16/mine.xml bo/*.flac --profiles ./people
  edge-app predict --profile anna clip.wav
  edge-app profiles                                    # lists them

A profile belongs to the weights it was made with (FP16 or INT8 alike); others reject it.

exit status: 0 success, 1 some clip failed or too few could be used, 2 wrong usage
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    command.description = _DESCRIPTION
    command.add_argument(
        "paths",
        nargs="+",
        metavar="CLIP",
        help="sound, mel image (.png), folder (searched through), glob, or - for standard input",
    )
    command.add_argument("--name", required=True, help="of the profile")
    command.add_argument("--replace", action="store_true", help="overwrite a profile of that name")
    add_profiles_option(command)
    add_model_options(command, hint=None)


def run(options: argparse.Namespace) -> int:
    names = list({_once(name): name for name in expand(options.paths)}.values())
    try:
        path = profile_path(options.name, options.profiles)
        check_free(path, options.replace)
    except ProfileError as error:
        wrong_usage(options, str(error))
    if len(names) < MIN_CLIPS:
        wrong_usage(options, f"clips are {len(names)}, {WHY_SO_MANY}")
    classifier = make_classifier(options)
    with working(progress_stream(options), f"classifying {len(names)} clips"):
        clips = clip_logits(classifier, names, source_of)
    for problem in clips.failed:
        complain(options, str(problem))
    for name in clips.silent:
        complain(options, f"{name}: it is silent and not counted", "warning")
    try:
        profile = make_profile(options.name, clips, classifier)
        save_profile(profile, options.profiles, options.replace)
    except ProfileError as error:
        complain(options, str(error))
        return EXIT_FAILED
    counts = clips.counts(profile.labels)
    said = ", ".join(f"{label} {count}" for label, count in counts.items())
    changes = ", ".join(
        f"{label} {change:+.2f}"
        for label, change in zip(profile.labels, profile.correction, strict=True)
    )
    print(
        f"kept: {path}",
        f"{profile.name}: {profile.clips} clips, classified by {profile.model} as: {said}",
        f"added to log scores: {changes}",
        "This holds if the clips were spoken with all kinds of emotion, about equally often; "
        "if not, enroll again with clips that were, or leave out --profile.",
        sep="\n",
    )
    return EXIT_FAILED if clips.failed else EXIT_OK


def _once(name: str) -> str:
    """What is the same for two names of one file."""
    return name if name == STANDARD_INPUT else os.path.realpath(name)
