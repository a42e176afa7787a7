#!/usr/bin/env python3
"""``ser-edge profiles``, from a clone."""

from _verb import run

if __name__ == "__main__":  # not in processes that it starts
    run("profiles")
