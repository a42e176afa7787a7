#!/usr/bin/env python3
"""See and hear: what training does to a clip, what is in a sound, what is in a corpus.

Each command writes one HTML page that needs nothing else: pictures and sounds are in it.

augment shows and plays every augmentation of waveform and picture at three strengths, drawn by the
classes of training. clip shows a sound as wave, mel image, MFCC, chroma, harmonic and percussive
part, loudness, autocorrelation and pitch. corpus counts clips and durations and sets one sentence
of one speaker side by side in all emotions.

examples:
  scripts/explore.py augment samples/woman-soft-slow.flac
  scripts/explore.py augment clip.wav --config configs/plain.yaml --others data/ravdess --seed 2
  scripts/explore.py clip samples/man-even.wav --out man.html
  scripts/explore.py corpus data/ravdess
  scripts/explore.py corpus data/ravdess --speaker 12 --sentence dogs --out dogs.html
  scripts/explore.py corpus data/tess --corpus tess

exit status: 0 all well, 1 a sound could not be read, 2 wrong usage
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ser_edge.audio.decode import AudioError
from ser_edge.corpora import CORPORA
from ser_edge.files import write_whole

if TYPE_CHECKING:
    from ser_edge.reports.explore.making import Made

PAGES = Path("runs/explore")
RECIPE = Path(__file__).resolve().parent.parent / "configs" / "compact.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="augment | clip | corpus")

    def command(verb: str, what: str, help_: str) -> argparse.ArgumentParser:
        found = verbs.add_parser(
            verb,
            help=help_,
            description=__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        found.add_argument(
            what, type=Path, help="a sound" if what == "clip" else "folder of the corpus"
        )
        found.add_argument(
            "--out",
            type=Path,
            metavar="HTML",
            help=f"page to write (default: {PAGES}/NAME-{verb}.html)",
        )
        return found

    augment = command("augment", "clip", "a clip under every augmentation of training")
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
    augment.add_argument("--seed", type=int, default=1, help="of all draws (default: 1)")
    command("clip", "clip", "one sound, seen in many ways")
    corpus = command("corpus", "data", "counts, durations, one sentence in all emotions")
    corpus.add_argument("--corpus", choices=sorted(CORPORA), default="ravdess")
    corpus.add_argument("--speaker", default="", help="who says the sentence, as 07 or ravdess-07")
    corpus.add_argument("--sentence", default="", help="how the sentence begins")
    corpus.add_argument("--workers", type=int, default=4, help="threads (default: 4)")
    for one in (augment, corpus):
        one.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args()
    if options.verb == "corpus" and options.workers < 1:
        parser.error(f"--workers is {options.workers}, allowed: 1 or more")
    subject: Path = options.data if options.verb == "corpus" else options.clip
    out = options.out or PAGES / f"{subject.resolve().stem}-{options.verb}.html"
    try:
        made = page(options)
        write_whole(out, made.page)
    except AudioError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except ImportError as error:
        extra = "explore,train" if options.verb == "augment" else "explore"
        parser.error(f"this needs: pip install 'ser-edge[{extra}]' ({error})")
    for problem in made.problems:
        print(problem, file=sys.stderr)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")
    return 1 if made.failed else 0


def page(options: argparse.Namespace) -> Made:
    from ser_edge.reports.explore import making  # libraries of an extra: not for --help

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


if __name__ == "__main__":
    sys.exit(main())
