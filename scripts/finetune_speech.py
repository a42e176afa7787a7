#!/usr/bin/env python3
"""Fine-tune a large network pretrained on speech (XLSR-53, WavLM, HuBERT) and score it by folds.

Windows, folds, figures and report are those of scripts/evaluate.py, which compares the two. First
the head learns alone, then the transformer with it (--frozen-epochs). The folder gets fold-1 ...
fold-5, predictions.csv, metrics.json and report.html; a finished fold is not run again, a killed
one goes on. The first use of a bundle downloads its weights (0.4 GB and more) from
download.pytorch.org; RANDOM_WAV2VEC2 and RANDOM_WAVLM need none: tiny networks that know nothing,
to try the commands.

examples:
  scripts/finetune_speech.py images/ravdess runs/xlsr53 --sounds data/ravdess \\
      --config configs/xlsr53.yaml
  scripts/finetune_speech.py images/ravdess runs/xlsr53 --sounds data/ravdess \\
      --config configs/xlsr53.yaml --folds 1 2 --pieces 8 --checkpointing
  scripts/finetune_speech.py images/ravdess runs/wavlm --sounds data/ravdess \\
      --config configs/wavlm.yaml
  scripts/finetune_speech.py images/ravdess runs/all --sounds data/ravdess data/nemo --fold all \\
      --also images/nemo
  scripts/finetune_speech.py images/ravdess runs/try --sounds data/ravdess --bundle RANDOM_WAVLM \\
      --epochs 2 --frozen-epochs 1 --folds 1
  scripts/evaluate.py --compare runs/compact runs/xlsr53
  scripts/teach.py runs/xlsr53/fold-1 images/ravdess data/ravdess targets/fold1.csv --fold 1

exit status: 0 all well, 1 some run failed, 2 wrong usage
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ser_edge.config import recipe
from ser_edge.config.hardware import add_hardware_options, hardware_of
from ser_edge.config.ssl import SSLRecipe
from ser_edge.config.tracking import add_tracking_options, tracking_of
from ser_edge.data.splits import FOLDS, VALIDATION_ACTORS

if TYPE_CHECKING:
    from ser_edge.training.fit import Result


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="folder that scripts/render.py wrote")
    parser.add_argument("runs", type=Path, help="folder for the evaluation, or for the one run")
    parser.add_argument(
        "--sounds",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="folders with the recordings: what the network hears",
    )
    parser.add_argument(
        "--also",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGES",
        help="further renderings to train on; who is scored is left out of them",
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--folds",
        nargs="+",
        choices=[*map(str, VALIDATION_ACTORS)],
        default=[*map(str, VALIDATION_ACTORS)],
        metavar="N",
        help="EmoBox folds to fine-tune if they are missing (default: 1 2 3 4 5)",
    )
    which.add_argument(
        "--fold",
        choices=FOLDS,
        help="one run alone, as scripts/train.py makes it, in RUNS itself",
    )
    add_hardware_options(parser)
    add_tracking_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    recipe.add_options(parser, SSLRecipe)
    recipe.add_image_options(parser)
    options = parser.parse_args()
    try:
        chosen = SSLRecipe.read(options.config) if options.config else SSLRecipe()
        chosen = recipe.overridden(chosen, options)
        return one(options, chosen) if options.fold else evaluation(options, chosen)
    except (ValueError, OSError) as error:
        parser.error(str(error))


def fit(options: argparse.Namespace, chosen: SSLRecipe, out: Path, fold: str) -> Result:
    from ser_edge.training import fit as training

    return training.fit(
        training.Sources(options.images, also=options.also, sounds=options.sounds),
        out,
        chosen,
        fold,
        hardware=hardware_of(options),
        tracking=tracking_of(options),
        resume=True,
        progress=not options.quiet,
    )


def one(options: argparse.Namespace, chosen: SSLRecipe) -> int:
    try:
        result = fit(options, chosen, options.runs, options.fold)
    except RuntimeError as error:  # of the device, its memory
        print(f"failed: {options.runs}: {str(error).splitlines()[0]}", file=sys.stderr)
        return 1
    heard = "the same speakers: LEAKY" if options.fold == "random" else "unheard speakers"
    for part, found in result.figures.items():
        print(
            f"{part}: UAR {found['uar']:.3f}, accuracy {found['accuracy']:.3f}, "
            f"macro F1 {found['macro_f1']:.3f} on {found['clips']} clips of {heard}"
        )
    print(f"all of it: {result.folder}")
    return 0


def evaluation(options: argparse.Namespace, chosen: SSLRecipe) -> int:
    from ser_edge.evaluation import crossval  # torch takes seconds to import: not for --help
    from ser_edge.files import write_whole
    from ser_edge.reports import evaluation as report

    found = crossval.gather(
        options.images,
        options.runs,
        chosen,
        lambda folder, fold: fit(options, chosen, folder, fold),
        folds=options.folds,
        sounds=options.sounds,
        progress=not options.quiet,
    )
    if found is None:
        return 0
    write_whole(options.runs / crossval.REPORT, report.study_page(found))
    print(crossval.table(found))
    print(f"all of it: {options.runs / crossval.REPORT}")
    for problem in found.problems:
        print(f"failed: {problem}", file=sys.stderr)
    return 1 if found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
