"""Rows of values -> a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

_RULES: Final = {"l": "---", "r": "---:"}


def table(head: Sequence[object], rows: Iterable[Sequence[object]], align: str = "") -> str:
    """Write a Markdown table.

    Parameters
    ----------
    head : sequence
        Names of the columns.
    rows : iterable of sequences
        As many cells each; they are shown as ``str`` does, in one line, with ``|`` escaped.
    align : str
        ``l`` (left) or ``r`` (right) a column; the last one holds for all that follow. All are
        left if empty.

    Raises
    ------
    ValueError
        A row has another number of cells than the head.
    """
    sides = align.ljust(len(head), align[-1:] or "l")
    lines = [_line(head), "|" + "".join(f"{_RULES[side]}|" for side in sides)]
    for row in rows:
        if len(row) != len(head):
            raise ValueError(f"a row has {len(row)} cells, the table {len(head)} columns")
        lines.append(_line(row))
    return "\n".join(lines)


def _line(cells: Sequence[object]) -> str:
    shown = (" ".join(str(cell).split()).replace("|", "\\|") for cell in cells)
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in shown)
