#!/usr/bin/env python3
"""``edge-app archive``, under its earlier name; for example: scripts/score_archive.py --help."""

import sys

from edge_app.cli import main

if __name__ == "__main__":
    sys.exit(main(["archive", *sys.argv[1:]]))
