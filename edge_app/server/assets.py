"""The page's files, held in memory: they are small, and so no path of a client is opened."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

_TYPES: Final[Mapping[str, str]] = {
    # Fixed, since what mimetypes says hangs on the machine.
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}


@dataclass(frozen=True)
class Asset:
    """A file of the page."""

    content: bytes
    media_type: str
    etag: str


def read_assets() -> dict[str, Asset]:
    """Name -> file."""
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
