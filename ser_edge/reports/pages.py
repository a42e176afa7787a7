"""What every HTML page needs: the templates; images and sounds as data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import numpy.typing as npt
import soundfile
from matplotlib import colormaps
from PIL import Image

from ser_edge.mel.image import UInt8
from ser_edge.reports.figures import COLOURS, MEL_COLOURS


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
    environment.globals["colours"] = COLOURS
    return environment.get_template(template).render(values)


def image_uri(levels: UInt8) -> str:
    """Grey levels in colours, as people look at them: row 0 at the bottom; a data URI.

    Parameters
    ----------
    levels : ndarray
        ``uint8 (rows, columns)``.
    """
    shown = Image.fromarray(np.ascontiguousarray(np.flipud(levels)))
    palette = colormaps[MEL_COLOURS](range(256), bytes=True)[:, :3]
    shown.putpalette(palette.tobytes())
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
    """Bytes of a MIME type as the address of a page's own image or sound."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
