#!/usr/bin/env python3
"""Train and score a recipe on every fold, compare two runs, score a run or model on another corpus,
or listen to unlabelled recordings.

The folder of an evaluation gets fold-1 ... fold-5 (and random), predictions.csv, metrics.json and
report.html, one page that needs nothing else. A finished fold is not run again, a killed one goes
on; the figures are those of all finished folds in the folder.

examples:
  scripts/evaluate.py images/ravdess runs/plain --config configs/plain.yaml
  scripts/evaluate.py images/ravdess runs/plain --config configs/plain.yaml \\
      --sounds data/ravdess --split both --edge
  scripts/evaluate.py images/ravdess runs/wide --width 1.5 --seed 3 --folds 1 3
  scripts/evaluate.py --compare runs/compact runs/wide --out compare.html
  scripts/evaluate.py --compare models/compact runs/wide/fold-1
  scripts/evaluate.py --corpus images/nemo images/tess -m compact
  scripts/evaluate.py --corpus images/nemo -m runs/wide --out runs/wide-on-nemo
  scripts/evaluate.py --corpus images/nemo images/tess -m compact --into docs/corpora.md
  scripts/evaluate.py --unlabelled recordings/ -m compact --precision INT8 --out runs/heard

exit status: 0 all well, 1 some run, clip or file failed, 2 wrong usage
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ser_edge.config import recipe
from ser_edge.config.hardware import add_hardware_options, hardware_of
from ser_edge.config.ssl import is_speech_recipe
from ser_edge.config.tracking import add_tracking_options, tracking_of
from ser_edge.data.splits import VALIDATION_ACTORS


def main() -> int:
    parser = argparse.ArgumentParser(
        usage="%(prog)s IMAGES RUNS [options] | --compare A B | --corpus IMAGES... | "
        "--unlabelled DIR | --help",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("images", type=Path, nargs="?", help="folder that scripts/render.py wrote")
    parser.add_argument("runs", type=Path, nargs="?", help="folder for the evaluation")
    parser.add_argument(
        "--folds",
        nargs="+",
        choices=[*map(str, VALIDATION_ACTORS)],
        default=[*map(str, VALIDATION_ACTORS)],
        metavar="N",
        help="EmoBox folds to train if they are missing (default: 1 2 3 4 5)",
    )
    parser.add_argument(
        "--split",
        choices=["folds", "random", "both"],
        default="folds",
        help="random: clips divided at random, which is LEAKY: for comparison only "
        "(default: folds)",
    )
    parser.add_argument(
        "--sounds",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="recordings: for play buttons, --edge, recipes that change the waveform, and "
        "--corpus of a run of scripts/finetune_speech.py",
    )
    parser.add_argument(
        "--teacher",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUNS",
        help="other evaluations: their network of a fold teaches that fold's (--distill)",
    )
    parser.add_argument(
        "--edge",
        action="store_true",
        help="export each fold to FP16 and INT8 and score it through the edge app",
    )
    add_hardware_options(parser)
    add_tracking_options(parser)
    parser.add_argument("--quiet", action="store_true", help="no progress bars")
    other = parser.add_argument_group("in place of training")
    other.add_argument(
        "--compare",
        type=Path,
        nargs=2,
        metavar=("A", "B"),
        help="two evaluations, runs or models on the same clips, with paired bootstrap intervals",
    )
    other.add_argument(
        "--corpus",
        type=Path,
        nargs="+",
        metavar="IMAGES",
        help="renderings of other corpora, scored over the labels that training had too",
    )
    other.add_argument(
        "--unlabelled", type=Path, metavar="DIR", help="recordings without labels, searched through"
    )
    other.add_argument(
        "--out",
        type=Path,
        help="of --compare: a page to write; of --corpus: a folder for figures and predictions; "
        "of --unlabelled: a folder (default: runs/unlabelled)",
    )
    other.add_argument(
        "--into",
        type=Path,
        metavar="FILE",
        help="of --corpus and a model: document to put the table of all corpora into",
    )
    other.add_argument(
        "-m",
        "--model",
        help="of --unlabelled: name or .xml (default: compact), "
        "a name's IR by --precision FP16 or INT8; "
        "of --corpus: name of a folder in models/, or a run, or an evaluation with its folds",
    )
    other.add_argument("-d", "--device", help="of --unlabelled: CPU, GPU, ... (default: CPU)")
    recipe.add_options(parser)
    recipe.add_image_options(parser)
    options = parser.parse_args()

    trains = options.images is not None
    others = (options.compare, options.corpus, options.unlabelled)
    if trains + sum(other is not None for other in others) != 1:
        parser.error(
            "one of: IMAGES RUNS, --compare A B, --corpus IMAGES..., --unlabelled DIR (see --help)"
        )
    if trains and options.runs is None:
        parser.error("the following arguments are required: runs")
    if trains and options.out is not None:
        parser.error(
            "--out goes with --compare, --corpus or --unlabelled; RUNS is the evaluation's folder"
        )
    if options.corpus is None and options.into is not None:
        parser.error("--into goes with --corpus")
    if options.unlabelled is None and options.device:
        parser.error("--device goes with --unlabelled")
    if options.unlabelled is None and options.corpus is None and options.model:
        parser.error("--model goes with --corpus or --unlabelled")
    try:
        if options.compare:
            return compare(options)
        if options.corpus:
            return cross(options)
        if options.unlabelled:
            return listen(options)
        return evaluate(options)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted; the same command goes on", file=sys.stderr)
        return 130


def evaluate(options: argparse.Namespace) -> int:
    from ser_edge.evaluation import crossval  # torch takes seconds to import: not for --help
    from ser_edge.files import write_whole
    from ser_edge.reports import evaluation

    classifier = None
    if options.edge:
        from edge_app.classifier import Classifier as classifier  # noqa: N813
    found = crossval.evaluate(
        options.images,
        options.runs,
        recipe.from_options(options),
        folds=options.folds,
        split=options.split,
        sounds=options.sounds,
        teachers=options.teacher,
        classifier=classifier,
        hardware=hardware_of(options),
        tracking=tracking_of(options),
        progress=not options.quiet,
    )
    if found is None:  # one of several processes, not the first
        return 0
    write_whole(options.runs / crossval.REPORT, evaluation.study_page(found))
    print(crossval.table(found))
    print(f"all of it: {options.runs / crossval.REPORT}")
    for problem in found.problems:
        print(f"failed: {problem}", file=sys.stderr)
    return 1 if found.problems else 0


def compare(options: argparse.Namespace) -> int:
    from ser_edge.files import write_whole
    from ser_edge.metrics import bootstrap
    from ser_edge.provenance import provenance
    from ser_edge.reports import evaluation

    runs = bootstrap.compare(*bootstrap.read_pair(*options.compare))
    print(bootstrap.table(runs))
    if options.out is not None:
        write_whole(options.out, evaluation.comparison_page(runs, provenance()))
        print(f"the same to look at: {options.out}")
    return 0


def cross(options: argparse.Namespace) -> int:
    from edge_app.inference.model_store import DEFAULT_MODEL
    from ser_edge.evaluation import crosscorpus, crosscorpus_table
    from ser_edge.reports import documents

    folder = Path(options.model or DEFAULT_MODEL)
    if not folder.is_dir():
        folder = Path("models") / folder
    if options.into is not None:
        documents.check_document(options.into, crosscorpus_table.TABLE)
        crosscorpus_table.check_model(folder)
    found = []
    for run in crosscorpus.runs_below(folder):
        ear = None
        if is_speech_recipe(run / "config.yaml"):
            from ser_edge.training.ssl_fit import speech_ear

            ear = speech_ear(run, options.sounds, progress=not options.quiet)
        found += [crosscorpus.cross(run, images, ear) for images in options.corpus]
    print(crosscorpus.table(found))
    if options.out is not None:
        crosscorpus.write(found, options.out)
        print(f"all of it: {options.out / crosscorpus.FIGURES}")
    if options.into is not None:
        text = crosscorpus_table.markdown(folder, found)
        documents.write_into(options.into, crosscorpus_table.TABLE, text)
    return 0


def listen(options: argparse.Namespace) -> int:
    from edge_app.classifier import Classifier
    from edge_app.inference.model_store import DEFAULT_MODEL
    from edge_app.inference.runtime import DeviceError
    from ser_edge.evaluation import unlabelled
    from ser_edge.files import write_whole
    from ser_edge.reports import evaluation

    # One option for two things: of a recipe its arithmetic, here the kind of IR.
    precision = getattr(options, "Recipe.precision") or "FP16"
    try:
        ear = Classifier(options.model or DEFAULT_MODEL, options.device or "CPU", precision)
    except DeviceError as error:
        raise ValueError(str(error)) from None
    heard = unlabelled.listen(options.unlabelled, ear, progress=not options.quiet)
    out = options.out or Path("runs/unlabelled")
    unlabelled.write(heard, out)
    write_whole(out / unlabelled.REPORT, evaluation.unlabelled_page(heard))
    print(unlabelled.table(heard))
    print(f"all of it: {out / unlabelled.REPORT}")
    for item in heard.unreadable:
        print(f"unreadable: {item.file}: {item.cause}", file=sys.stderr)
    return 1 if heard.unreadable else 0


if __name__ == "__main__":
    sys.exit(main())
