#!/usr/bin/env python3
"""Let a large network pretrained on speech say what it hears in training clips: soft targets.

Its features of every clip go through a linear head, which is fitted on other speakers than the
clip's and never on speakers who are scored in the fold. scripts/train.py --targets learns from it.
The first use of a bundle downloads its weights (0.4 GB and more) from download.pytorch.org.

examples:
  scripts/teach.py HUBERT_BASE images/ravdess data/ravdess targets/fold1.csv --fold 1
  scripts/teach.py WAVLM_BASE_PLUS images/ravdess data/ravdess targets/fold1.csv --fold 1 --layer 8
  scripts/train.py images/ravdess runs/pupil --fold 1 --targets targets/fold1.csv --distill 0.5
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ser_edge.folds import FOLDS


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", help="bundle of torchaudio.pipelines by name, as HUBERT_BASE")
    parser.add_argument("images", type=Path, help="folder that scripts/render.py wrote")
    parser.add_argument("sounds", type=Path, nargs="+", help="folders with the recordings")
    parser.add_argument("out", type=Path, help="CSV file for the targets")
    parser.add_argument("--fold", required=True, choices=FOLDS, help="as for scripts/train.py")
    parser.add_argument(
        "--also",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGES",
        help="further renderings that will be trained on",
    )
    parser.add_argument(
        "--layer", default="mean", help="number from 1 up, or mean of all (default: mean)"
    )
    parser.add_argument(
        "--l2", type=float, default=0.01, help="penalty of the head's weights (default: 0.01)"
    )
    parser.add_argument(
        "--parts",
        type=int,
        default=10,
        help="groups of speakers, each left out once (default: 10)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of a division at random, the pupil's (default: 1)"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args()

    import torch  # takes seconds to import: not for --help

    from ser_edge.bundles import find_bundle
    from ser_edge.speechteacher import HeadOptions, teach

    try:
        record = teach(
            find_bundle(options.bundle),
            options.bundle,
            options.images,
            options.sounds,
            options.out,
            options.fold,
            also=options.also,
            options=HeadOptions(options.layer, options.l2, options.parts, options.seed),
            device="cuda" if torch.cuda.is_available() else "cpu",
            progress=not options.quiet,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    found = record["figures"]
    print(
        f"targets of {record['clips']} clips: UAR {found['uar']:.3f}, accuracy "
        f"{found['accuracy']:.3f} on training speakers that the head had not heard"
    )
    print(f"all of it: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
