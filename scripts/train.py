#!/usr/bin/env python3
"""Train an emotion network on rendered mel images and score it on actors it never heard.

The run's folder gets config.yaml, weights.safetensors (last epoch), checkpoints/best.ckpt and
last.ckpt, metrics.json, predictions.csv and tensorboard/.

examples:
  scripts/render.py data/ravdess images/ravdess
  scripts/train.py images/ravdess runs/fold1 --fold 1 --config configs/compact.yaml
  scripts/train.py images/ravdess runs/wide --fold 1 --width 1.5 --epochs 100 --seed 3
  scripts/train.py images/ravdess runs/all --fold all
  tensorboard --logdir runs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ser_edge import recipe


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, help="folder that scripts/render.py wrote")
    parser.add_argument("out", type=Path, help="folder for the run")
    parser.add_argument(
        "--fold",
        required=True,
        choices=["1", "2", "3", "4", "5", "all"],
        help="EmoBox fold whose actors are the test; all: train on every actor but fold 6's",
    )
    parser.add_argument("--accelerator", choices=["auto", "cpu", "gpu"], default="auto")
    parser.add_argument("--workers", type=int, default=0, help="loader processes (default: 0)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    recipe.add_options(parser)
    recipe.add_image_options(parser)
    options = parser.parse_args()

    from ser_edge.training import train  # torch takes seconds to import: not for --help

    try:
        result = train(
            options.images,
            options.out,
            recipe.from_options(options),
            None if options.fold == "all" else int(options.fold),
            accelerator=options.accelerator,
            workers=options.workers,
            progress=not options.quiet,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    for part, found in result.figures.items():
        print(
            f"{part}: UAR {found['uar']:.3f}, accuracy {found['accuracy']:.3f}, "
            f"macro F1 {found['macro_f1']:.3f} on {found['clips']} clips of unheard actors"
        )
    print(f"all of it: {result.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
