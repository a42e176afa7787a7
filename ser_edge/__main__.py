"""``ser-edge`` and ``python -m ser_edge``; Ctrl-C ends them quietly even while they start."""

import sys
from collections.abc import Sequence


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, see :func:`ser_edge.cli.main.main`; gives the exit status."""
    try:
        from ser_edge.cli.main import main

        return main(arguments)
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(run())
