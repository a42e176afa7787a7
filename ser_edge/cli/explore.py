"""``ser-edge explore``: a clip, its augmentations or a corpus -> one HTML page."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ser_edge.cli.errors import CommandError
from ser_edge.cli.options import CLONE, add_corpus_folder, add_output_options, add_seed, add_workers
from ser_edge.commandline.arguments import EXIT_USAGE

if TYPE_CHECKING:
    from ser_edge.reports.explore.making import Made

DESCRIPTION: Final = """\
See and play what is in a sound, what training does to it, and what is in a corpus.

Each command writes one HTML page that needs nothing else: images and sounds are in it.

augment shows and plays every augmentation of waveform and mel image at three strengths, by the code
that training uses. clip shows a sound as waveform, mel image, MFCC, chroma, harmonic and percussive
part, loudness, autocorrelation and pitch. corpus counts clips and durations and sets one sentence
of one speaker side by side in all emotions.

examples:
  ser-edge explore augment samples/woman-soft-slow.flac
  ser-edge explore augment clip.wav --config configs/plain.yaml --others data/ravdess --seed 2
  ser-edge explore clip samples/man-even.wav --out man.html
  ser-edge explore corpus data/ravdess
  ser-edge explore corpus data/ravdess --speaker 12 --sentence dogs --out dogs.html
  ser-edge explore corpus data/tess --corpus tess

exit status: 0 success, 1 a sound is unreadable, 2 wrong usage
"""

PAGES: Final = Path("runs/explore")
RECIPE: Final = CLONE / "configs" / "compact.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="augment | clip | corpus")
    augment = verbs.add_parser(
        "augment", help="a clip under every augmentation of training", description=DESCRIPTION
    )
    clip = verbs.add_parser("clip", help="one sound, in many views", description=DESCRIPTION)
    corpus = verbs.add_parser(
        "corpus", help="counts, durations, one sentence in all emotions", description=DESCRIPTION
    )
    for command in (augment, clip):
        command.add_argument("clip", type=Path, metavar="SOUND")
    augment.add_argument(
        "--config",
        type=Path,
        default=RECIPE,
        metavar="YAML",
        help="recipe whose values are named and drawn together (default: configs/compact.yaml)",
    )
    augment.add_argument(
        "--others",
        type=Path,
        metavar="DIR",
        help="other voices, for babble (default: the clip's folder)",
    )
    add_seed(augment, 1)
    add_corpus_folder(corpus)
    corpus.add_argument("--speaker", default="", help="of the sentence, as 07 or ravdess-07")
    corpus.add_argument("--sentence", default="", help="how the sentence begins")
    add_workers(corpus, threads=4)
    for name, command in verbs.choices.items():
        command.add_argument(
            "--out",
            type=Path,
            metavar="HTML",
            help=f"page to write (default: {PAGES}/NAME-{name}.html)",
        )
        add_output_options(command, nested=True)


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from ser_edge.audio.base import AudioError
    from ser_edge.files import write_whole

    subject: Path = options.data if options.verb == "corpus" else options.clip
    out = options.out or PAGES / f"{subject.resolve().stem}-{options.verb}.html"
    try:
        made = _make(options)
    except AudioError as error:
        raise CommandError(error) from error
    except ModuleNotFoundError as error:
        extra = "explore,train" if options.verb == "augment" else "explore"
        needs = f"it needs {error.name}: pip install 'ser-edge[{extra}]'"
        raise CommandError(needs, EXIT_USAGE) from error
    write_whole(out, made.page)
    for problem in made.problems:
        print(problem, file=sys.stderr)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 1 if made.failed else 0


def _make(options: argparse.Namespace) -> Made:
    from ser_edge.reports.explore import making

    if options.verb == "clip":
        return making.clip(options.clip)
    if options.verb == "corpus":
        return making.corpus(
            options.corpus,
            options.data,
            speaker=options.speaker,
            statement=options.sentence,
            workers=options.workers,
            progress=not options.quiet,
        )
    from ser_edge.config.recipe import Recipe

    return making.augmentations(
        options.clip,
        Recipe.read(options.config),
        others=options.others,
        seed=options.seed,
        progress=not options.quiet,
    )
