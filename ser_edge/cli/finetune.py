"""``ser-edge finetune``: a model and your own recordings -> a model of your own."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ser_edge.cli.errors import CommandError
from ser_edge.cli.options import add_also, add_sounds, scan_corpus
from ser_edge.config import recipe
from ser_edge.config.hardware import add_hardware_options, hardware_of

DESCRIPTION: Final = """\
Adapt a shipped model to the voices of your own recordings.

DATA holds a folder per emotion (happy/monday.wav), with several speakers a folder for each of them
too (anna/happy/monday.wav), or a labels.csv with the columns file, emotion, speaker. A fifth of it
is held out for a check first, then a model is trained on all of it, packaged and exported. The same
command resumes an interrupted run.

examples:
  ser-edge finetune my-voice anna
  ser-edge finetune my-voice anna --also images/ravdess --epochs 50
  ser-edge finetune my-voice anna --from models/compact --last-layer-only
  edge-app predict -m anna clip.wav

exit status: 0 success, 1 the export drifted, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with your recordings")
    parser.add_argument("name", metavar="NAME", help="what the new model will be called")
    parser.add_argument(
        "--from",
        dest="start",
        type=Path,
        default=Path("models/compact"),
        metavar="MODEL",
        help="model to start from (default: models/compact)",
    )
    add_also(parser)
    add_sounds(parser, "those of --also, where the recipe changes waveforms")
    parser.add_argument(
        "--work", type=Path, metavar="DIR", help="for images and runs (default: runs/NAME)"
    )
    parser.add_argument("--models", type=Path, default=Path("models"), help="(default: models)")
    parser.add_argument("--ir", type=Path, default=Path("ir"), help="(default: ir)")
    add_hardware_options(parser)
    recipe.add_options(parser)


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    scan = scan_corpus("own", options.data, "labelled")

    from ser_edge.evaluation.finetune import fine_tune, fine_tuning_recipe
    from ser_edge.export.convert import ExportDriftError

    base = fine_tuning_recipe(recipe.Recipe.read(options.start / "config.yaml"), options.name)
    try:
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
    except ExportDriftError as error:
        raise CommandError(f"drift: {error}") from error
    if tuned is None:  # one of several processes, not the first
        return 0
    who = "speakers not trained on" if tuned.unheard_speakers else "the speakers trained on"
    print(
        f"on {tuned.clips} held-out clips of {who}: UAR {tuned.uar_before:.3f} before, "
        f"{tuned.uar_after:.3f} after"
    )
    print(f"done: {tuned.ir}; try: edge-app predict -m {options.name} clip.wav")
    return 0
