"""``python -m ser_edge`` is ``ser-edge``."""

import sys

from ser_edge.cli.main import main

sys.exit(main())
