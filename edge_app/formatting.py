"""Times and bars as text, the same in every output."""

from __future__ import annotations


def bar(share: float, width: int) -> str:
    """A share from 0 to 1 as a bar: ``"###......."`` for 0.3 and a width of 10."""
    filled = round(share * width)
    return "#" * filled + "." * (width - filled)


def clock(seconds: float) -> str:
    """Hours, minutes and seconds: ``"0:01:02.3"`` for 62.3."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    return f"{minutes // 60}:{minutes % 60:02}:{rest / 10:04.1f}"
