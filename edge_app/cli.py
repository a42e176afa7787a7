"""``edge-app``: the command line. It parses and calls."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from edge_app.classifier import Classifier
from edge_app.enrolment import WHY_SO_MANY, hear, make_profile
from edge_app.models import DEFAULT_MODEL
from edge_app.profiles import (
    ProfileError,
    check_free,
    find_profile,
    profile_files,
    profile_path,
    profiles_folder,
    read_profile,
    save_profile,
)
from edge_app.runtime import DeviceError
from edge_app.sinks import SINKS, Sink
from edge_app.sources import STANDARD_INPUT, expand
from ser_edge import __version__
from ser_edge.audio import AudioError
from ser_edge.labels import GROUPINGS
from ser_edge.manifest import PRECISIONS
from ser_edge.profile import MIN_CLIPS

EXIT_OK, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130

_PREDICT = """\
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
  edge-app predict --profile anna clip.wav           # Anna speaks; edge-app enroll made her profile

exit status: 0 all well, 1 some sound failed, 2 wrong usage (no such model, device or option)
"""

_EXPLAIN = """\
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


_ENROLL = """\
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

_PROFILES = """\
List the profiles of persons that edge-app enroll has made.

examples:
  edge-app profiles
  edge-app profiles --profiles ./people

exit status: 0 all well, 1 some file there is no profile, 2 wrong usage
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 all well, 1 some item failed, 2 wrong usage.
    """
    parser = argparse.ArgumentParser(
        prog="edge-app", description="Hear emotion in voices with an OpenVINO model."
    )
    parser.add_argument("--version", action="version", version=f"ser-edge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    predict = commands.add_parser(
        "predict",
        help="files, folders, globs, standard input -> emotions",
        description=_PREDICT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    predict.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="sound, mel image (.png), folder (searched through), glob, or - for standard input",
    )
    _add_model_options(predict)
    predict.add_argument(
        "--labels",
        metavar="NAME|FILE",
        help="coarser labels, whose scores are sums: "
        + ", ".join(GROUPINGS)
        + ", or a file with a line a group (default: the model's own)",
    )
    predict.add_argument(
        "--profile",
        metavar="NAME|FILE",
        help="of the person who speaks, made by edge-app enroll; or a .json (default: none)",
    )
    _add_profiles_option(predict)
    predict.add_argument("--format", choices=tuple(SINKS), default="table", help="(default: table)")
    explain = commands.add_parser(
        "explain",
        help="a sound -> a picture of what made the model say so",
        description=_EXPLAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    explain.add_argument(
        "path", metavar="PATH", help="sound, mel image (.png), or - for standard input"
    )
    explain.add_argument(
        "--out", default="why.png", metavar="PNG", help="picture to write (default: why.png)"
    )
    explain.add_argument(
        "--at",
        type=float,
        metavar="SECONDS",
        help="of a sound longer than 5 s, the window around this (default: that with most speech)",
    )
    explain.add_argument("--emotion", help="explain this one (default: that of the highest score)")
    _add_model_options(explain)
    enroll = commands.add_parser(
        "enroll",
        help="clips of a person -> a profile for predict --profile",
        description=_ENROLL,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    enroll.add_argument(
        "paths",
        nargs="+",
        metavar="CLIP",
        help="sound, mel image (.png), folder (searched through), glob, or - for standard input",
    )
    enroll.add_argument("--name", required=True, help="what the profile will be called")
    enroll.add_argument("--replace", action="store_true", help="where there is one of that name")
    _add_profiles_option(enroll)
    _add_model_options(enroll)
    profiles = commands.add_parser(
        "profiles",
        help="list the profiles that there are",
        description=_PROFILES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_profiles_option(profiles)
    options = parser.parse_args(arguments)
    if sys.stdout is None:  # closed by the caller
        return EXIT_FAILED
    _survive_odd_names(sys.stdout)
    run = {
        "predict": _predict,
        "explain": _explain,
        "enroll": _enroll,
        "profiles": _list_profiles,
    }[options.command]
    try:
        return run(options, commands.choices[options.command])
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except OSError as error:  # of the sink: those of sounds are AudioErrors
        # What is still in the buffer must not be tried again when Python closes stdout.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):  # the reader (head, less) has enough
            return EXIT_OK
        print(f"{parser.prog}: the answers cannot be written: {error}", file=sys.stderr)
        return EXIT_FAILED


def _add_profiles_option(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--profiles",
        type=Path,
        metavar="DIR",
        help="where profiles are (default: ser-edge/profiles in your configuration's folder)",
    )


def _add_model_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "-m", "--model", default=DEFAULT_MODEL, help=f"name or .xml (default: {DEFAULT_MODEL})"
    )
    command.add_argument(
        "-d", "--device", default="CPU", help="CPU, GPU, NPU, MYRIAD, AUTO, ... (default: CPU)"
    )
    command.add_argument(
        "--precision", choices=PRECISIONS, default="FP16", help="of a model given by name"
    )


def _classifier(options: argparse.Namespace, command: argparse.ArgumentParser) -> Classifier:
    profile = getattr(options, "profile", None)
    try:
        return Classifier(
            options.model,
            options.device,
            options.precision,
            getattr(options, "labels", None),
            None if profile is None else find_profile(profile, options.profiles),
        )
    except (ValueError, DeviceError) as error:  # ModelError is a ValueError
        command.error(str(error))  # exits with 2


def _predict(options: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    classifier = _classifier(options, command)
    sink = SINKS[options.format](sys.stdout, classifier.labels)
    return _predict_all(classifier, options.paths, sink)


def _enroll(options: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    names = list({_once(name): name for name in expand(options.paths)}.values())
    try:
        path = profile_path(options.name, options.profiles)
        check_free(path, options.replace)
    except ProfileError as error:
        command.error(str(error))
    if len(names) < MIN_CLIPS:
        command.error(f"clips are {len(names)}, {WHY_SO_MANY}")
    classifier = _classifier(options, command)
    heard = hear(classifier, names, _source)
    for problem in heard.failed:
        print(f"{command.prog}: left out: {problem}", file=sys.stderr)
    for name in heard.silent:
        print(f"{command.prog}: not counted: {name}: it is silent", file=sys.stderr)
    try:
        profile = make_profile(options.name, heard, classifier)
        save_profile(profile, options.profiles, options.replace)
    except ProfileError as error:
        print(f"{command.prog}: error: {error}", file=sys.stderr)
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


def _list_profiles(options: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    status = EXIT_OK
    try:
        folder = options.profiles or profiles_folder()
        files = list(profile_files(folder))
    except ProfileError as error:
        command.error(str(error))
    if not files:
        print(f"no profiles in {folder}")
    for path in files:
        try:
            profile = read_profile(path)
        except ProfileError as error:
            print(f"{command.prog}: error: {error}", file=sys.stderr)
            status = EXIT_FAILED
        else:
            print(f"{path.stem}: {profile.clips} clips, model {profile.model}, {path}")
    return status


def _explain(options: argparse.Namespace, command: argparse.ArgumentParser) -> int:
    from edge_app import drawing

    out = Path(options.out)
    if out.suffix.lower() != ".png":
        command.error(f"--out is {options.out!r}, the picture is a PNG: its name should end so")
    if os.path.isfile(out) and os.path.isfile(options.path) and out.samefile(options.path):
        command.error(f"--out is {options.out!r}, which is what should be explained")
    if not out.parent.is_dir():
        command.error(f"--out is {options.out!r}: there is no folder {str(out.parent)!r}")
    classifier = _classifier(options, command)
    try:
        found = classifier.explain(_source(options.path), at=options.at, emotion=options.emotion)
    except (AudioError, DeviceError) as error:
        print(f"{command.prog}: error: {error}", file=sys.stderr)
        return EXIT_FAILED
    except ValueError as error:
        command.error(str(error))
    picture = drawing.draw(found)
    try:
        out.write_bytes(picture)
    except OSError as error:
        cause = error.strerror or error
        print(f"{command.prog}: error: {options.out}: {cause}", file=sys.stderr)
        return EXIT_FAILED
    print(drawing.title(found), *drawing.sentences(found), f"drawn: {options.out}", sep="\n")
    return EXIT_OK


def _survive_odd_names(stream: object) -> None:
    """Names of files may hold bytes that are no UTF-8; printing them must not fail."""
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")


def _predict_all(classifier: Classifier, paths: Sequence[str], sink: Sink) -> int:
    status = EXIT_OK
    for name in expand(paths):
        try:
            answer = classifier.predict(_source(name))
        except (AudioError, DeviceError) as error:
            sink.error(name, str(error))
            status = EXIT_FAILED
        else:
            sink.answer(answer)
    return status


def _source(name: str) -> str | BinaryIO:
    if name == STANDARD_INPUT:
        if sys.stdin is None:
            raise AudioError(name, "standard input is closed")
        return sys.stdin.buffer
    if os.path.isdir(name):
        raise AudioError(name, "there is no sound in this folder")
    return name
