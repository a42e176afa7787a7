"""``ser-edge export``: a model's folder -> ONNX -> OpenVINO IR in FP16 and INT8, each verified."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from ser_edge.cli.errors import CommandError

DESCRIPTION: Final = """\
Export models/NAME to OpenVINO: ONNX, then IR FP16 and INT8 in ir/NAME.

Every step is compared with the one before on all speech clips of the rendering. If one drifts, the
error names the step, the exit status is 1, and ir/NAME stays as it was. ir/NAME/INT8/layers.md
lists which layers are INT8, and why the others are not.

--int8 plain             every layer that can be; drift if that loses more than --max-drop
--int8 accuracy-control  layers are put back to FP until no more than --max-drop is lost, of UAR or
                         of the mean score of the true emotion, on training and validation speakers
--int8 auto              plain, and accuracy control only if plain loses more

examples:
  ser-edge export compact
  ser-edge export compact --images images/ravdess --ir ir
  ser-edge export compact --int8 accuracy-control --max-drop 0.005

exit status: 0 success, 1 a step drifted, 2 wrong usage
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verb's options."""
    parser.add_argument("name", metavar="NAME", help="model: the folder models/NAME")
    parser.add_argument("--models", type=Path, default=Path("models"), help="(default: models)")
    parser.add_argument(
        "--images",
        type=Path,
        default=Path("images/ravdess"),
        help="rendering to verify and calibrate on (default: images/ravdess)",
    )
    parser.add_argument("--ir", type=Path, default=Path("ir"), help="(default: ir)")
    parser.add_argument(
        "--int8",
        choices=["auto", "plain", "accuracy-control"],
        default="auto",
        help="how INT8 is made, see above (default: auto)",
    )
    parser.add_argument(
        "--max-drop",
        type=float,
        default=0.01,
        metavar="UAR",
        help="UAR that INT8 may lose, 0 to 1 (default: 0.01)",
    )


def run(options: argparse.Namespace) -> int:
    """Run the verb; gives the exit status."""
    from ser_edge.export.convert import ExportDriftError, export

    try:
        export(
            options.models / options.name,
            options.images,
            options.ir,
            int8=options.int8,
            max_drop=options.max_drop,
        )
    except ExportDriftError as error:
        raise CommandError(f"drift: {error}") from error
    print(f"done: {options.ir / options.name}")
    return 0
