"""Draws an explanation as a PNG, with Pillow (9.1 or newer)."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edge_app.inference.occlusion import Explanation, Spot
from ser_edge.emotions import UNKNOWN
from ser_edge.mel.image import UInt8, hz_to_mel, mel_to_hz
from ser_edge.mel.spec import MelImageSpec

if TYPE_CHECKING:
    from PIL import ImageDraw

Float64 = npt.NDArray[np.float64]
Colour = tuple[int, int, int]

_INK: Final = (32, 33, 36)
_SOFT: Final = (95, 99, 104)
_PAPER: Final = (255, 255, 255)
_FAINT: Final = (225, 228, 234)
_GREY: Final = (140, 146, 160)
_FOR: Final = (214, 84, 20)
_AGAINST: Final = (24, 98, 190)
"""Orange and blue: distinguishable with red-green colour blindness."""

_STOPS: Final = ((9, 16, 40), (22, 62, 102), (34, 120, 140), (112, 186, 160), (244, 247, 220))
"""Colour map from dark blue through green to pale yellow, with evenly rising lightness."""

_PLOT: Final = (780, 230)
_LEFT, _TOP, _GAP, _AXIS = 74, 92, 66, 22
_BARS: Final = (96, 190)
_MARKS_HZ: Final = (100, 200, 500, 1000, 2000, 4000, 8000, 16_000)
_LEAST_HEAT: Final = 0.25
"""Minimum of the colour scale in nats, so that weak evidence does not look strong."""

_HOW_TO_READ: Final = (
    "Parts of the sound were made silent, one by",
    "one, and the model was asked again.",
    "",
    "Orange: without that part it is less sure of",
    "this emotion. Blue: it is more sure.",
    "Frames: where that is so most of all.",
    "",
    "This is what the model goes by, right or",
    "wrong, not what makes a voice sound so.",
)


def draw(explanation: Explanation) -> bytes:
    """An explanation -> PNG.

    On the left the mel image, and below it the same in grey with evidence for the emotion in
    orange and against it in blue. On the right the scores of the window. Low frequencies are at
    the bottom.

    Parameters
    ----------
    explanation : Explanation

    Returns
    -------
    bytes
        PNG of 1242 by 714 pixels.
    """
    from PIL import Image, ImageDraw

    width = _LEFT + _PLOT[0] + 40 + sum(_BARS) + 62
    sheet = Image.new("RGB", (width, _TOP + 2 * (_PLOT[1] + _GAP) + 30), _PAPER)
    pen = ImageDraw.Draw(sheet)
    text = _Letters(pen)
    view = _View(explanation)
    text.write((_LEFT, 14), title(explanation), _INK, 20, width - _LEFT - 12)
    for number, sentence in enumerate(sentences(explanation)):
        text.write((_LEFT, 42 + 20 * number), sentence, _SOFT, 14, width - _LEFT - 12)

    grey = view.cut(explanation.image) / 255
    heat = view.cut(explanation.heat)
    for number, (name, colours) in enumerate(
        (
            ("mel image: brighter is louder", _coloured(grey)),
            (
                f"evidence for {explanation.emotion}, and against it",
                _overlaid(grey, heat, view.full),
            ),
        )
    ):
        top = _TOP + 22 + number * (_PLOT[1] + _GAP)
        text.write((_LEFT, top - 20), name, _INK, 14)
        plot = Image.fromarray(np.flipud(colours).copy())
        sheet.paste(plot.resize(_PLOT, Image.Resampling.BICUBIC), (_LEFT, top))
        _axes(pen, text, view, top)
    for spot, colour in ((explanation.most_for, _FOR), (explanation.most_against, _AGAINST)):
        if spot is not None:
            left, high, right, low = view.box(spot)
            pen.rectangle((_LEFT + left, top + high, _LEFT + right, top + low), None, colour, 2)
    _legend(pen, text, explanation, view, _TOP + 22 + 2 * _PLOT[1] + _GAP + 44)
    right = _LEFT + _PLOT[0] + 40
    _scores(pen, text, explanation, right)
    for number, line in enumerate(_HOW_TO_READ):
        text.write((right, _TOP + 22 + _PLOT[1] + _GAP + 32 + 20 * number), line, _SOFT, 14)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def title(explanation: Explanation) -> str:
    """One sentence: file, emotion and score, and the window if there are several."""
    answer, window = explanation.prediction, explanation.window
    best = max(window.scores, key=lambda label: window.scores[label])
    score = f"{best} ({window.scores[best]:.0%})"
    result = f"not sure, most like {score}" if window.emotion == UNKNOWN else f"sounds {score}"
    name = _printable(Path(answer.file).name or answer.file)
    if explanation.emotion != best:
        result += f"; why not {explanation.emotion}?"
    if len(answer.windows) == 1:
        return f"{name}: {result}"
    whole = f"all {answer.duration:.1f} s: {answer.emotion}"
    return f"{name}, {window.start:.1f} to {window.end:.1f} s: {result} ({whole})"


def sentences(explanation: Explanation) -> tuple[str, ...]:
    """Sentences on the strongest evidence for the emotion, and against it."""
    emotion, view = explanation.emotion, _View(explanation)
    score = explanation.window.scores[emotion]
    found = [
        f"Most {side} {emotion}: {view.describe(spot)}. Without that alone, {emotion} would have "
        f"{spot.score:.0%} in place of {score:.0%}."
        for side, spot in (("for", explanation.most_for), ("against", explanation.most_against))
        if spot is not None
    ]
    return tuple(found) or (f"No single part of it weighs much for or against {emotion}.",)


def _hz(value: float) -> str:
    """Rounded to two digits, the precision of a patch."""
    if value < 10:
        return f"{value:.0f}"
    digits = 10 ** (math.floor(math.log10(value)) - 1)
    return f"{round(value / digits) * digits:,.0f}"


def _printable(name: str) -> str:
    """A file name as one line of at most 48 printable characters."""
    shown = "".join(c if c.isprintable() else "?" for c in name)
    return shown if len(shown) <= 48 else f"{shown[:30]}...{shown[-15:]}"


class _View:
    """The part of a mel image with audio, and its coordinates in seconds and Hz."""

    def __init__(self, explanation: Explanation) -> None:
        self.spec: MelImageSpec = explanation.spec
        window = explanation.window
        self._start = window.start - explanation.offset
        # Frames whose centre lies in the audio; a very short file still gets some width.
        first = self._column(window.start)
        last = self._column(max(window.end, window.start + 0.5))
        self.first = max(0, min(math.floor(first), self.spec.frames - 2))
        self.last = max(self.first + 2, min(math.ceil(last), self.spec.frames))
        self.full = max(float(np.abs(explanation.heat).max()), _LEAST_HEAT)

    def cut(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The shown columns."""
        return values[:, self.first : self.last]

    def x(self, seconds: float) -> float:
        """Pixels from the left of the plot."""
        return (self._column(seconds) - self.first) * _PLOT[0] / (self.last - self.first)

    def y(self, hz: float) -> float:
        """Pixels from the top of the plot."""
        low, step = self._mel()
        band = (float(hz_to_mel(hz, self.spec.mel_scale)) - low) / step - 0.5
        return _PLOT[1] * (1 - band / self.spec.n_mels)

    def seconds_at(self, column: float) -> float:
        """Time in seconds at the left edge of a shown column."""
        samples = (self.first + column - 0.5) * self.spec.hop_length + self.spec.n_fft / 2
        return max(0.0, self._start + samples / self.spec.sample_rate)

    def hz_at(self, band: float) -> float:
        """Frequency in Hz at the lower edge of a band."""
        low, step = self._mel()
        return float(mel_to_hz(low + (band + 0.5) * step, self.spec.mel_scale))

    def describe(self, spot: Spot) -> str:
        """Time and frequency range of a spot, as text."""
        start, end = (self.seconds_at(at - self.first) for at in _ends(spot.frames))
        low, high = (_hz(self.hz_at(at)) for at in _ends(spot.bands))
        return f"{start:.1f} to {end:.1f} s, {low} to {high} Hz"

    def box(self, spot: Spot) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of a spot, in pixels of the plot."""
        wide, high = _PLOT[0] / (self.last - self.first), _PLOT[1] / self.spec.n_mels
        left, right = (min(max(0, at - self.first) * wide, _PLOT[0]) for at in _ends(spot.frames))
        bottom, top = (_PLOT[1] - at * high for at in _ends(spot.bands))
        return left, top, right, bottom

    def _column(self, seconds: float) -> float:
        samples = (seconds - self._start) * self.spec.sample_rate - self.spec.n_fft / 2
        return samples / self.spec.hop_length + 0.5

    def _mel(self) -> tuple[float, float]:
        low = float(hz_to_mel(self.spec.f_min, self.spec.mel_scale))
        high = float(hz_to_mel(self.spec.f_max, self.spec.mel_scale))
        return low, (high - low) / (self.spec.n_mels + 1)


def _ends(part: slice) -> tuple[int, int]:
    return int(part.start), int(part.stop)


class _Letters:
    """Draws text with any Pillow: before 10.1 its font has one size, and Latin-1 alone."""

    def __init__(self, pen: ImageDraw.ImageDraw) -> None:
        self._pen = pen

    def write(
        self, at: tuple[float, float], text: str, colour: Colour, size: int, width: float = 1e9
    ) -> None:
        """Draw text with its top left corner at a point, shortened to ``width`` pixels."""
        font = _font(size)
        text = self._known(text)
        while len(text) > 4 and self.width(text, size) > width:
            text = text[:-4] + "..."
        self._pen.text(at, text, colour, font)

    def width(self, text: str, size: int) -> float:
        """Width of a text in pixels."""
        return float(self._pen.textlength(self._known(text), _font(size)))

    @staticmethod
    def _known(text: str) -> str:
        return text if _has_sizes() else text.encode("latin-1", "replace").decode("latin-1")


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size) if _has_sizes() else ImageFont.load_default()


def _has_sizes() -> bool:
    from PIL import __version__, features

    version = tuple(int(part) for part in __version__.split(".")[:2])
    return version >= (10, 1) and bool(features.check_module("freetype2"))


def _coloured(grey: Float64) -> UInt8:
    levels = np.linspace(0, 1, len(_STOPS))
    channels = [np.interp(grey, levels, channel) for channel in zip(*_STOPS, strict=True)]
    colours: UInt8 = np.stack(channels, axis=-1).round().astype(np.uint8)
    return colours


def _overlaid(grey: Float64, heat: Float64, full: float) -> UInt8:
    """Grey mel image (loud is dark) under colours whose strength shows the evidence."""
    base = np.repeat((248 - 150 * grey)[..., None], 3, axis=-1)
    colour = np.where(heat[..., None] > 0, _FOR, _AGAINST)
    share = np.clip(np.abs(heat) / full, 0, 1)[..., None] ** 0.8 * 0.85
    colours: UInt8 = (base * (1 - share) + colour * share).round().astype(np.uint8)
    return colours


def _axes(pen: ImageDraw.ImageDraw, text: _Letters, view: _View, top: int) -> None:
    bottom = top + _PLOT[1]
    last_y = math.inf
    for hz in _MARKS_HZ:
        y = top + view.y(hz)
        if not top - 3 <= y <= bottom or last_y - y < 15:
            continue
        last_y = y = max(y, top)
        label = f"{hz:,} Hz"
        pen.line((_LEFT - 5, y, _LEFT - 1, y), _SOFT)
        text.write((_LEFT - 9 - text.width(label, 12), y - 7), label, _SOFT, 12)
    start, end = view.seconds_at(0), view.seconds_at(view.last - view.first)
    step = 0.1 if end - start < 1 else 0.5
    for number in range(math.ceil(start / step - 1e-6), math.floor(end / step + 1e-6) + 1):
        seconds = number * step
        x = _LEFT + view.x(seconds)
        if _LEFT - 1 <= x <= _LEFT + _PLOT[0] + 1:
            pen.line((x, bottom, x, bottom + 4), _SOFT)
            label = f"{seconds:g} s" if step < 0.5 or number % 2 == 0 else ""
            text.write((x - text.width(label, 12) / 2, bottom + 6), label, _SOFT, 12)


def _legend(
    pen: ImageDraw.ImageDraw, text: _Letters, explanation: Explanation, view: _View, top: int
) -> None:
    """Legend of the colours, from strongest blue to strongest orange."""
    left, right = f"against {explanation.emotion}", f"for {explanation.emotion}"
    x = _LEFT
    text.write((x, top), left, _AGAINST, 14)
    x += int(text.width(left, 14)) + 10
    ramp = _overlaid(np.zeros((1, 160)), np.linspace(-1, 1, 160)[None], 1.0)[0]
    for number, colour in enumerate(ramp.tolist()):
        pen.line((x + number, top + 2, x + number, top + 16), tuple(colour))
    text.write((x + 170, top), right, _FOR, 14)
    x += 170 + int(text.width(right, 14)) + 24
    note = (
        f"full colour: without that part its odds change by a factor of {math.exp(view.full):.1f}"
    )
    text.write((x, top), note, _SOFT, 14)


def _scores(pen: ImageDraw.ImageDraw, text: _Letters, explanation: Explanation, left: int) -> None:
    """A bar for every label; the explained one in orange."""
    scores = explanation.window.scores
    top, step = _TOP + 22, min(38, 2 * _PLOT[1] // len(scores))
    text.write((left, top - 20), "scores", _INK, 14)
    names, length = _BARS
    for number, (label, score) in enumerate(scores.items()):
        y = top + number * step
        text.write((left, y + 6), label, _INK, 14, names - 6)
        bar = (left + names, y + 4, left + names + length, y + step - 8)
        pen.rectangle(bar, _FAINT)
        if score * length >= 1:
            pen.rectangle(
                (*bar[:2], bar[0] + score * length, bar[3]),
                _FOR if label == explanation.emotion else _GREY,
            )
        text.write((bar[2] + 8, y + 6), f"{score:.0%}", _INK, 14)
