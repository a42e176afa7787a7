#!/usr/bin/env python3
"""Let a large network pretrained on speech say what it hears in training clips: soft targets.

A bundle's features of every clip go through a linear head, which is fitted on other speakers than
the clip's and never on speakers who are scored in the fold. scripts/train.py --targets learns from
it. The first use of a bundle downloads its weights (0.4 GB and more) from download.pytorch.org.

A run of scripts/finetune_speech.py teaches as well. It has learnt these clips, so that it says
little more than their labels; --parts 5 fine-tunes five more, each of which has not heard a fifth
of the training speakers and speaks of those.

examples:
  scripts/teach.py HUBERT_BASE images/ravdess data/ravdess targets/fold1.csv --fold 1
  scripts/teach.py WAVLM_BASE_PLUS images/ravdess data/ravdess targets/fold1.csv --fold 1 --layer 8
  scripts/teach.py runs/xlsr53/fold-1 images/ravdess data/ravdess targets/fold1.csv --fold 1 \\
      --parts 5
  scripts/train.py images/ravdess runs/pupil --fold 1 --targets targets/fold1.csv --distill 0.5
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from ser_edge.data.splits import FOLDS


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "bundle",
        help="bundle of torchaudio.pipelines by name, as HUBERT_BASE, or the folder of a run of "
        "scripts/finetune_speech.py",
    )
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
        "--parts",
        type=int,
        help="groups of speakers, each left out once (default: of a bundle 10; of a run 1, which "
        "leaves nobody out)",
    )
    head = parser.add_argument_group("the head of a bundle; a run has its own")
    head.add_argument("--layer", help="number from 1 up, or mean of all (default: mean)")
    head.add_argument("--l2", type=float, help="penalty of the head's weights (default: 0.01)")
    head.add_argument("--seed", type=int, help="of a division at random, the pupil's (default: 1)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    options = parser.parse_args()

    try:
        record = tuned(options) if Path(options.bundle).is_dir() else frozen(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    found = record["figures"]
    heard = "had learnt" if record["teacher"]["parts"] == 1 else "had not heard"
    print(
        f"targets of {record['clips']} clips: UAR {found['uar']:.3f}, accuracy "
        f"{found['accuracy']:.3f} on training speakers that the teacher {heard}"
    )
    print(f"all of it: {options.out}")
    return 0


def frozen(options: argparse.Namespace) -> dict[str, Any]:
    import torch  # takes seconds to import: not for --help

    from ser_edge.nets.ssl_bundles import find_bundle
    from ser_edge.teachers.frozen import HeadOptions, frozen_targets

    given = {name: getattr(options, name) for name in ("layer", "l2", "parts", "seed")}
    return frozen_targets(
        find_bundle(options.bundle),
        options.bundle,
        options.images,
        options.sounds,
        options.out,
        options.fold,
        also=options.also,
        options=HeadOptions(**{k: v for k, v in given.items() if v is not None}),
        device="cuda" if torch.cuda.is_available() else "cpu",
        progress=not options.quiet,
    )


def tuned(options: argparse.Namespace) -> dict[str, Any]:
    from ser_edge.teachers.finetuned import finetuned_targets

    for name in ("layer", "l2", "seed"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} is of a bundle's head, {options.bundle} has its own")
    return finetuned_targets(
        Path(options.bundle),
        options.images,
        options.sounds,
        options.out,
        options.fold,
        also=options.also,
        parts=1 if options.parts is None else options.parts,
        progress=not options.quiet,
    )


if __name__ == "__main__":
    sys.exit(main())
