"""Figures of an evaluation -> charts of a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from ser_edge.metrics.bootstrap import CONFIDENCE, Difference, Interval, PairedRuns
from ser_edge.metrics.classification import ECE_BINS
from ser_edge.reports.figures import (
    ACCENT,
    COLOURS,
    INK,
    MUTED,
    SERIES,
    WARM,
    Chart,
    bare,
    canvas,
    svg,
    title_of,
)

if TYPE_CHECKING:
    from ser_edge.evaluation.classifier import SoundAnswer
    from ser_edge.runs.record import Run

Float64 = npt.NDArray[np.float64]

TIMELINE_STEPS: Final = 160
"""Columns of a timeline: a screen has no room for more."""

_WIDTH: Final = 360  # on a phone the letters are as large as the text
_QUARTERS: Final = (0, 0.25, 0.5, 0.75, 1)
_PERCENT: Final = ("0", "25", "50", "75", "100%")


@dataclass(frozen=True)
class Bin:
    """Clips whose highest score lies from ``low`` to ``high``: how many, how sure, how right."""

    low: float
    high: float
    clips: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Stretch:
    """A part of a sound with one answer; ``start`` and ``end`` in seconds."""

    emotion: str
    start: float
    end: float


def bars(
    title: str,
    axis_label: str,
    rows: Mapping[str, Sequence[float]],
    *,
    series: Sequence[str] = (),
    chance: float = 0.0,
    form: str = "{:.0%}",
) -> Chart:
    """Lying bars from 0 to 100 %.

    Parameters
    ----------
    title, axis_label : str
    rows : mapping
        Label -> one value (0 to 1) a series.
    series : sequence of str
        Names of the bars of a row, if there are several.
    chance : float
        A dashed line, unless 0.
    form : str
        How a value is written beside its bar.
    """
    count = max(1, len(series))
    legend = bool(series or chance)
    height = 52 + len(rows) * (14 + 13 * count) + 24 * legend
    texts = {name: [form.format(value) for value in values] for name, values in rows.items()}
    with canvas(_WIDTH, height) as (figure, axis):
        thick = 0.78 / count
        for i in range(count):
            at = np.arange(len(rows)) + (i - (count - 1) / 2) * thick
            values = [row[i] for row in rows.values()]
            label = {"label": series[i]} if series else {}
            drawn = axis.barh(at, values, 0.9 * thick, color=SERIES[i], **label)
            axis.bar_label(drawn, [text[i] for text in texts.values()], padding=4, size=11)
        axis.set_yticks(range(len(rows)), rows, color=INK)
        axis.set_xticks(_QUARTERS, _PERCENT)
        axis.set(xlabel=axis_label, xlim=(0, 1), ylim=(len(rows) - 0.45, -0.55))
        axis.grid(axis="x")
        axis.spines["left"].set_visible(False)
        if chance:
            _dashed(axis.axvline(chance, label=f"chance, {chance:.1%}"))
        if legend:
            figure.legend(loc="outside lower center", ncols=count + bool(chance))
        named = (f"{name} {' and '.join(text)}" for name, text in texts.items())
        return Chart(title, svg(figure, f"{title}: {', '.join(named)}"))


def training_curves(runs: Sequence[Run]) -> tuple[Chart, ...]:
    """Training loss, validation UAR and NLL of every fold by epoch; empty without history."""
    charts = []
    for title, y_label, name in (
        ("Training loss", "cross entropy", "train_loss"),
        ("Validation UAR", "UAR", "validation_uar"),
        ("Validation NLL", "NLL", "validation_nll"),
    ):
        curves = {
            run.fold: points
            for run in runs
            if (
                points := [
                    (epoch.epoch, value)
                    for epoch in run.history
                    if (value := getattr(epoch, name)) is not None and np.isfinite(value)
                ]
            )
        }
        if curves:
            charts.append(_curves(title, y_label, curves))
    return tuple(charts)


def _curves(title: str, y_label: str, curves: Mapping[str, Sequence[tuple[int, float]]]) -> Chart:
    with canvas(_WIDTH, 262) as (figure, axis):
        for i, (name, points) in enumerate(curves.items()):
            colour = SERIES[i % len(SERIES)]
            (line,) = axis.plot(*zip(*points, strict=True), color=colour, linewidth=1.5)
            line.set_label(f"fold {name}")
            title_of(line, f"fold {name}")
        axis.set(xlabel="epoch", ylabel=y_label)
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.margins(x=0.01)
        axis.grid(axis="y")
        if y_label == "UAR":
            axis.set_ylim(bottom=0)
        _name_ends(axis, {name: points[-1][1] for name, points in curves.items()})
        figure.legend(
            loc="outside lower center", ncols=min(5, len(curves)), fontsize=10.5,
            columnspacing=1.0, handlelength=1.2,
        )  # fmt: skip
        return Chart(title, svg(figure, f"{title} of {len(curves)} runs over the epochs"))


def _name_ends(axis: Any, ends: Mapping[str, float]) -> None:
    """Names of curves at the right, moved apart where they would lie on each other."""
    low, high = axis.get_ylim()
    colours = dict(zip(ends, (line.get_color() for line in axis.lines), strict=True))
    least, below = 0.075 * (high - low), low - high
    for name in sorted(ends, key=lambda name: ends[name]):
        below = max(ends[name], below + least)
        axis.annotate(
            name,
            (1, below),
            xycoords=("axes fraction", "data"),
            xytext=(4, 0),
            textcoords="offset points",
            color=colours[name],
            weight="bold",
            va="center",
        )


def reliability(scores: Float64, truth: npt.NDArray[np.int64]) -> tuple[Bin, ...]:
    """The bins that the ECE is computed from; empty ones have confidence and accuracy 0."""
    confidence = scores.max(axis=1)
    correct = scores.argmax(axis=1) == truth
    which = np.minimum((confidence * ECE_BINS).astype(int), ECE_BINS - 1)
    return tuple(
        Bin(
            b / ECE_BINS,
            (b + 1) / ECE_BINS,
            int(np.sum(which == b)),
            float(confidence[which == b].mean()) if (which == b).any() else 0.0,
            float(correct[which == b].mean()) if (which == b).any() else 0.0,
        )
        for b in range(ECE_BINS)
    )


def reliability_chart(bins: Sequence[Bin]) -> Chart:
    """Accuracy over confidence, and below it the clips of every bin."""
    shown = [b for b in bins if b.clips]
    with canvas(_WIDTH, 390, 2, sharex=True, height_ratios=[4, 1]) as (figure, (above, below)):
        for b in shown:
            middle, width = (b.low + b.high) / 2, 0.92 * (b.high - b.low)
            right = above.bar(middle, b.accuracy, width, color=ACCENT, label="right")
            gap = above.bar(
                middle,
                b.confidence - b.accuracy,
                width,
                b.accuracy,
                color=f"{WARM}55",
                edgecolor=WARM,
                label="gap between right and confident",
            )
            clips = below.bar(middle, b.clips, width, color=ACCENT, alpha=0.6)
            text = f"{b.clips} clips: confidence {b.confidence:.3f}, right {b.accuracy:.3f}"
            for bar in (*right, *gap, *clips):
                title_of(bar, text)
        _dashed(above.plot([0, 1], [0, 1])[0])
        above.set(ylabel="answers that are right", ylim=(0, 1), xlim=(0, 1))
        above.set_yticks(_QUARTERS, _PERCENT)
        above.grid(axis="y")
        below.set_xticks(_QUARTERS, _PERCENT)
        most = max((b.clips for b in shown), default=1)
        below.set(xlabel="confidence (highest score)", ylabel="clips", yticks=(0, most))
        handles, labels = above.get_legend_handles_labels()
        figure.legend(handles[:2], labels[:2], loc="outside lower center", ncols=2)
        alt = ", ".join(
            f"confidence {b.confidence:.2f} right {b.accuracy:.2f} on {b.clips} clips"
            for b in shown
        )
        note = (
            f"of the highest score, {len(bins)} bins; on the dashed line a score says what it means"
        )
        return Chart("Reliability", svg(figure, f"Reliability diagram: {alt}"), note)


def interval_chart(runs: PairedRuns) -> Chart:
    """UAR and accuracy, B less A, with their intervals by speaker and by clip."""
    rows: list[tuple[str, str, Difference, Interval]] = []
    for figure_name, difference in (("UAR", runs.uar), ("accuracy", runs.accuracy)):
        if difference.by_speaker is not None:
            rows.append((figure_name, "by speaker", difference, difference.by_speaker))
        rows.append((figure_name, "by clip", difference, difference.by_clip))
    with canvas(_WIDTH, 50 + 44 * len(rows)) as (figure, axis):
        for at, (_, by, difference, interval) in enumerate(rows):
            colour = SERIES[by == "by clip"]
            axis.plot([interval.low, interval.high], [at, at], color=colour, linewidth=3)
            axis.plot(difference.difference, at, "o", color=colour, markersize=9)
        reach = 1.1 * max(0.005, *np.abs(axis.get_xlim()))
        axis.axvline(0, color=MUTED, linewidth=1)
        axis.set_yticks(range(len(rows)), [f"{name}\n{by}" for name, by, _, _ in rows], color=INK)
        axis.set(xlabel="B less A", xlim=(-reach, reach), ylim=(len(rows) - 0.5, -0.5))
        axis.locator_params(axis="x", nbins=6)
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:+g}" if abs(value) > 1e-9 else "0")
        axis.grid(axis="x")
        axis.spines["left"].set_visible(False)
        alt = "; ".join(
            f"{name}, {by} {d.difference:+.3f} ({i.low:+.3f} to {i.high:+.3f})"
            for name, by, d, i in rows
        )
        note = f"line: {CONFIDENCE:.0%} interval; where it crosses zero, nothing is shown to differ"
        return Chart("Difference, B less A", svg(figure, alt), note)


# --------------------------------------------------------------------------------------- timelines


def stretches(answer: SoundAnswer) -> tuple[Stretch, ...]:
    """The answers of a sound's windows over time, equal neighbours as one.

    Windows overlap: each stands for the time up to the middle of what it shares with the next.
    """
    found: list[Stretch] = []
    for window, (start, end) in zip(answer.windows, pairwise(_edges(answer)), strict=True):
        if found and found[-1].emotion == window.emotion:
            start = found.pop().start
        found.append(Stretch(window.emotion, start, end))
    return tuple(found)


def stacked_scores(answer: SoundAnswer) -> tuple[Float64, Float64]:
    """Scores of a sound over time, each on top of those before it.

    Returns
    -------
    edges : ndarray
        ``float64 (steps + 1,)`` in seconds; at most :data:`TIMELINE_STEPS` steps, of long sounds
        neighbours are averaged.
    tops : ndarray
        ``float64 (labels, steps)``, 0 to 1.
    """
    labels = list(answer.scores)
    scores = np.array([[window.scores[label] for label in labels] for window in answer.windows])
    steps = min(len(scores), TIMELINE_STEPS)
    cuts = np.linspace(0, len(scores), steps + 1).astype(int)
    means = np.stack([scores[a:b].mean(axis=0) for a, b in pairwise(cuts)])
    return np.array(_edges(answer))[cuts], np.cumsum(means, axis=1).T


def timeline(answer: SoundAnswer) -> Markup:
    """A strip of the answers over time, and below it all scores, stacked."""
    found = stretches(answer)
    edges, tops = stacked_scores(answer)
    with bare(1000, 84) as (figure, axis):
        axis.set(xlim=(0, answer.duration), ylim=(0, 1.3))
        for emotion in dict.fromkeys(part.emotion for part in found):
            spans = [(p.start, p.end - p.start) for p in found if p.emotion == emotion]
            colour = COLOURS.get(emotion, ACCENT)
            strip = axis.broken_barh(spans, (1.05, 0.25), color=colour, linewidth=0)
            title_of(strip, emotion)
        tops = np.pad(tops, ((1, 0), (0, 1)), constant_values=0)
        tops[:, -1] = tops[:, -2]  # the last step ends at the last edge
        for label, below, top in zip(answer.scores, tops, tops[1:], strict=False):
            colour = COLOURS.get(label, ACCENT)
            layer = axis.fill_between(edges, below, top, step="post", color=colour, linewidth=0.4)
            title_of(layer, label)
        names = ", ".join(part.emotion for part in found[:20])
        more = " and so on" if len(found) > 20 else ""
        alt = f"Answers over time, and all scores, stacked: {names}{more}"
        return svg(figure, alt, stretch=True)


def _edges(answer: SoundAnswer) -> list[float]:
    between = [(a.end + b.start) / 2 for a, b in pairwise(answer.windows)]
    return [0.0, *between, answer.duration]


def _dashed(line: Any) -> None:
    line.set(color=MUTED, linewidth=1, linestyle="--")
