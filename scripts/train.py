#!/usr/bin/env python3
"""Train an emotion network on rendered mel images and score it on actors it never heard.

The run's folder gets config.yaml, weights.safetensors (last epoch), checkpoints/best.ckpt and
last.ckpt, metrics.json, predictions.csv and tensorboard/.

examples:
  scripts/render.py data/ravdess images/ravdess
  scripts/train.py images/ravdess runs/fold1 --fold 1 --config configs/plain.yaml
  scripts/train.py images/ravdess runs/wide --fold 1 --width 1.5 --epochs 100 --seed 3
  scripts/train.py images/ravdess runs/all --fold all
  scripts/train.py images/ravdess runs/fold1 --fold 1 --config configs/plain.yaml --resume
  scripts/train.py images/ravdess runs/dense --fold 1 --net densenet121 --no-pretrained
  scripts/train.py images/ravdess runs/pupil --fold 1 --teacher runs/a1 runs/b1 --distill 0.7
  torchrun --nproc-per-node 2 scripts/train.py images/ravdess runs/two --fold 1
  tensorboard --logdir runs
  scripts/train.py images/ravdess runs/fold1 --fold 1 --track tensorboard mlflow
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from ser_edge.config import recipe
from ser_edge.config.hardware import add_hardware_options, hardware_of
from ser_edge.config.tracking import TrackingError, add_tracking_options, tracking_of
from ser_edge.data.splits import FOLDS


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="folder that scripts/render.py wrote")
    parser.add_argument("out", type=Path, help="folder for the run")
    parser.add_argument(
        "--fold",
        required=True,
        choices=FOLDS,
        help="1 to 5: EmoBox fold whose actors are the test; all: train on every actor but fold "
        "6's; random: divide clips at random (leaky); speakers: divide speakers at random",
    )
    parser.add_argument(
        "--refit",
        type=Path,
        metavar="RUN",
        help="train on the fold's validation speakers as well, once RUN, of the same recipe and "
        "fold, has shown what it is worth on them: what it said of them is kept for calibration",
    )
    parser.add_argument(
        "--also",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGES",
        help="further renderings to train on; who is scored is left out of them",
    )
    parser.add_argument(
        "--sounds",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders with the recordings, where the recipe changes waveforms (--sound-...)",
    )
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        metavar="MODEL",
        help="start from the weights of this run or model folder, and from its recipe without "
        "its teachers",
    )
    parser.add_argument(
        "--teacher",
        dest="teachers",
        type=Path,
        nargs="+",
        default=[],
        metavar="MODEL",
        help="runs or model folders whose mean scores are taught as well, of the same fold "
        "(with --distill)",
    )
    parser.add_argument(
        "--average",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="runs of the same fold and network, best from the same start, whose weights are "
        "averaged with those of this run when it is trained: half of its own, half of theirs",
    )
    parser.add_argument(
        "--targets",
        type=Path,
        metavar="CSV",
        help="soft targets that scripts/teach.py wrote, in place of --teacher (with --distill)",
    )
    parser.add_argument(
        "--gate-speech",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGES",
        help="renderings of other corpora whose clips the gate hears as speech too (with --gate): "
        "without them it may turn strange microphones away",
    )
    parser.add_argument("--resume", action="store_true", help="go on with a run broken off")
    add_hardware_options(parser)
    add_tracking_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    recipe.add_options(parser)
    recipe.add_image_options(parser)
    options = parser.parse_args()

    from ser_edge.training.fit import (  # torch takes seconds to import: not for --help
        Ancestry,
        Sources,
        fit,
    )

    try:
        base = None
        if options.start:  # whoever taught it is not at hand
            base = replace(recipe.Recipe.read(options.start / "config.yaml"), distill=0.0)
        result = fit(
            Sources(
                options.images,
                also=options.also,
                sounds=options.sounds,
                gate_speech=options.gate_speech,
            ),
            options.out,
            recipe.from_options(options, base),
            options.fold,
            Ancestry(
                start=options.start,
                teachers=options.teachers,
                soft_targets=options.targets,
                average=options.average,
                refit=options.refit,
            ),
            hardware=hardware_of(options),
            tracking=tracking_of(options),
            resume=options.resume,
            progress=not options.quiet,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except TrackingError as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 1
    if not result.leader:
        return 0
    heard = "the same speakers: LEAKY" if options.fold == "random" else "unheard speakers"
    for part, found in result.figures.items():
        print(
            f"{part}: UAR {found['uar']:.3f}, accuracy {found['accuracy']:.3f}, "
            f"macro F1 {found['macro_f1']:.3f} on {found['clips']} clips of {heard}"
        )
    print(f"all of it: {result.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
