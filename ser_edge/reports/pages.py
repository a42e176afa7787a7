"""What every HTML page needs: the templates, pictures and sounds as data URIs, round numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2
import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from ser_edge.mel.image import UInt8

HEAT: Final = (
    (0, 0, 4), (31, 12, 72), (85, 15, 109), (136, 34, 106), (186, 54, 85), (227, 89, 51),
    (249, 140, 10), (249, 201, 50), (252, 255, 164),
)  # fmt: skip
"""Black over violet and orange to white, alike for eyes that see few colours."""

BOTH_SIDES: Final = ((120, 196, 232), (38, 92, 128), (16, 18, 24), (150, 66, 28), (250, 176, 120))
"""Blue over black to orange, for values around zero."""


def render(
    template: str,
    values: Mapping[str, Any],
    filters: Mapping[str, Callable[..., Any]] | None = None,
) -> str:
    """Fill in one of the templates in ``templates/``."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,  # names of files and speakers come from outside
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters or {})
    return environment.get_template(template).render(values)


def picture_uri(levels: UInt8, colours: tuple[tuple[int, int, int], ...] = HEAT) -> str:
    """Grey levels in colours, as people look at them: row 0 at the bottom; a data URI.

    Parameters
    ----------
    levels : ndarray
        ``uint8 (rows, columns)``.
    colours : tuple
        Red, green and blue of equally spaced levels from 0 to 255.
    """
    stops = np.linspace(0, 255, len(colours))
    palette = np.stack(
        [np.interp(np.arange(256), stops, channel) for channel in zip(*colours, strict=True)],
        axis=1,
    )
    shown = Image.fromarray(np.ascontiguousarray(np.flipud(levels)))
    shown.putpalette(palette.round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    shown.save(buffer, format="PNG", optimize=True)
    return data_uri("image/png", buffer.getvalue())


def mp3_uri(waveform: npt.ArrayLike, rate: int) -> str:
    """A sound as small as it gets where every browser plays it; a data URI.

    Parameters
    ----------
    waveform : array_like
        ``(samples,)``; what exceeds full scale is clipped.
    rate : int
        In Hz.
    """
    buffer = io.BytesIO()
    soundfile.write(buffer, np.clip(waveform, -1, 1), rate, format="MP3")
    return data_uri("audio/mpeg", buffer.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Bytes of a MIME type as the address of a page's own picture or sound."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@dataclass(frozen=True)
class Tick:
    """A mark of an axis: where, in units of the drawing, and its text."""

    at: float
    text: str


def ticks(low: float, high: float, *, whole: bool = False) -> tuple[float, ...]:
    """Four to seven round values that reach from ``low`` or below to ``high`` or above."""
    span = max(high - low, 1.0 if whole else 1e-3)
    step = float(10.0 ** np.floor(np.log10(span)))
    for finer in (2.0, 2.5, 2.0):
        if span / step >= 4:
            break
        step /= finer
    if whole:
        step = max(1.0, float(round(step)))
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    return tuple(round(float(i * step), 10) for i in np.arange(first, last + 1))
