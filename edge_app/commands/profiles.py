"""``edge-app profiles``: list the profiles that there are."""

from __future__ import annotations

import argparse
from typing import Final

from edge_app.commands import EXIT_FAILED, EXIT_OK
from edge_app.commands.options import add_profiles_option, wrong_usage
from edge_app.commands.terminal import complain
from edge_app.inference.profile_store import (
    ProfileError,
    profile_files,
    profiles_folder,
    read_profile,
)

_DESCRIPTION: Final = """\
List the profiles that edge-app enroll has made.

examples:
  edge-app profiles
  edge-app profiles --profiles ./people

exit status: 0 success, 1 some file there is not a profile, 2 wrong usage
"""


def add_arguments(command: argparse.ArgumentParser) -> None:
    """Describe the command to its parser."""
    command.description = _DESCRIPTION
    add_profiles_option(command)


def run(options: argparse.Namespace) -> int:
    status = EXIT_OK
    try:
        folder = options.profiles or profiles_folder()
        files = list(profile_files(folder))
    except ProfileError as error:
        wrong_usage(options, str(error))
    if not files:
        print(f"no profiles in {folder}")
    for path in files:
        try:
            profile = read_profile(path)
        except ProfileError as error:
            complain(options, str(error))
            status = EXIT_FAILED
        else:
            print(f"{path.stem}: {profile.clips} clips, model {profile.model}, {path}")
    return status
