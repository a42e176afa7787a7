#!/usr/bin/env python3
"""Renew the shell completions in ser_edge/commandline/completions/ after an option has changed.

example:
  scripts/completions.py                # needs shtab, of the extra dev
"""

from __future__ import annotations

import sys

from edge_app import cli as edge_app
from ser_edge.cli import main as ser_edge
from ser_edge.commandline.arguments import ArgumentParser
from ser_edge.commandline.completion import write


def main() -> int:
    ArgumentParser(description=__doc__).parse_args()
    write(edge_app.make_parser())
    write(ser_edge.make_parser())
    return 0


if __name__ == "__main__":
    sys.exit(main())
