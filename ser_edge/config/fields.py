"""Fields of recipes: a default, a help text and the values that are allowed."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, as ``value in Range(0, 1)``; NaN is in none."""

    low: float
    high: float = float("inf")
    above: bool = False
    below: bool = False

    def __contains__(self, value: Any) -> bool:
        low = self.low < value if self.above else self.low <= value
        return bool(low and (value < self.high if self.below else value <= self.high))

    def __str__(self) -> str:
        low = f"{'above ' if self.above else ''}{self.low:g}"
        if self.high == float("inf"):
            return low if self.above else f"{low} or more"
        return f"{low} to {'below ' if self.below else ''}{self.high:g}"


class OneOf(tuple[str, ...]):
    """Names that are allowed."""

    def __str__(self) -> str:
        return ", ".join(self)


def option(default: Any, text: str, allowed: Container[Any] | None = None) -> Any:
    """A dataclass field that :func:`check` checks; ``text`` is its help."""
    return field(default=default, metadata={"help": text, "allowed": allowed})


def check(config: Any, prefix: str = "") -> None:
    """Raise a ValueError that names the first field whose value is not allowed."""
    for entry in fields(config):
        value, allowed = getattr(config, entry.name), entry.metadata.get("allowed")
        if allowed is not None and value not in allowed:
            raise ValueError(f"{prefix}{entry.name} is {value!r}, allowed: {allowed}")


def typed(name: str, value: Any, kind: type) -> Any:
    """A value of that type; an int is taken for a float.

    Raises
    ------
    ValueError
        It is of another type.
    """
    good = isinstance(value, (int, float) if kind is float else kind)
    if not good or (isinstance(value, bool) and kind is not bool):
        raise ValueError(f"{name} is {value!r}, it should be of type {kind.__name__}")
    return kind(value)
