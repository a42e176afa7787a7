#!/usr/bin/env python3
"""Put a final run and the fold runs of its recipe together as models/NAME.

Weights are those of the run with --fold all; figures, temperature and "unknown" threshold come
from the fold runs, on actors that they never heard.

example:
  scripts/package_model.py models/compact --final runs/all --folds runs/fold1 runs/fold3
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="models/NAME")
    parser.add_argument("--final", type=Path, required=True, help="run trained with --fold all")
    parser.add_argument("--folds", type=Path, nargs="+", required=True, help="runs by fold")
    options = parser.parse_args()

    from ser_edge.export.package import package  # torch takes seconds to import: not for --help

    try:
        record = package(options.final, options.folds, options.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    summary, calibration = record.summary, record.calibration
    print(
        f"{options.out}: UAR {summary['uar_mean']:.3f} +- {summary['uar_sd']:.3f} over "
        f"{len(record.folds)} runs; temperature {calibration['temperature']}, "
        f"threshold {calibration['threshold']}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
