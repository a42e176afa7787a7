"""``edge-app profiles``: list the profiles that there are."""

from __future__ import annotations

import argparse
import sys
from typing import Final

from edge_app.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    Commands,
    add_profiles_option,
    wrong_usage,
)
from edge_app.inference.profile_store import (
    ProfileError,
    profile_files,
    profiles_folder,
    read_profile,
)

_DESCRIPTION: Final = """\
List the profiles of persons that edge-app enroll has made.

examples:
  edge-app profiles
  edge-app profiles --profiles ./people

exit status: 0 all well, 1 some file there is no profile, 2 wrong usage
"""


def add(commands: Commands) -> None:
    """Add the command to the program's."""
    command = commands.add_parser(
        "profiles",
        help="list the profiles that there are",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_profiles_option(command)
    command.set_defaults(run=_run, command=command)


def _run(options: argparse.Namespace) -> int:
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
            print(f"{options.command.prog}: error: {error}", file=sys.stderr)
            status = EXIT_FAILED
        else:
            print(f"{path.stem}: {profile.clips} clips, model {profile.model}, {path}")
    return status
