"""OpenVINO and NNCF without their telemetry."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_PACKAGE: Final = "openvino_telemetry"


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Import OpenVINO, NNCF or what imports them in this block, and they send nothing.

    Where openvino-telemetry is installed, as pip does, they send their makers an event at each
    import, conversion and quantisation. Whoever uses this program was not asked. Besides, the event
    is sent from a fork of the process, made by a thread of its own at any time: OpenBLAS stops its
    threads at a fork, and a product of matrices that is being computed then never ends. Without the
    package both go on as they are.
    """
    hidden = _PACKAGE not in sys.modules
    if hidden:
        sys.modules[_PACKAGE] = None  # type: ignore[assignment]  # what import takes for "not here"
    try:
        yield
    finally:
        if hidden:
            sys.modules.pop(_PACKAGE, None)
