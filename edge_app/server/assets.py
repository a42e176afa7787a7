"""Static files of the page, held in memory: no file is opened for a client's path."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

_TYPES: Final[Mapping[str, str]] = {
    # The mimetypes module depends on the machine.
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class Asset:
    """A static file."""

    content: bytes
    media_type: str
    etag: str


def read_assets() -> dict[str, Asset]:
    """All static files by name."""
    folder = Path(__file__).resolve().parent / "web"
    return {
        path.name: Asset(
            path.read_bytes(),
            _TYPES[path.suffix],
            f'"{sha256(path.read_bytes()).hexdigest()[:16]}"',
        )
        for path in sorted(folder.iterdir())
        if path.suffix in _TYPES
    }
