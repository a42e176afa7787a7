"""``ser-edge finetune-ssl``: a pretrained speech encoder, fine-tuned and scored fold by fold."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ser_edge.cli.errors import CommandError
from ser_edge.cli.options import (
    add_also,
    add_fold,
    add_folds,
    add_images,
    add_sounds,
    print_figures,
    report_study,
)
from ser_edge.config import recipe
from ser_edge.config.hardware import add_hardware_options, hardware_of
from ser_edge.config.ssl import SSLRecipe
from ser_edge.config.tracking import add_tracking_options, tracking_of

if TYPE_CHECKING:
    from ser_edge.training.fit import Result

DESCRIPTION: Final = """\
Fine-tune a large network pretrained on speech (XLSR-53, WavLM, HuBERT) and score it by folds.

Windows, folds, figures and report are those of ser-edge evaluate; ser-edge compare compares the
two. First the head is trained alone, then the transformer with it (--frozen-epochs). RUNS gets
fold-1 ... fold-5, predictions.csv, metrics.json and report.html; finished folds are not run again,
an interrupted one resumes. The first use of a bundle downloads its weights (0.4 GB and more) from
download.pytorch.org; RANDOM_WAV2VEC2 and RANDOM_WAVLM need none: tiny networks with random weights,
to try the commands.

examples:
  ser-edge finetune-ssl images/ravdess runs/xlsr53 --sounds data/ravdess \\
      --config configs/xlsr53.yaml
  ser-edge finetune-ssl images/ravdess runs/xlsr53 --sounds data/ravdess \\
      --config configs/xlsr53.yaml --folds 1 2 --accumulate-grad-batches 8 --gradient-checkpointing
  ser-edge finetune-ssl images/ravdess runs/wavlm --sounds data/ravdess \\
      --config configs/wavlm.yaml
  ser-edge finetune-ssl images/ravdess runs/all --sounds data/ravdess data/nemo --fold all \\
      --also images/nemo
  ser-edge finetune-ssl images/ravdess runs/try --sounds data/ravdess --bundle RANDOM_WAVLM \\
      --epochs 2 --frozen-epochs 1 --folds 1
  ser-edge compare runs/compact runs/xlsr53
  ser-edge teach runs/xlsr53/fold-1 images/ravdess data/ravdess targets/fold1.csv --fold 1

exit status: 0 success, 1 some run failed, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    add_images(parser)
    parser.add_argument(
        "runs", type=Path, metavar="RUNS", help="folder for the evaluation, or for the one run"
    )
    add_sounds(parser, "the input of the network", required=True)
    add_also(parser)
    which = parser.add_mutually_exclusive_group()
    add_folds(which, help="EmoBox folds to fine-tune if they are missing")
    add_fold(which, required=False)
    add_hardware_options(parser)
    add_tracking_options(parser)
    recipe.add_options(parser, SSLRecipe)
    recipe.add_image_options(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb, with ``--fold`` for one run in RUNS itself; gives the exit status."""
    chosen = SSLRecipe.read(options.config) if options.config else SSLRecipe()
    chosen = recipe.overridden(chosen, options)
    return _one(options, chosen) if options.fold else _evaluation(options, chosen)


def _fit(options: argparse.Namespace, chosen: SSLRecipe, out: Path, fold: str) -> Result:
    from ser_edge.training.fit import Sources, fit

    return fit(
        Sources(options.images, also=options.also, sounds=options.sounds),
        out,
        chosen,
        fold,
        hardware=hardware_of(options),
        tracking=tracking_of(options),
        resume=True,
        progress=not options.quiet,
    )


def _one(options: argparse.Namespace, chosen: SSLRecipe) -> int:
    try:
        result = _fit(options, chosen, options.runs, options.fold)
    except RuntimeError as error:  # of the device, such as its memory
        raise CommandError(f"{options.runs}: {str(error).splitlines()[0]}") from error
    print_figures(result.figures, options.fold, result.folder)
    return 0


def _evaluation(options: argparse.Namespace, chosen: SSLRecipe) -> int:
    from ser_edge.evaluation import crossval

    found = crossval.gather(
        options.images,
        options.runs,
        chosen,
        lambda folder, fold: _fit(options, chosen, folder, fold),
        folds=options.folds,
        sounds=options.sounds,
        progress=not options.quiet,
    )
    return report_study(found, options.runs)
