"""Profiles on disk: a name or a ``.json`` -> a person's profile."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from ser_edge.commandline.arguments import did_you_mean
from ser_edge.files import UNFINISHED, write_whole
from ser_edge.profiles import Profile, check_name

SUFFIX: Final = ".json"
_FILE_BYTES: Final = 100_000  # a sound given by mistake is not read to its end


class ProfileError(ValueError):
    """A profile that cannot be used or written; the message names it and what is wrong."""


def profiles_folder() -> Path:
    """``ser-edge/profiles`` in ``$XDG_CONFIG_HOME``, else ``~/.config``; Windows: ``%APPDATA%``.

    Raises
    ------
    ProfileError
        The user has no home.
    """
    base = os.environ.get("APPDATA" if sys.platform == "win32" else "XDG_CONFIG_HOME")
    try:
        return (Path(base) if base else Path.home() / ".config") / "ser-edge" / "profiles"
    except RuntimeError:
        raise ProfileError("there is no home to keep profiles in: give --profiles DIR") from None


def profile_path(name: str, folder: Path | None = None) -> Path:
    """Where the profile of that name is, or would be.

    Raises
    ------
    ProfileError
        The name is not fit for one.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise ProfileError(str(error)) from None
    return (folder or profiles_folder()) / f"{name}{SUFFIX}"


def find_profile(profile: str | os.PathLike[str], folder: Path | None = None) -> Profile:
    """A profile by its name, or from a file.

    Parameters
    ----------
    profile : str or path
        A name, or a path that ends in ``.json``.
    folder : Path, optional
        Where names are looked for; without it :func:`profiles_folder`.

    Raises
    ------
    ProfileError
        No such profile, or a file that is none; the message names it.
    """
    given = os.fsdecode(profile)
    if given.lower().endswith(SUFFIX):
        return read_profile(Path(given))
    path = profile_path(given, folder)
    if not os.path.isfile(path):
        names = [found.stem for found in profile_files(path.parent)]
        raise ProfileError(
            f"there is no profile {given!r} in {path.parent}; profiles there: "
            f"{', '.join(names) or 'none'} (edge-app enroll makes one; or give a .json)"
            f"{did_you_mean(given, names)}"
        )
    return read_profile(path)


def read_profile(path: Path) -> Profile:
    """Read a file that :func:`save_profile` wrote.

    Raises
    ------
    ProfileError
        It is missing, cannot be read, or is no profile; the message names it.
    """
    try:
        with open(path, "rb") as file:
            content = file.read(_FILE_BYTES + 1)
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror or error}") from None
    except ValueError:  # a NUL in the name
        raise ProfileError(f"{str(path)!r}: there is no such file") from None
    try:
        if len(content) > _FILE_BYTES:
            raise ValueError("it is no JSON")
        try:
            text = content.decode()
        except UnicodeDecodeError:
            raise ValueError("it is no JSON") from None
        return Profile.from_json(text)
    except ValueError as error:
        raise ProfileError(f"{path}: {error}") from None


def profile_files(folder: Path) -> Iterator[Path]:
    """Files of a folder that are called as profiles are, sorted; none where it is not there."""
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise ProfileError(f"{folder}: {error.strerror or error}") from None
    for name in names:
        if name.endswith(SUFFIX) and not name.endswith(UNFINISHED) and not name.startswith("."):
            yield folder / name


def save_profile(profile: Profile, folder: Path | None = None, replace: bool = False) -> Path:
    """Write a profile, whole or not at all.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ProfileError
        There is one of that name already and ``replace`` is False, or it cannot be written.
    """
    path = profile_path(profile.name, folder)
    check_free(path, replace)
    try:
        write_whole(path, profile.to_json())
    except OSError as error:
        raise ProfileError(f"{path}: {error.strerror or error}") from None
    return path


def check_free(path: Path, replace: bool) -> None:
    """Raise ProfileError where a profile is that may not be replaced."""
    if os.path.lexists(path) and not replace:
        raise ProfileError(
            f"{path}: there is a profile {path.stem} already; --replace makes it anew"
        )
