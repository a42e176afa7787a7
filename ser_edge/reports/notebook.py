"""What the notebook shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from ser_edge.data.splits import VALIDATION_ACTORS, split_speakers
from ser_edge.emotions import EMOTIONS
from ser_edge.mel.image import UInt8
from ser_edge.mel.spec import MelImageSpec
from ser_edge.reports.figures import ACCENT, COLOURS, INK, LINE, MUTED, WARM, canvas, show_mel
from ser_edge.runs.record import Epoch

_ROLES: Final = {"train": "#cfe0e8", "validation": "#e9b44c", "test": WARM}


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
        above.plot(seconds, waveform, color=ACCENT, linewidth=0.5)
        above.set(title="the sound: air pressure over time", yticks=[])
        above.spines["left"].set_visible(False)
        show_mel(below, image, spec)
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
            show_mel(axis, image, spec)
            axis.set_title(name, color=COLOURS.get(name, INK))
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

        self._seen.append(epoch)
        figure = self.figure()
        if self._handle is None:
            self._handle = display(figure, display_id=True)
        else:
            self._handle.update(figure)

    def figure(self) -> Any:
        """The curves so far."""
        with _figure(1, 2, (9, 2.7)) as (figure, (left, right)):
            numbers = [epoch.epoch + 1 for epoch in self._seen]
            losses = [_or_nan(epoch.train_loss) for epoch in self._seen]
            uars = [_or_nan(epoch.validation_uar) for epoch in self._seen]
            left.plot(numbers, losses, color=ACCENT, marker="o", markersize=3)
            left.set(title=f"{self._title}: loss in training", xlabel="epoch")
            right.plot(numbers, uars, color=WARM, marker="o", markersize=3)
            right.axhline(1 / len(EMOTIONS), color=MUTED, linewidth=1, linestyle="--")
            right.text(self._epochs, 1 / len(EMOTIONS) + 0.02, "chance", color=MUTED, ha="right")
            right.set(title="UAR on the validation clips", xlabel="epoch", ylim=(0, 1))
            for axis in (left, right):
                axis.set_xlim(0.5, self._epochs + 0.5)
                axis.xaxis.get_major_locator().set_params(integer=True)
                axis.grid(axis="y", color=LINE, linewidth=0.7)
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
                    colour = "white" if value > 55 else INK
                    axis.text(
                        column, row, f"{value:.0f}", color=colour, ha="center", va="center", size=9
                    )
            axis.set(title=title, xlabel="answered")
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
        colours = [COLOURS.get(name, ACCENT) for name in names]
        bars = axis.barh(names, [100 * scores[name] for name in names], color=colours, height=0.7)
        axis.bar_label(bars, fmt="%.0f %%", padding=4, color=INK)
        axis.invert_yaxis()
        axis.set(title=title, xlim=(0, 108), xticks=[])
        axis.tick_params(length=0)
        axis.spines["bottom"].set_visible(False)
        if threshold:
            axis.axvline(100 * threshold, color=MUTED, linewidth=1, linestyle="--")
    return figure


@contextmanager
def _figure(
    rows: int, columns: int, inches: tuple[float, float], **options: Any
) -> Iterator[tuple[Any, Any]]:
    """A figure in our style that Jupyter shows once, as the value of its cell."""

    with canvas(72 * inches[0], 72 * inches[1], rows, columns, **options) as (figure, axes):
        figure.set(facecolor="white")
        yield figure, axes


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
