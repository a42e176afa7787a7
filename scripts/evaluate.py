#!/usr/bin/env python3
"""``ser-edge evaluate``, from a clone; --compare, --corpus and --unlabelled are own verbs."""

import sys

from _verb import run

VERBS = {"--compare": "compare", "--corpus": "crosscorpus", "--unlabelled": "listen"}

if __name__ == "__main__":  # not in processes that it starts
    given = sys.argv[1:]
    at = next((i for i, word in enumerate(given) if word.partition("=")[0] in VERBS), None)
    if at is None:
        run("evaluate")
    # What follows --compare, --corpus or --unlabelled comes first for the verb.
    flag, _, value = given[at].partition("=")
    run(VERBS[flag], [*filter(None, [value]), *given[at + 1 :], *given[:at]])
