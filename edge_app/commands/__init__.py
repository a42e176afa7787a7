"""One file a command of ``edge-app``; a new one is a module and a line below."""

from types import ModuleType
from typing import Final

from edge_app.commands import enroll, explain, predict, profiles, serve

COMMANDS: Final[tuple[ModuleType, ...]] = (predict, explain, enroll, profiles, serve)
"""In the order of ``edge-app --help``; each has ``add(commands)``."""
