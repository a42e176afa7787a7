"""Ctrl-C before any work has begun: the program ends at once and quietly."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from edge_app.commands import EXIT_INTERRUPTED


def leave(*_: object) -> NoReturn:
    """End the process now with exit status 130: no traceback, no threads waited for."""
    os._exit(EXIT_INTERRUPTED)


@contextmanager
def leaving_on_interrupt() -> Iterator[None]:
    """Within the block Ctrl-C ends the process at once.

    For imports: the ones of extension modules print a KeyboardInterrupt or turn it into an
    ImportError. Nothing is changed outside the main thread, and where interrupts are ignored or
    handled already.
    """
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield
        return
    signal.signal(signal.SIGINT, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
