"""A confusion matrix as an image, for trackers that show images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from PIL import Image, ImageDraw, ImageFont

from ser_edge.emotions import EMOTIONS

_CELL: Final = (84, 44)
_LEFT, _TOP, _EDGE = 96, 74, 16
_INK: Final = (32, 33, 36)
_PAPER: Final = (255, 255, 255)
_FULL: Final = (22, 62, 102)
_DARK: Final = 0.55
"""Share of a row from which on its cell needs light letters."""


def confusion_image(matrix: Sequence[Sequence[int]], title: str) -> Image.Image:
    """Draw counts, each cell as dark as its share of its row.

    Parameters
    ----------
    matrix : sequence
        ``(emotions, emotions)``; rows the truth, columns the answer.
    title : str

    Returns
    -------
    Image
        RGB.
    """
    names, (width, height) = EMOTIONS, _CELL
    size = (_LEFT + len(names) * width + _EDGE, _TOP + len(names) * height + _EDGE)
    sheet = Image.new("RGB", size, _PAPER)
    pen = ImageDraw.Draw(sheet)
    small, large = (ImageFont.load_default(points) for points in (14, 17))
    pen.text((_EDGE, 12), f"{title}: rows the truth, columns the answer", _INK, large)

    def write(x: float, y: float, text: str, colour: Any, anchor: str) -> None:
        pen.text((x, y), text, colour, small, anchor=anchor)

    for row, counts in enumerate(matrix):
        y = _TOP + row * height
        write(_LEFT - 8, y + height / 2, names[row], _INK, "rm")
        write(_LEFT + (row + 0.5) * width, _TOP - 10, names[row], _INK, "ms")
        for column, count in enumerate(counts):
            x, share = _LEFT + column * width, count / max(1, sum(counts))
            pen.rectangle((x, y, x + width - 2, y + height - 2), fill=_shade(share))
            colour = _PAPER if share > _DARK else _INK
            write(x + width / 2, y + height / 2, str(count), colour, "mm")
    return sheet


def _shade(share: float) -> tuple[int, int, int]:
    lightest = 244  # an empty cell is to be seen
    red, green, blue = (round(lightest + (full - lightest) * share) for full in _FULL)
    return red, green, blue
