"""``ser-edge teach``: training clips and a teacher -> soft targets for ``ser-edge train``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from ser_edge.cli.options import add_also, add_fold, add_images, not_negative, positive

DESCRIPTION: Final = """\
Write a teacher's scores of training clips, as soft targets for ser-edge train --targets.

The teacher is a pretrained speech encoder (a bundle of torchaudio). Its features of every clip go
through a linear head, which is fitted on other speakers than the clip's and never on speakers that
are scored in the fold. The first use of a bundle downloads its weights (0.4 GB and more) from
download.pytorch.org.

A run of ser-edge finetune-ssl can be the teacher too. It was trained on these clips, so that its
scores add little to their labels; --parts 5 fine-tunes five more networks, each without a fifth of
the training speakers, and takes the scores of those speakers from it.

examples:
  ser-edge teach HUBERT_BASE images/ravdess data/ravdess targets/fold1.csv --fold 1
  ser-edge teach WAVLM_BASE_PLUS images/ravdess data/ravdess targets/fold1.csv --fold 1 --layer 8
  ser-edge teach runs/xlsr53/fold-1 images/ravdess data/ravdess targets/fold1.csv --fold 1 \\
      --parts 5
  ser-edge train images/ravdess runs/student --fold 1 --targets targets/fold1.csv --distill 0.5

exit status: 0 success, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "bundle",
        metavar="BUNDLE",
        help="bundle of torchaudio.pipelines by name, such as HUBERT_BASE, or the folder of a run "
        "of ser-edge finetune-ssl",
    )
    add_images(parser)
    parser.add_argument(
        "sounds", type=Path, nargs="+", metavar="SOUNDS", help="folders with the recordings"
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="CSV file for the targets")
    add_fold(parser)
    add_also(parser)
    parser.add_argument(
        "--parts",
        type=positive,
        metavar="N",
        help="groups of speakers, each left out once (default: 10 for a bundle; 1 for a run, which "
        "leaves nobody out)",
    )
    head = parser.add_argument_group("head of a bundle; a run has its own")
    head.add_argument("--layer", help="number from 1 up, or mean of all (default: mean)")
    head.add_argument("--l2", type=float, help="penalty of the head's weights (default: 0.01)")
    head.add_argument(
        "--seed", type=not_negative, help="of a random division, that of the run (default: 1)"
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    record = _finetuned(options) if Path(options.bundle).is_dir() else _frozen(options)
    found = record["figures"]
    whom = "that it was trained on" if record["teacher"]["parts"] == 1 else "held out from it"
    print(
        f"targets of {record['clips']} clips: UAR {found['uar']:.3f}, accuracy "
        f"{found['accuracy']:.3f} of the teacher on training speakers {whom}"
    )
    print(f"all of it: {options.out}")
    return 0


def _frozen(options: argparse.Namespace) -> dict[str, Any]:
    import torch

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


def _finetuned(options: argparse.Namespace) -> dict[str, Any]:
    from ser_edge.teachers.finetuned import finetuned_targets

    for name in ("layer", "l2", "seed"):
        if getattr(options, name) is not None:
            raise ValueError(f"--{name} is for a bundle's head, {options.bundle} has its own")
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
