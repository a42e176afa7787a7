"""What all charts share: colours, style, and a Matplotlib figure as SVG inside a page."""

from __future__ import annotations

import hashlib
import html
import io
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.figure import Figure

from ser_edge.mel.image import UInt8, band_edges
from ser_edge.mel.spec import MelImageSpec

COLOURS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "neutral": "#8b929c",
        "calm": "#3f9c9c",
        "happy": "#e2ab2e",
        "sad": "#4370c4",
        "angry": "#cb4335",
        "fearful": "#8757bd",
        "disgust": "#66933a",
        "surprised": "#dc6ea8",
        "unknown": "#c9c9c4",
    }
)
"""Of the emotions, in charts and in the pages of ``templates/``."""

INK: Final = "#1e2530"
MUTED: Final = "#5a6472"
LINE: Final = "#d9d7d0"
ACCENT: Final = "#24688a"
WARM: Final = "#b4531f"
SERIES: Final = (ACCENT, WARM, "#4b7d2b", "#7b4fa3", "#87690a")
"""Of curves and bars that are no emotions, in their order."""

MEL_COLOURS: Final = "inferno"
"""Black over violet and orange to white, alike for eyes that see few colours."""

_SCALE_HZ: Final = (100, 500, 1000, 2000, 4000, 8000)

_STYLE: Final = {
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "ser-edge",  # the same bytes every time
    "font.family": "sans-serif",
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.titlecolor": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "legend.labelcolor": MUTED,
}


@dataclass(frozen=True)
class Chart:
    """A chart of a page: its SVG, and the text above it."""

    title: str
    svg: Markup
    note: str = ""


class Drawing(Figure):
    """A Matplotlib figure that Jupyter shows as SVG."""

    def _repr_svg_(self) -> str:
        return _written(self)


def _written(figure: Figure, **options: Any) -> str:
    buffer = io.StringIO()
    with rc_context(_STYLE):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", metadata=nothing, **options)
    return buffer.getvalue()


@contextmanager
def canvas(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """Give a figure in our style, so many CSS pixels large, and its axes.

    Parameters
    ----------
    width, height : float
    rows, columns : int
        Of axes; a single one is given as it is, several as an array.
    **options
        Of :meth:`matplotlib.figure.Figure.subplots`.
    """
    with rc_context(_STYLE):
        figure = Drawing((width / 72, height / 72), layout="constrained")
        yield figure, figure.subplots(rows, columns, **options)


@contextmanager
def bare(width: float, height: float) -> Iterator[tuple[Figure, Any]]:
    """Give a figure that is all axes, without ticks: 0 to 1 both ways unless set."""
    with rc_context(_STYLE):
        figure = Drawing((width / 72, height / 72))
        axis = figure.add_axes((0, 0, 1, 1))
        axis.set(xlim=(0, 1), ylim=(0, 1))
        axis.set_axis_off()
        yield figure, axis


def svg(figure: Figure, alt: str, *, stretch: bool = False) -> Markup:
    """Write a figure as an ``<svg>`` element of a page, the same bytes every time.

    An artist whose ``gid`` is ``title:TEXT`` shows that text under the pointer.

    Parameters
    ----------
    figure : Figure
    alt : str
        What it shows, for those who do not see it.
    stretch : bool
        Whether it fills any box; only for figures without text.
    """
    text = _written(figure, transparent=True)
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="title:([^"]*)">', r"<g><title>\1</title>", text)
    text = re.sub(r"font-family:[^;\"]*;? ?", "", text)  # the page's own
    text = re.sub(r"image-rendering:[^;\"]*;? ?", "", text)  # smooth, as browsers scale images
    text = re.sub(r'<g id="[^"]*">', "<g>", text)  # several figures on a page have the same
    text = text.replace("xlink:href", "href")
    key = hashlib.sha256((alt + text).encode()).hexdigest()[:8]
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{key}-", text)
    view = re.search(r'viewBox="[^"]*"', text)
    assert view is not None
    fit = ' preserveAspectRatio="none"' if stretch else ""
    inside = text[text.index(">", text.index("<svg")) + 1 :]
    return Markup(
        f'<svg {view[0]}{fit} role="img" aria-label="{html.escape(alt)}">'
        + re.sub(r"\n\s*", "\n", inside)
    )


def title_of(artist: Any, text: str) -> None:
    """Show a text under the pointer where an artist is."""
    artist.set_gid(f"title:{text}")


def show_mel(axis: Any, image: UInt8, spec: MelImageSpec, seconds: float | None = None) -> None:
    """Draw a mel image with an axis in Hz; ``seconds`` are the image's own if not given."""
    axis.imshow(
        image,
        origin="lower",
        aspect="auto",
        cmap=MEL_COLOURS,
        vmin=0,
        vmax=255,
        interpolation="none",
        extent=(0, spec.seconds if seconds is None else seconds, 0, spec.n_mels),
    )
    hertz = [hz for hz in _SCALE_HZ if spec.f_min <= hz <= spec.f_max]
    axis.set_yticks(band_of(hertz, spec), [str(hz) for hz in hertz])


def band_of(hertz: Any, spec: MelImageSpec) -> Any:
    """Frequencies -> where they lie on the axis of a mel image, in bands."""
    centres = band_edges(spec)[1:-1]
    return np.interp(hertz, centres, np.arange(len(centres)) + 0.5)
