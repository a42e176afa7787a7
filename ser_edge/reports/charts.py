"""What the notebook draws with Matplotlib; nothing else needs it (extra ``notebook``)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_edge.data.splits import VALIDATION_ACTORS, split_speakers
from ser_edge.emotions import EMOTIONS
from ser_edge.mel.image import UInt8, band_edges
from ser_edge.mel.spec import MelImageSpec
from ser_edge.runs.record import Epoch

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
    }
)
"""Of the emotions, as in the pages of ``templates/``."""

_INK: Final = "#1e2530"
_MUTED: Final = "#5a6472"
_LINE: Final = "#d9d7d0"
_ACCENT: Final = "#24688a"
_WARM: Final = "#b4531f"
_ROLES: Final = {"train": "#cfe0e8", "validation": "#e9b44c", "test": _WARM}
_HZ: Final = (100, 500, 1000, 2000, 4000, 8000)

_STYLE: Final = {
    "figure.facecolor": "white",
    "figure.dpi": 110,
    "font.size": 10,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _MUTED,
    "axes.titlecolor": _INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "legend.frameon": False,
}


def clip_figure(waveform: npt.NDArray[np.float32], image: UInt8, spec: MelImageSpec) -> Any:
    """A waveform, and below it the mel image that the network sees.

    Parameters
    ----------
    waveform : ndarray
        ``float32 (n,)``, the window that the image was made of.
    image : ndarray
        ``uint8 (n_mels, frames)``.
    spec : MelImageSpec
    """
    with _figure(2, 1, (9, 4.8), height_ratios=[1, 2.2], sharex=True) as (figure, (above, below)):
        seconds = np.arange(len(waveform)) / spec.sample_rate
        above.plot(seconds, waveform, color=_ACCENT, linewidth=0.5)
        above.set(title="the sound: air pressure over time", yticks=[])
        above.spines["left"].set_visible(False)
        _show_mel(below, image, spec)
        below.set(
            title=f"its mel image: {image.shape[0]} bands of pitch, {image.shape[1]} moments",
            xlabel="seconds",
            ylabel="Hz",
        )
    return figure


def gallery(images: Mapping[str, UInt8], spec: MelImageSpec) -> Any:
    """Mel images by name, four in a row."""
    rows = -(-len(images) // 4)
    with _figure(rows, 4, (9.5, 2.1 * rows), sharex=True, sharey=True) as (figure, axes):
        for axis in np.ravel(axes)[len(images) :]:
            axis.set_axis_off()
        for axis, (name, image) in zip(np.ravel(axes), images.items(), strict=False):
            _show_mel(axis, image, spec)
            axis.set_title(name, color=COLOURS.get(name, _INK))
    return figure


def folds_figure(speakers: Sequence[str]) -> Any:
    """Who is trained on, validated and tested on in each actor-disjoint fold."""
    from matplotlib.colors import ListedColormap
    from matplotlib.patches import Patch

    names = sorted(speakers)
    roles = list(_ROLES)
    grid = np.zeros((len(VALIDATION_ACTORS), len(names)), dtype=int)
    for row, fold in enumerate(VALIDATION_ACTORS):
        split = split_speakers(names, str(fold))
        for column, name in enumerate(names):
            grid[row, column] = 1 * (name in split.validation) + 2 * (name in split.test)
    with _figure(1, 1, (9, 2.6)) as (figure, axis):
        colours = ListedColormap(list(_ROLES.values()))
        axis.pcolormesh(grid, cmap=colours, vmin=0, vmax=2, edgecolors="white", linewidth=2)
        axis.set(
            title="five folds: nobody is in two colours of a row",
            xlabel="actor",
            xticks=np.arange(len(names)) + 0.5,
            xticklabels=[name.split("-")[-1] for name in names],
            yticks=np.arange(len(grid)) + 0.5,
            yticklabels=[f"fold {fold}" for fold in VALIDATION_ACTORS],
        )
        axis.invert_yaxis()
        axis.tick_params(length=0)
        for side in axis.spines.values():
            side.set_visible(False)
        patches = [Patch(color=_ROLES[role], label=role) for role in roles]
        axis.legend(handles=patches, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


class LiveCurve:
    """Training loss and validation UAR, drawn anew in the notebook after every epoch.

    Parameters
    ----------
    title : str
    epochs : int
        How many there will be.
    """

    def __init__(self, title: str, epochs: int) -> None:
        self._title = title
        self._epochs = epochs
        self._seen: list[Epoch] = []
        self._handle: Any = None

    def add(self, epoch: Epoch) -> None:
        """Draw one more epoch: what ``train(..., watch=...)`` wants."""
        from IPython.display import display
        from matplotlib import pyplot

        self._seen.append(epoch)
        figure = self.figure()
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)
        pyplot.close(figure)

    def figure(self) -> Any:
        """The curves so far."""
        with _figure(1, 2, (9, 2.7)) as (figure, (left, right)):
            numbers = [epoch.epoch + 1 for epoch in self._seen]
            losses = [_or_nan(epoch.train_loss) for epoch in self._seen]
            uars = [_or_nan(epoch.validation_uar) for epoch in self._seen]
            left.plot(numbers, losses, color=_ACCENT, marker="o", markersize=3)
            left.set(title=f"{self._title}: loss in training", xlabel="epoch")
            right.plot(numbers, uars, color=_WARM, marker="o", markersize=3)
            right.axhline(1 / len(EMOTIONS), color=_MUTED, linewidth=1, linestyle="--")
            right.text(self._epochs, 1 / len(EMOTIONS) + 0.02, "chance", color=_MUTED, ha="right")
            right.set(title="UAR on the validation clips", xlabel="epoch", ylim=(0, 1))
            for axis in (left, right):
                axis.set_xlim(0.5, self._epochs + 0.5)
                axis.xaxis.get_major_locator().set_params(integer=True)
                axis.grid(axis="y", color=_LINE, linewidth=0.7)
        return figure


def confusion_figure(matrices: Mapping[str, npt.NDArray[np.int64]]) -> Any:
    """Confusion matrices side by side: rows the truth, in percent of its clips.

    Parameters
    ----------
    matrices : mapping
        Title -> ``int (classes, classes)``, rows the truth.
    """
    with _figure(1, len(matrices), (5 * len(matrices), 4.9), sharey=True) as (figure, axes):
        for axis, (title, matrix) in zip(np.ravel(axes), matrices.items(), strict=True):
            share = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
            axis.imshow(share, cmap="Blues", vmin=0, vmax=100)
            for (row, column), value in np.ndenumerate(share):
                if value >= 0.5:
                    colour = "white" if value > 55 else _INK
                    axis.text(
                        column, row, f"{value:.0f}", color=colour, ha="center", va="center", size=9
                    )
            axis.set(title=title, xlabel="heard as")
            axis.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=45, ha="right")
            axis.set_yticks(range(len(EMOTIONS)), EMOTIONS)
            axis.tick_params(length=0)
            for side in axis.spines.values():
                side.set_visible(False)
        np.ravel(axes)[0].set_ylabel("was")
    return figure


def scores_figure(scores: Mapping[str, float], title: str, threshold: float = 0.0) -> Any:
    """Scores as bars; the dashed line is what the highest must reach, else it is "unknown"."""
    with _figure(1, 1, (7, 2.8)) as (figure, axis):
        names = list(scores)
        colours = [COLOURS.get(name, _ACCENT) for name in names]
        bars = axis.barh(names, [100 * scores[name] for name in names], color=colours, height=0.7)
        axis.bar_label(bars, fmt="%.0f %%", padding=4, color=_INK)
        axis.invert_yaxis()
        axis.set(title=title, xlim=(0, 108), xticks=[])
        axis.tick_params(length=0)
        axis.spines["bottom"].set_visible(False)
        if threshold:
            axis.axvline(100 * threshold, color=_MUTED, linewidth=1, linestyle="--")
    return figure


@contextmanager
def _figure(
    rows: int, columns: int, size: tuple[float, float], **options: Any
) -> Iterator[tuple[Any, Any]]:
    """A figure in our style; closed, so that it is shown once, by the cell that returns it."""
    from matplotlib import pyplot

    with pyplot.rc_context(_STYLE):
        figure, axes = pyplot.subplots(
            rows, columns, figsize=size, layout="constrained", gridspec_kw=_grid(options), **options
        )
        yield figure, axes
        pyplot.close(figure)


def _grid(options: dict[str, Any]) -> dict[str, Any]:
    return {key: options.pop(key) for key in ("height_ratios",) if key in options}


def _show_mel(axis: Any, image: UInt8, spec: MelImageSpec) -> None:
    axis.imshow(
        image,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=0,
        vmax=255,
        extent=(0, spec.seconds, 0, spec.n_mels),
    )
    centres = band_edges(spec)[1:-1]
    shown = [hz for hz in _HZ if centres[0] <= hz <= centres[-1]]
    bands = np.interp(shown, centres, np.arange(len(centres)) + 0.5)
    axis.set_yticks(bands, [str(hz) for hz in shown])


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
