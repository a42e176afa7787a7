#!/usr/bin/env python3
"""Teach a shipped model the voices of your own recordings; get a model of your own.

DATA holds a folder for each emotion (happy/monday.wav), with several speakers a folder for each of
them too (anna/happy/monday.wav), or a labels.csv with the columns file, emotion, speaker. A fifth
of it is held out for a check first, then a model is trained on all of it, packaged and exported.
A run that was killed goes on where it was.

examples:
  scripts/finetune.py my-voice anna
  scripts/finetune.py my-voice anna --also images/ravdess --epochs 50
  scripts/finetune.py my-voice anna --from models/compact --last-layer-only
  edge-app predict -m anna clip.wav
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ser_edge.config import recipe
from ser_edge.config.hardware import add_hardware_options, hardware_of
from ser_edge.corpora import CORPORA


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with your recordings")
    parser.add_argument("name", help="what the new model will be called")
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        default=Path("models/compact"),
        metavar="MODEL",
        help="model to start from (default: models/compact)",
    )
    parser.add_argument(
        "--also",
        type=Path,
        nargs="+",
        default=[],
        metavar="IMAGES",
        help="renderings to train on beside yours, lest emotions that yours lack be forgotten",
    )
    parser.add_argument(
        "--sounds",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="recordings of --also, where the recipe changes waveforms",
    )
    parser.add_argument(
        "--work", type=Path, help="folder for pictures and runs (default: runs/NAME)"
    )
    parser.add_argument("--models", type=Path, default=Path("models"), help="(default: models)")
    parser.add_argument("--ir", type=Path, default=Path("ir"), help="(default: ir)")
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    add_hardware_options(parser)
    recipe.add_options(parser)
    options = parser.parse_args()

    try:
        scan = CORPORA["own"].scan(options.data)
    except ValueError as error:
        parser.error(str(error))
    if not scan.utterances:
        for problem in scan.problems:
            print(f"left out: {problem}", file=sys.stderr)
        parser.error(f"{options.data}: no labelled recording in it")

    from ser_edge.evaluation.finetune import fine_tune, fine_tuning_recipe
    from ser_edge.export.convert import ExportDriftError  # torch takes seconds to import

    try:
        base = fine_tuning_recipe(recipe.Recipe.read(options.start / "config.yaml"), options.name)
        tuned = fine_tune(
            scan,
            options.start,
            recipe.from_options(options, base),
            options.work or Path("runs") / options.name,
            also=options.also,
            sounds=[options.data, *options.sounds],
            models=options.models,
            ir=options.ir,
            hardware=hardware_of(options),
            bars=not options.quiet,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except ExportDriftError as error:
        print(f"{parser.prog}: drift: {error}", file=sys.stderr)
        return 1
    if tuned is None:  # one of several processes, not the first
        return 0
    who = "speakers not trained on" if tuned.held_out_speakers else "the speakers trained on"
    print(
        f"on {tuned.clips} held-out clips of {who}: UAR {tuned.uar_before:.3f} before, "
        f"{tuned.uar_after:.3f} after"
    )
    print(f"done: {tuned.ir}; try: edge-app predict -m {options.name} clip.wav")
    return 0


if __name__ == "__main__":
    sys.exit(main())
