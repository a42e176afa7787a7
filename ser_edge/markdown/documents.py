"""Tables that a program keeps in a document, between two markers that nobody sees."""

from __future__ import annotations

from pathlib import Path

from ser_edge.files import write_whole


def markers(name: str) -> tuple[str, str]:
    """Where the table ``name`` begins and ends: ``<!-- name:begin -->``, ``<!-- name:end -->``."""
    return f"<!-- {name}:begin -->", f"<!-- {name}:end -->"


def check_document(path: Path, name: str) -> None:
    """Raise unless a document has a place for the table.

    Raises
    ------
    ValueError
        It cannot be read, or the two markers are not in it once and in order.
    """
    _parts(path, name)


def write_into(path: Path, name: str, table: str) -> None:
    """Put the table between its markers in a document, whole or not at all.

    Raises
    ------
    ValueError
        As :func:`check_document`.
    """
    before, after = _parts(path, name)
    begin, end = markers(name)
    write_whole(path, f"{before}{begin}\n\n{table}\n\n{end}{after}")


def _parts(path: Path, name: str) -> tuple[str, str]:
    begin, end = markers(name)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended) or text.count(begin) + text.count(end) > 2:
        raise ValueError(f"{path}: it should have one {begin} and, below it, one {end}")
    return before, after
