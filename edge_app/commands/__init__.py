"""One file a command of ``edge-app``; a new one is a module and a line below."""

from types import ModuleType
from typing import Final

from edge_app.commands import (
    bench,
    devices,
    embed,
    enroll,
    explain,
    listen,
    predict,
    profiles,
    serve,
)

COMMANDS: Final[tuple[ModuleType, ...]] = (
    predict,
    listen,
    serve,
    explain,
    embed,
    enroll,
    profiles,
    devices,
    bench,
)
"""In the order of ``edge-app --help``; each has ``add(commands)``."""
