#!/usr/bin/env python3
"""Export models/NAME to OpenVINO: ONNX, then IR FP16 and INT8 in ir/NAME.

Every step is compared with the one before on all speech clips of the rendering. If one drifts, it
says where, exits with 1, and ir/NAME stays as it was. ir/NAME/INT8/layers.md tells which layers are
INT8, and why the others are not.

--int8 plain             every layer that can be; drift if that loses more than --max-drop
--int8 accuracy-control  layers are put back to FP until no more than --max-drop is lost, of UAR or
                         of the mean score of the true emotion, on training and validation speakers
--int8 auto              plain, and accuracy control only if plain loses more

examples:
  scripts/export_ir.sh compact
  scripts/export_ir.sh compact --images images/ravdess --ir ir
  scripts/export_ir.sh compact --int8 accuracy-control --max-drop 0.005
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="export_ir.sh",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", help="model: the folder models/NAME")
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
    options = parser.parse_args()

    from ser_edge.export.pipeline import export_model
    from ser_edge.export.verify import ExportDriftError

    try:
        export_model(
            options.models / options.name,
            options.images,
            options.ir,
            int8=options.int8,
            max_drop=options.max_drop,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except ExportDriftError as error:
        print(f"{parser.prog}: drift: {error}", file=sys.stderr)
        return 1
    print(f"done: {options.ir / options.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
