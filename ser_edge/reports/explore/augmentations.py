"""A clip under each augmentation of training, drawn by the classes that training draws with.

Where an entry of the recipe says how much, a clip is shown at three of its values, with the same
luck each time. Where it says how many clips (a room, a telephone), how much is drawn for each of
them: then a mild, a usual and a harsh one of :data:`COPIES` draws are shown. What a draw did is
measured, as a rule by sending an impulse or a tone through the very same draw.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from torch import nn

from ser_edge.audio.decode import Float32
from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.recipe import Recipe
from ser_edge.data.audio_augment import SoundAugment, speech_power
from ser_edge.data.datasets import TrainingSounds
from ser_edge.data.image_augment import ImageAugment
from ser_edge.mel.image import MelImageSpec, UInt8, band_edges, mel_filterbank
from ser_edge.mel.torch import MelImage

COPIES: Final = 32
"""Draws of which three are shown."""

STEPS: Final = 20
"""Titles that :func:`tour` tells, if there are other voices."""

LESSONS: Final = 6
"""Draws of the whole recipe that are shown."""

TURNS: Final = 24
"""Of the search for the phases of a picture that is made audible; more change little."""

STEPS_OF_POWERS: Final = 20
"""Of the search for its powers."""

_MILD, _USUAL, _HARSH = 0.1, 0.5, 0.9  # quantiles of the draws
_TYPICAL: Final = 0.9  # where the draw that is shown at three values lies: nearly as far as it goes
_DRAWS: Final = (("mild", _MILD), ("usual", _USUAL), ("harsh", _HARSH))
_TONE_HZ: Final = 400.0
_BAND_HZ: Final = 50  # the noise of mu-law averages out
_TAP: Final = 1e-3  # -60 dB: below lies the rounding of the transform


@dataclass(frozen=True)
class Draw:
    """A clip after one draw.

    Attributes
    ----------
    label : str
        The entry's value, or how harsh the draw is.
    measured : str
        What it did.
    picture : ndarray
        ``uint8 (n_mels, frames)``, row 0 the lowest band.
    sound : ndarray
        ``float32 (samples,)``: what is heard, or the picture made audible again.
    own : bool
        Whether the value is the recipe's own.
    """

    label: str
    measured: str
    picture: UInt8
    sound: Float32
    own: bool = False


@dataclass(frozen=True)
class Augmentation:
    """Three draws of one entry of a recipe.

    Attributes
    ----------
    title, entry, what : str
        For people; the recipe's name of it (``sound.reverb``); one or two sentences.
    in_recipe : str
        The recipe's own value.
    scaled : bool
        Whether the three are values of the entry, or else draws at one value.
    draws : tuple of Draw
    """

    title: str
    entry: str
    what: str
    in_recipe: str
    scaled: bool
    draws: tuple[Draw, ...]

    @property
    def of_sound(self) -> bool:
        """Whether the waveform is changed, or else the picture."""
        return self.entry.startswith("sound.")


@dataclass(frozen=True)
class Tour:
    """All that is shown of a clip; ``left_out`` says what is not, and why."""

    original: Draw
    again: Draw
    sounds: tuple[Augmentation, ...]
    pictures: tuple[Augmentation, ...]
    lessons: tuple[Draw, ...]
    left_out: str
    cut: bool
    copies: int


Again: TypeAlias = "Callable[[torch.Tensor], torch.Tensor]"
"""The same draws for another batch of as many rows and samples."""

Measure: TypeAlias = (
    "Callable[[torch.Tensor, torch.Tensor, Again, MelImageSpec], tuple[torch.Tensor, list[str]]]"
)
"""Before, after, again, specification -> how much each row was changed, and that in words."""


@dataclass(frozen=True)
class _Row:
    """An entry; ``vary`` names what has three values, where it is not the entry itself."""

    title: str
    entry: str
    what: str
    values: tuple[float, ...]
    measure: Measure
    vary: str = ""


def tour(
    clip: Float32,
    others: Sequence[Float32],
    recipe: Recipe,
    *,
    seed: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> Tour:
    """Draw all there is.

    Parameters
    ----------
    clip : ndarray
        ``float32 (samples,)`` at the rate of the recipe's image; what training would not look at
        in one go (:class:`TrainingSounds`) is cut off.
    others : sequence of ndarray
        Other voices: for babble. Without any it is left out.
    recipe : Recipe
        Its image is the one drawn, its values are named.
    seed : int
    tell : callable
        Is told the title of each augmentation before it is drawn.

    Raises
    ------
    ValueError
        If the clip is silent: there is nothing that could be changed.
    """
    spec = recipe.image
    if not np.any(clip):
        raise ValueError("it is silent, nothing in it can be changed")
    studio = _Studio(clip, others, recipe, seed)
    missing = () if others else ("babble",)
    sounds, pictures = [], []
    for row in _SOUNDS:
        if row.entry not in missing:
            tell(row.title)
            sounds.append(studio.of_sound(row))
    for row in _PICTURES:
        tell(row.title)
        pictures.append(studio.of_picture(row))
    tell("all of it together")
    return Tour(
        original=studio.original(),
        again=studio.sounded_again(),
        sounds=tuple(sounds),
        pictures=tuple(pictures),
        lessons=tuple(studio.lessons()),
        left_out=", ".join(missing),
        cut=len(clip) > spec.window_samples,
        copies=COPIES,
    )


class _Studio:
    """A batch of copies of a clip, and what is done with it."""

    def __init__(self, clip: Float32, others: Sequence[Float32], recipe: Recipe, seed: int) -> None:
        spec = recipe.image
        self._spec, self._recipe, self._seed = spec, recipe, seed
        samples = round(TrainingSounds.MARGIN * spec.window_samples)
        bank = torch.zeros(len(others), samples)
        for row, other in zip(bank, others, strict=True):
            part = torch.from_numpy(np.ascontiguousarray(other[:samples]))
            row[: len(part)] = part
        self._bank = bank
        part = torch.from_numpy(np.ascontiguousarray(clip[:samples]))
        self._waveforms = nn.functional.pad(part, (0, samples - len(part))).repeat(COPIES, 1)
        self._lengths = torch.full((COPIES,), len(part))
        self._image = MelImage(spec)
        self._window = self._heard(SoundStrengths(), self._waveforms[:1])
        self._picture = self._image(self._window)
        # All pictures that are made audible are as loud as the clip.
        self._power = float(speech_power(self._window, spec.sample_rate))

    # ---------------------------------------------------------------------------- the clip itself

    def original(self) -> Draw:
        return self._drawn("as it is", "", self._window[0])

    def sounded_again(self) -> Draw:
        return self._pictured("the picture, made audible", "", self._picture[0, 0])

    # ------------------------------------------------------------------------------- of waveforms

    def of_sound(self, row: _Row) -> Augmentation:
        vary = row.vary or row.entry
        always = {row.entry: 1.0} if row.vary else {}
        settings = [SoundStrengths(**{**always, vary: value}) for value in row.values]
        before = self._window.expand(COPIES, -1)
        results = []
        for setting in settings:
            after = self._heard(setting, self._waveforms)

            def again(waveforms: torch.Tensor, setting: SoundStrengths = setting) -> torch.Tensor:
                return self._heard(setting, waveforms)

            results.append((after, *row.measure(before, after, again, self._spec)))
        own = getattr(self._recipe.sound, vary)
        draws = [
            self._drawn(label, texts[at], after[at], own=bool(value == own))
            for label, value, after, texts, at in self._chosen(vary, row.values, results)
        ]
        value = getattr(self._recipe.sound, row.entry)
        return Augmentation(
            row.title,
            f"sound.{row.entry}",
            row.what,
            _in_words(value, share=bool(row.vary) or len(settings) == 1)
            + (f", snr_db {own:g}" if row.vary and value else ""),
            len(settings) > 1,
            tuple(draws),
        )

    def _heard(self, strengths: SoundStrengths, waveforms: torch.Tensor) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            augment = SoundAugment(strengths, self._spec, self._bank)
            heard: torch.Tensor = augment(waveforms, self._lengths[: len(waveforms)])
        return heard

    # -------------------------------------------------------------------------------- of pictures

    def of_picture(self, row: _Row) -> Augmentation:
        before = self._picture.expand(COPIES, -1, -1, -1)
        results = []
        for value in row.values:
            setting = self._image_augment(row.entry, value)
            after = self._seen(setting, before)

            def again(images: torch.Tensor, setting: ImageAugment = setting) -> torch.Tensor:
                return self._seen(setting, images)

            results.append((after, *row.measure(before, after, again, self._spec)))
        own = getattr(self._recipe, row.entry)
        draws = [
            self._pictured(label, texts[at], after[at, 0], own=bool(value == own))
            for label, value, after, texts, at in self._chosen(row.entry, row.values, results)
        ]
        words = _in_words(own, share=len(results) == 1)
        return Augmentation(row.title, row.entry, row.what, words, len(results) > 1, tuple(draws))

    def _image_augment(self, entry: str, value: float) -> ImageAugment:
        """One that does nothing but this."""
        spec = self._spec
        if entry == "crop":
            entry, value = "frames", round(spec.frames * value / spec.seconds)
        still = ImageAugment(
            spec.frames, 0, 0, 0, 0, 0, 0, 0,
            tuple(band_edges(spec)[1:-1].tolist()), spec.range_db,
        )  # fmt: skip
        changed: dict[str, Any] = {entry: value}
        return replace(still, **changed)

    def _seen(self, augment: ImageAugment, images: torch.Tensor) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            return augment(images)

    # --------------------------------------------------------------------------------- the whole

    def lessons(self) -> Iterator[Draw]:
        """The recipe as it is: waveform, then picture."""
        recipe, spec = self._recipe, self._spec
        strengths = recipe.sound
        if strengths.babble and not len(self._bank):
            strengths = replace(strengths, babble=0.0)
        sounds = self._heard(strengths, self._waveforms[:LESSONS])
        augment = ImageAugment(
            recipe.training_frames,
            recipe.time_stretch,
            recipe.freq_stretch,
            recipe.shift,
            recipe.line,
            recipe.noise,
            recipe.freq_mask,
            recipe.time_mask,
            tuple(band_edges(spec)[1:-1].tolist()),
            spec.range_db,
        )
        pictures = self._seen(augment, self._image(sounds))
        for number, (sound, picture) in enumerate(zip(sounds, pictures, strict=True), 1):
            grey = picture[0].round().byte().numpy()
            yield Draw(f"draw {number}", "", grey, sound.numpy())

    # ------------------------------------------------------------------------------------- common

    def _chosen(
        self,
        vary: str,
        values: Sequence[float],
        results: Sequence[tuple[torch.Tensor, torch.Tensor, list[str]]],
    ) -> Iterator[tuple[str, float | None, torch.Tensor, list[str], int]]:
        """Label, value, and the batch, its texts and the row that is shown."""
        if len(results) == 1:
            after, amounts, texts = results[0]
            for label, quantile in _DRAWS:
                yield label, None, after, texts, _at(amounts, quantile)
            return
        at = _at(results[len(results) // 2][1], _TYPICAL)
        for value, (after, _, texts) in zip(values, results, strict=True):
            yield f"{vary}: {value:g}", value, after, texts, at

    def _drawn(self, label: str, measured: str, window: torch.Tensor, *, own: bool = False) -> Draw:
        picture = self._image(window[None])[0, 0].byte().numpy()
        return Draw(label, measured, picture, window.numpy(), own)

    def _pictured(
        self, label: str, measured: str, image: torch.Tensor, *, own: bool = False
    ) -> Draw:
        sound = audible(image, self._spec)
        power = float(speech_power(sound[None], self._spec.sample_rate))
        sound = sound * math.sqrt(self._power / power) if power > 0 else sound
        return Draw(label, measured, image.round().byte().numpy(), sound.numpy(), own)


def _in_words(value: float, *, share: bool) -> str:
    if not value:
        return "off"
    return f"{value:.0%} of the clips" if share else f"{value:g}"


def _at(amounts: torch.Tensor, quantile: float) -> int:
    """The row at a quantile of those that were changed at all."""
    changed = torch.nonzero(amounts > amounts.min())[:, 0]
    if not len(changed):
        return 0
    order = changed[amounts[changed].argsort(stable=True)]
    return int(order[round(quantile * (len(order) - 1))])


@torch.no_grad()
def audible(image: torch.Tensor, spec: MelImageSpec) -> torch.Tensor:
    """A picture as sound: powers that have these mel bands, phases by Griffin and Lim (1984).

    Parameters
    ----------
    image : Tensor
        ``float32 (n_mels, frames)`` grey levels; black is silence.
    spec : MelImageSpec

    Returns
    -------
    Tensor
        ``float32 (samples,)``, of any level.
    """
    import librosa  # takes seconds to import: only where a picture is heard

    decibels = (image / 255.0 - 1.0) * spec.range_db
    mel = torch.where(image > 0.5, torch.pow(10.0, decibels / 10.0), 0.0)
    filters = torch.from_numpy(mel_filterbank(spec).copy())  # (bins, n_mels)
    # Lee and Seung's multiplicative steps: least squares with nothing below zero.
    spectrum = filters @ mel
    for _ in range(STEPS_OF_POWERS):
        spectrum = spectrum * (filters @ mel) / (filters @ (filters.T @ spectrum)).clamp(min=1e-12)
    sound = librosa.griffinlim(
        spectrum.pow(1 / spec.power).numpy(),
        n_iter=TURNS,
        hop_length=spec.hop_length,
        win_length=spec.win_length,
        n_fft=spec.n_fft,
        random_state=0,
    )
    return nn.functional.pad(torch.from_numpy(sound), (spec.n_fft // 2, 0))  # frame 0 begins at 0


# ------------------------------------------------------------------------------------- measuring


def _impulse(like: torch.Tensor) -> torch.Tensor:
    sound = torch.zeros(len(like), round(TrainingSounds.MARGIN * like.shape[1]))
    sound[:, 0] = 1.0
    return sound


def _ratio_of_pitch(before: torch.Tensor, again: Again, rate: int) -> torch.Tensor:
    """What a tone's frequency is multiplied by."""
    samples = round(TrainingSounds.MARGIN * before.shape[1])
    tone = torch.sin(2 * math.pi * _TONE_HZ / rate * torch.arange(samples))
    heard = again(tone.repeat(len(before), 1))
    spectrum = torch.fft.rfft(heard).abs()  # of seconds: a bin is a fraction of a Hz
    ratio: torch.Tensor = spectrum.argmax(dim=1) * (rate / heard.shape[1] / _TONE_HZ)
    return ratio


