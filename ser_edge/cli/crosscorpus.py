"""``ser-edge crosscorpus``: a trained network and renderings of other corpora -> figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ser_edge.cli.options import add_sounds

DESCRIPTION: Final = """\
Score a run, an evaluation or a model on other corpora, over the labels that its training had too.

examples:
  ser-edge crosscorpus images/nemo images/tess -m compact
  ser-edge crosscorpus images/nemo -m runs/wide --out runs/wide-on-nemo
  ser-edge crosscorpus images/nemo images/tess -m compact --into docs/results/corpora.md

exit status: 0 success, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument(
        "images", type=Path, nargs="+", metavar="IMAGES", help="renderings of other corpora"
    )
    parser.add_argument(
        "-m",
        "--model",
        help="name of a folder in models/, or a run, or an evaluation with its folds "
        "(default: the shipped model)",
    )
    add_sounds(parser, "for a run of ser-edge finetune-ssl")
    parser.add_argument("--out", type=Path, metavar="DIR", help="for figures and predictions")
    parser.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="document whose table of all corpora is replaced, for a model",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from edge_app.inference.model_store import DEFAULT_MODEL
    from ser_edge.evaluation import crosscorpus, crosscorpus_table
    from ser_edge.markdown import documents
    from ser_edge.runs.inference import load_run_model

    folder = Path(options.model or DEFAULT_MODEL)
    if not folder.is_dir():
        folder = Path("models") / folder
    if options.into is not None:
        documents.check_document(options.into, crosscorpus_table.TABLE)
        crosscorpus_table.check_model(folder)
    found = []
    for run in crosscorpus.runs_below(folder):
        model = load_run_model(run, options.sounds, progress=not options.quiet)
        found += [crosscorpus.cross(run, images, model) for images in options.images]
    print(crosscorpus.table(found))
    if options.out is not None:
        crosscorpus.write(found, options.out)
        print(f"all of it: {options.out / crosscorpus.FIGURES}")
    if options.into is not None:
        text = crosscorpus_table.markdown(folder, found)
        documents.write_into(options.into, crosscorpus_table.TABLE, text)
    return 0
