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
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from ser_edge.audio.base import Float32
from ser_edge.audio.librosa_loader import load_librosa
from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.recipe import Recipe
from ser_edge.data.audio_augment import SoundAugment, speech_power
from ser_edge.data.datasets import TrainingSounds
from ser_edge.data.image_augment import ImageAugment
from ser_edge.mel.image import UInt8, band_edges, mel_filterbank
from ser_edge.mel.spec import MelImageSpec
from ser_edge.mel.torch import MelImage
from ser_edge.reports.explore import entries
from ser_edge.reports.explore.entries import Entry

COPIES: Final = 32
"""Draws of which three are shown."""

STEPS: Final = 20
"""Calls of the ``progress`` of :func:`tour`, if there are other voices."""

SAMPLES: Final = 6
"""Draws of the whole recipe that are shown."""

TURNS: Final = 24
"""Of the search for the phases of a mel image that is made audible; more change little."""

STEPS_OF_POWERS: Final = 20
"""Of the search for its powers."""

_MILD, _USUAL, _HARSH = 0.1, 0.5, 0.9  # quantiles of the draws
_TYPICAL: Final = 0.9  # where the draw that is shown at three values lies: nearly as far as it goes
_DRAWS: Final = (("mild", _MILD), ("usual", _USUAL), ("harsh", _HARSH))


@dataclass(frozen=True)
class Draw:
    """A clip after one draw.

    Attributes
    ----------
    label : str
        The entry's value, or how harsh the draw is.
    measured : str
        What it did.
    mel_image : ndarray
        ``uint8 (n_mels, frames)``, row 0 the lowest band.
    sound : ndarray
        ``float32 (samples,)``: the sound, or the mel image made audible again.
    own : bool
        Whether the value is the recipe's own.
    """

    label: str
    measured: str
    mel_image: UInt8
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
        """Whether the waveform is changed, or else the mel image."""
        return self.entry.startswith("sound.")


@dataclass(frozen=True)
class Tour:
    """All that is shown of a clip; ``left_out`` says what is not, and why."""

    original: Draw
    again: Draw
    sounds: tuple[Augmentation, ...]
    images: tuple[Augmentation, ...]
    samples: tuple[Draw, ...]
    left_out: str
    cut: bool
    copies: int


def tour(
    clip: Float32,
    others: Sequence[Float32],
    recipe: Recipe,
    *,
    seed: int = 1,
    progress: Callable[[str], None] = lambda _: None,
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
    progress : callable
        Is called with the title of each augmentation before it is drawn.

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
    sounds, images = [], []
    for row in entries.SOUNDS:
        if row.name not in missing:
            progress(row.title)
            sounds.append(studio.of_sound(row))
    for row in entries.IMAGES:
        progress(row.title)
        images.append(studio.of_image(row))
    progress("all of it together")
    return Tour(
        original=studio.original(),
        again=studio.sounded_again(),
        sounds=tuple(sounds),
        images=tuple(images),
        samples=tuple(studio.samples()),
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
        self._to_image = MelImage(spec)
        self._window = self._augmented(SoundStrengths(), self._waveforms[:1])
        self._clip_image = self._to_image(self._window)
        # All images that are made audible are as loud as the clip.
        self._power = float(speech_power(self._window, spec.sample_rate))

    # ---------------------------------------------------------------------------- the clip itself

    def original(self) -> Draw:
        return self._drawn("as it is", "", self._window[0])

    def sounded_again(self) -> Draw:
        return self._from_image("the mel image, made audible", "", self._clip_image[0, 0])

    # ------------------------------------------------------------------------------- of waveforms

    def of_sound(self, row: Entry) -> Augmentation:
        vary = row.vary or row.name
        always = {row.name: 1.0} if row.vary else {}
        settings = [SoundStrengths(**{**always, vary: value}) for value in row.values]
        before = self._window.expand(COPIES, -1)
        results = []
        for setting in settings:
            after = self._augmented(setting, self._waveforms)

            def again(waveforms: torch.Tensor, setting: SoundStrengths = setting) -> torch.Tensor:
                return self._augmented(setting, waveforms)

            results.append((after, *row.measure(before, after, again, self._spec)))
        own = getattr(self._recipe.sound, vary)
        draws = [
            self._drawn(label, texts[at], after[at], own=bool(value == own))
            for label, value, after, texts, at in self._chosen(vary, row.values, results)
        ]
        value = getattr(self._recipe.sound, row.name)
        return Augmentation(
            row.title,
            f"sound.{row.name}",
            row.what,
            _in_words(value, share=bool(row.vary) or len(settings) == 1)
            + (f", snr_db {own:g}" if row.vary and value else ""),
            len(settings) > 1,
            tuple(draws),
        )

    def _augmented(self, strengths: SoundStrengths, waveforms: torch.Tensor) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            augment = SoundAugment(strengths, self._spec, self._bank)
            changed: torch.Tensor = augment(waveforms, self._lengths[: len(waveforms)])
        return changed

    # -------------------------------------------------------------------------------- of images

    def of_image(self, row: Entry) -> Augmentation:
        before = self._clip_image.expand(COPIES, -1, -1, -1)
        results = []
        for value in row.values:
            setting = self._image_augment(row.name, value)
            after = self._seen(setting, before)

            def again(images: torch.Tensor, setting: ImageAugment = setting) -> torch.Tensor:
                return self._seen(setting, images)

            results.append((after, *row.measure(before, after, again, self._spec)))
        own = getattr(self._recipe, row.name)
        draws = [
            self._from_image(label, texts[at], after[at, 0], own=bool(value == own))
            for label, value, after, texts, at in self._chosen(row.name, row.values, results)
        ]
        words = _in_words(own, share=len(results) == 1)
        return Augmentation(row.title, row.name, row.what, words, len(results) > 1, tuple(draws))

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

    def samples(self) -> Iterator[Draw]:
        """The recipe as it is: waveform, then mel image."""
        recipe, spec = self._recipe, self._spec
        strengths = recipe.sound
        if strengths.babble and not len(self._bank):
            strengths = replace(strengths, babble=0.0)
        sounds = self._augmented(strengths, self._waveforms[:SAMPLES])
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
        images = self._seen(augment, self._to_image(sounds))
        for number, (sound, image) in enumerate(zip(sounds, images, strict=True), 1):
            grey = image[0].round().byte().numpy()
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
        image = self._to_image(window[None])[0, 0].byte().numpy()
        return Draw(label, measured, image, window.numpy(), own)

    def _from_image(
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
    """A mel image as sound: powers that have these mel bands, phases by Griffin and Lim (1984).

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
    librosa = load_librosa()  # takes seconds: only where a mel image is made audible

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
