#!/usr/bin/env python3
"""Export models/NAME to OpenVINO: ONNX, then IR FP16 and INT8 in ir/NAME.

Every step is compared with the one before on all speech clips of the rendering. If one drifts, it
says where, exits with 1, and ir/NAME stays as it was.

examples:
  scripts/export_ir.sh compact
  scripts/export_ir.sh compact --images images/ravdess --ir ir
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
    options = parser.parse_args()

    from ser_edge.export import ExportDriftError, export

    try:
        export(options.models / options.name, options.images, options.ir)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except ExportDriftError as error:
        print(f"{parser.prog}: drift: {error}", file=sys.stderr)
        return 1
    print(f"done: {options.ir / options.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
