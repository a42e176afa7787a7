#!/usr/bin/env python3
"""``edge-app archive``, from a clone."""

from _verb import run

if __name__ == "__main__":  # not in processes that it starts
    run("archive", program="edge_app.cli:main")