def _speed(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    ratio = _ratio_of_pitch(before, again, spec.sample_rate)
    return ratio.log2().abs(), [f"{r:.2f} times as fast and as high" for r in ratio.tolist()]


def _pitch(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    semitones = 12 * _ratio_of_pitch(before, again, spec.sample_rate).log2()
    return semitones.abs(), [f"{s:+.1f} semitones" for s in semitones.tolist()]


def _moved_sound(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    # Samples that count themselves tell where they came from, also where the start was cut off.
    ramp = torch.arange(1.0, round(TrainingSounds.MARGIN * before.shape[1]) + 1)
    heard = again(ramp.repeat(len(before), 1))
    first = (heard > 0).float().argmax(dim=1)
    seconds = (first - heard[torch.arange(len(heard)), first] + 1) / spec.sample_rate
    return seconds.abs(), [_later(s) for s in seconds.tolist()]


def _later(seconds: float) -> str:
    return f"{abs(seconds):.2f} s {'later' if seconds >= 0 else 'cut off at the start'}"


def _room(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    response = again(_impulse(before)).double()
    start = response.abs().argmax(dim=1)
    amounts, texts = [], []
    for row, first in zip(response, start.tolist(), strict=True):
        tail = row[first + 1 :].square()
        over = -10 * math.log10(max(float(tail.sum()), 1e-12))
        decay = 10 * torch.log10(tail.flip(0).cumsum(0).flip(0).clamp(min=1e-20))
        fallen = decay[0] - decay  # Schroeder 1965
        five, twentyfive = (int((fallen < db).sum()) for db in (5, 25))
        rt60 = 3 * (twentyfive - five) / spec.sample_rate
        amounts.append(-over)
        where = "above" if over >= 0 else "below"
        texts.append(f"RT60 {rt60:.2f} s, the voice {abs(over):.0f} dB {where} its reflections")
    return torch.tensor(amounts), texts


def _echoes(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    amounts, texts = [], []
    for row in again(_impulse(before)):
        start = int(row.argmax())
        taps = (torch.nonzero(row[start + 1 :] > _TAP)[:, 0] + start + 1).tolist()
        amounts.append(float(row[taps].square().sum()))
        echoes = [
            ((tap - start) / spec.sample_rate, 20 * math.log10(float(row[tap]))) for tap in taps
        ]
        texts.append(", ".join(f"{seconds:.2f} s {level:.0f} dB" for seconds, level in echoes))
    return torch.tensor(amounts), texts


def _snr(
    before: torch.Tensor, after: torch.Tensor, _: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    voice, added = speech_power(before, spec.sample_rate), (after - before).square().mean(dim=1)
    snr = 10 * torch.log10(voice / added.clamp(min=1e-20))
    return -snr, [f"SNR {value:.0f} dB" for value in snr.tolist()]


def _telephone(
    before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    response = torch.fft.rfft(again(_impulse(before))).abs()
    width = response.shape[1] * _BAND_HZ // (spec.sample_rate // 2)
    bands = response[:, : response.shape[1] // width * width].unflatten(1, (-1, width)).mean(dim=2)
    passed = bands > 0.3 * bands.amax(dim=1, keepdim=True)  # -10 dB
    hertz = (torch.arange(bands.shape[1]) + 0.5) * _BAND_HZ
    low = torch.where(passed, hertz, hertz[-1]).amin(dim=1)
    high = torch.where(passed, hertz, hertz[0]).amax(dim=1)
    texts = [f"{a:.0f} to {b:.0f} Hz" for a, b in zip(low.tolist(), high.tolist(), strict=True)]
    return low - high, texts


def _gain(
    before: torch.Tensor, after: torch.Tensor, _: Again, __: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    decibels = 10 * torch.log10(after.square().sum(dim=1) / before.square().sum(dim=1))
    return decibels.abs(), [f"{value:+.1f} dB" for value in decibels.tolist()]


def _cropped(
    before: torch.Tensor, after: torch.Tensor, _: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    wide = after.shape[3]
    places = before.shape[3] - wide + 1
    # Not equal, but all but: what comes after the cut in a training's chain rounds.
    firsts = [
        min(
            range(places),
            key=lambda first: float((picture[:, :, first : first + wide] - cut).abs().sum()),
        )
        for picture, cut in zip(before, after, strict=True)
    ]
    hop = spec.hop_length / spec.sample_rate
    return torch.tensor(firsts), [
        f"{first * hop:.2f} to {(first + wide) * hop:.2f} s" for first in firsts
    ]


def _stretched(axis: int, text: Callable[[float], str]) -> Measure:
    """A bright stripe on black tells what an axis is scaled by."""

    def measure(
        before: torch.Tensor, _: torch.Tensor, again: Again, __: MelImageSpec
    ) -> tuple[torch.Tensor, list[str]]:
        probe = torch.zeros_like(before)
        middle = before.shape[axis] // 2
        probe.index_fill_(axis, torch.tensor([middle]), 255.0)
        seen = again(probe).sum(dim=(1, 5 - axis))  # (N, size)
        place = torch.arange(seen.shape[1]) + 0.5
        ratio = (seen * place).sum(dim=1) / seen.sum(dim=1) / (middle + 0.5)
        return (ratio - 1).abs(), [text(r) for r in ratio.tolist()]

    return measure


def _moved_picture(
    before: torch.Tensor, after: torch.Tensor, _: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    first = [(images > 0.5).any(dim=2)[:, 0].float().argmax(dim=1) for images in (before, after)]
    seconds = (first[1] - first[0]) * spec.hop_length / spec.sample_rate
    return seconds.float(), [_later(s) for s in seconds.tolist()]


def _coloured(
    before: torch.Tensor, after: torch.Tensor, _: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    seen = before > 0
    apart = ((after - before).abs() * seen).sum(dim=(1, 2, 3)) / seen.sum(dim=(1, 2, 3)).clamp(1)
    decibels = apart * spec.range_db / 255
    return decibels, [f"levels changed by {value:.0f} dB on average" for value in decibels.tolist()]


def _hiss(
    before: torch.Tensor, after: torch.Tensor, again: Again, spec: MelImageSpec
) -> tuple[torch.Tensor, list[str]]:
    floor = again(torch.zeros_like(before)).mean(dim=(1, 2, 3))
    below = (255.0 - floor) * spec.range_db / 255
    return floor, [f"noise {value:.0f} dB below the loudest point" for value in below.tolist()]


def _masked(axis: int, text: Callable[[int, MelImageSpec], str]) -> Measure:
    def measure(
        before: torch.Tensor, _: torch.Tensor, again: Again, spec: MelImageSpec
    ) -> tuple[torch.Tensor, list[str]]:
        seen = again(torch.full_like(before, 255.0))
        black = (seen.amax(dim=(1, 5 - axis)) == 0).sum(dim=1)
        return black.float(), [text(int(count), spec) for count in black.tolist()]

    return measure


_SOUNDS: Final = (
    _Row(
        "Speed", "speed",
        "Played faster or slower: tempo and pitch move together, as on a tape.",
        (0.05, 0.1, 0.2), _speed,
    ),
    _Row(
        "Pitch", "pitch",
        "The pitch moves, the tempo stays: a phase vocoder. One clip in two gets it, because the "
        "vocoder leaves traces.",
        (1.0, 2.0, 4.0), _pitch,
    ),
    _Row(
        "Shift", "shift",
        "The clip begins elsewhere in its five seconds. A longer one is cut elsewhere.",
        (0.25, 0.5, 1.0), _moved_sound,
    ),
    _Row(
        "Room", "reverb",
        "Reflections that decay exponentially: from a car to a large living room, from a hand's "
        "breadth to an arm's length away.",
        (1.0,), _room,
    ),
    _Row(
        "Echo", "echo", "One to three single reflections, late enough to be heard apart.",
        (1.0,), _echoes,
    ),
    _Row(
        "Noise", "noise",
        "Steady noise of any colour: brown rumbles, white rushes, violet hisses. "
        "snr_db is the lowest SNR that is drawn; the highest is 30 dB above.",
        (20.0, 10.0, 0.0), _snr, "snr_db",
    ),
    _Row(
        "Babble", "babble", "Three to eight others talk at once. snr_db as for noise.",
        (20.0, 10.0, 0.0), _snr, "snr_db",
    ),
    _Row(
        "Telephone", "telephone",
        "About 300 to 3400 Hz, in the 256 steps of mu-law; limits and slopes are drawn.",
        (1.0,), _telephone,
    ),
    _Row(
        "Gain", "gain",
        "Louder or softer. The picture does not care: its white is always the loudest point.",
        (3.0, 6.0, 12.0), _gain,
    ),
)  # fmt: skip
"""In the order in which they happen to a voice."""

_PICTURES: Final = (
    _Row(
        "Crop", "crop",
        "So many seconds are cut out, from where most of the sound is.",
        (4.0, 3.2, 2.0), _cropped,
    ),
    _Row(
        "Time stretch", "time_stretch",
        "The time axis is scaled: slower or faster, at the same pitch.",
        (0.05, 0.15, 0.3), _stretched(3, lambda ratio: f"{ratio:.2f} times as long"),
    ),
    _Row(
        "Band stretch", "freq_stretch",
        "The band axis is scaled, as by a longer or shorter vocal tract: a larger or a smaller "
        "person.",
        (0.04, 0.08, 0.16), _stretched(2, lambda ratio: f"bands {ratio:.2f} times as high"),
    ),
    _Row(
        "Shift", "shift", "The clip moves within the empty part of its picture.",
        (0.25, 0.5, 1.0), _moved_picture,
    ),
    _Row(
        "Line", "line",
        "Another microphone or line: bands are raised and lowered by up to 9 dB, and in every "
        "second draw what lies below and above two limits is lost.",
        (1.0,), _coloured,
    ),
    _Row(
        "Noise", "noise", "Steady noise, put into the picture itself: faster than in the sound.",
        (1.0,), _hiss,
    ),
    _Row(
        "Masked bands", "freq_mask",
        "SpecAugment: two black stripes of bands, no wider than this.",
        (5, 10, 20), _masked(2, lambda count, spec: f"{count} of {spec.n_mels} bands are black"),
    ),
    _Row(
        "Masked time", "time_mask",
        "SpecAugment: two black stripes of time, no wider than so many frames.",
        (20, 40, 80),
        _masked(
            3, lambda count, spec: f"{count * spec.hop_length / spec.sample_rate:.2f} s are black"
        ),
    ),
)  # fmt: skip
"""In the order in which they happen to a picture."""
