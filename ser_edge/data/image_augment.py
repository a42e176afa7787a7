"""Augmentation of mel images, a batch at a time, on whatever device the batch is.

All take and give ``float32 (N, 1, n_mels, frames)`` grey levels from 0 to 255. Random numbers come
from torch's generator of the batch's device, so a seed repeats a run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from ser_edge.data.draws import Chosen, uniform

HELD: Final = 0.95
"""Share of its brightness that an image keeps when it is cut."""

_RESPONSE_DB: Final = 9.0
_KNOTS: Final = 6
_LOWEST_LIMIT: Final = (40.0, 400.0)  # Hz; a telephone's is 300
_HIGHEST_LIMIT: Final = (3000.0, 8000.0)  # Hz; a telephone's is 3400
_FALL_DB: Final = (40.0, 120.0)  # an octave


@dataclass(frozen=True)
class ImageAugment:
    """What happens to a batch of training images; strengths as in ``Recipe``.

    ``frames`` is the width that they are cut to, ``hertz`` the centres of the bands.
    """

    frames: int
    time_stretch: float
    freq_stretch: float
    shift: float
    line: float
    noise: float
    freq_mask: int
    time_mask: int
    hertz: tuple[float, ...]
    range_db: float

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        images = crop(images, self.frames)
        images = warp(images, self.time_stretch, self.freq_stretch, self.shift)
        images = through_line(images, self.line, self.hertz, self.range_db)
        images = add_noise(images, self.noise, self.range_db)
        return mask(images, self.freq_mask, self.time_mask)


def crop(images: torch.Tensor, frames: int) -> torch.Tensor:
    """Cut images to where their sound is.

    Half of a window is silence before, between and after speech: a network trained on the other
    half sees as much speech in half the time.

    Parameters
    ----------
    images : Tensor
    frames : int
        Width of what is cut out. Where, is drawn from all places that hold at least
        :data:`HELD` of the most brightness that any place holds.

    Returns
    -------
    Tensor
        ``float32 (N, 1, n_mels, frames)``.
    """
    n, _, _, wide = images.shape
    if frames >= wide:
        return images
    until = nn.functional.pad(images.sum(dim=(1, 2)).double().cumsum(dim=1), (1, 0))
    held = until[:, frames:] - until[:, : wide - frames + 1]
    good = held >= HELD * held.amax(dim=1, keepdim=True)
    places = wide - frames + 1
    lots = torch.rand(n, places, device=images.device)
    first = (lots * good).argmax(dim=1).tolist()
    return torch.stack([images[i, :, :, at : at + frames] for i, at in enumerate(first)])


def warp(
    images: torch.Tensor, time_stretch: float, freq_stretch: float, shift: float
) -> torch.Tensor:
    """Stretch the time and the band axis and move the clip within its window, at once.

    Parameters
    ----------
    images : Tensor
    time_stretch, freq_stretch : float
        Each image's axis is scaled by a factor from ``1 - s`` to ``1 + s``.
    shift : float
        The clip (up to its last frame that is not black) moves right by up to this share of the
        black rest of its window; sound that would leave the window is not.

    Returns
    -------
    Tensor
        What has no source is black.
    """
    n, _, _, frames = images.shape
    stretch = 1 + uniform(n, -time_stretch, time_stretch, images.device)
    bands = 1 + uniform(n, -freq_stretch, freq_stretch, images.device)
    sounding = images.amax(dim=(1, 2)) > 0
    last = (sounding * torch.arange(1, frames + 1, device=images.device)).amax(dim=1)
    empty = (1 - last * stretch / frames).clamp(min=0)  # share of the window left black
    start = uniform(n, 0, shift, images.device) * empty
    # affine_grid maps output to input, both from -1 to 1: x_in = (x_out + 1 - 2 start) / s - 1.
    theta = torch.zeros(n, 2, 3, device=images.device)
    theta[:, 0, 0] = 1 / stretch
    theta[:, 0, 2] = (1 - 2 * start) / stretch - 1
    theta[:, 1, 1] = 1 / bands
    theta[:, 1, 2] = 1 / bands - 1  # row 0, the lowest band, stays where it is
    grid = nn.functional.affine_grid(theta, list(images.shape), align_corners=False)
    return nn.functional.grid_sample(images, grid, align_corners=False)


def through_line(
    images: torch.Tensor, share: float, hertz: Sequence[float], range_db: float
) -> torch.Tensor:
    """Let a share of the images come through another microphone or a line.

    Each gets a smooth frequency response of its own, up to 9 dB up or down, and half of them a
    lower and an upper limit as well, down to a telephone's 300 to 3400 Hz, beyond which the sound
    falls by 40 to 120 dB an octave.

    Parameters
    ----------
    images : Tensor
    share : float
        Of the images, 0 to 1.
    hertz : sequence of float
        Centres of the bands.
    range_db : float
        dB between 0 and 255.

    Returns
    -------
    Tensor
        The loudest point is as bright as it was; black stays black.
    """
    some = Chosen(len(images), share, images.device)
    if not len(some):
        return images
    chosen = images[some.index]
    octave = torch.log2(torch.tensor(hertz, device=images.device) / 1000.0)
    knots = some.uniform(-_RESPONSE_DB, _RESPONSE_DB, 1, _KNOTS)
    response = nn.functional.interpolate(knots, len(hertz), mode="linear", align_corners=True)
    low = torch.log2(some.uniform(*_LOWEST_LIMIT, 1, 1) / 1000.0)
    high = torch.log2(some.uniform(*_HIGHEST_LIMIT, 1, 1) / 1000.0)
    fall = some.uniform(*_FALL_DB, 1, 1) * (some.uniform(0.0, 1.0, 1, 1) < 0.5)
    beyond = (low - octave).clamp(min=0) + (octave - high).clamp(min=0)
    decibels = (response - fall * beyond)[:, 0, None, :, None]
    changed = chosen + decibels * (255.0 / range_db)
    loudest = chosen.amax(dim=(2, 3), keepdim=True) - changed.amax(dim=(2, 3), keepdim=True)
    changed = torch.where(chosen > 0, (changed + loudest).clamp(0.0, 255.0), 0.0)
    return images.index_copy(0, some.index, changed)


def add_noise(images: torch.Tensor, share: float, range_db: float) -> torch.Tensor:
    """Add stationary noise of random level and colour to a share of the images.

    Grey levels are dB, so sound and noise are added as powers. The noise of a mel band of a
    periodogram is about exponentially distributed around its mean.

    Parameters
    ----------
    images : Tensor
    share : float
        Of the images that get noise, 0 to 1.
    range_db : float
        dB between 0 and 255.
    """
    n, _, n_mels, frames = images.shape
    device = images.device
    some = Chosen(n, share, device)
    if not len(some):
        return images
    levels_a_decibel = 255.0 / range_db
    level = some.uniform(0.0, 0.6, 1, 1, 1) * range_db
    tilt = some.uniform(-0.3, 0.3, 1, 1, 1) * range_db
    slope = torch.linspace(-0.5, 0.5, n_mels, device=device).view(1, 1, n_mels, 1)
    power = torch.pow(10.0, (level + tilt * slope) / 10.0)
    noise = power * torch.empty(len(some), 1, n_mels, frames, device=device).exponential_()
    noisy = torch.pow(10.0, images[some.index] / (10.0 * levels_a_decibel)) + noise
    decibels = 10.0 * levels_a_decibel * torch.log10(noisy)
    return images.index_copy(0, some.index, decibels.clamp(0.0, 255.0))


def mask(images: torch.Tensor, freq_mask: int, time_mask: int) -> torch.Tensor:
    """SpecAugment (Park et al. 2019, arXiv 1904.08779): two black stripes of bands, two of time.

    Parameters
    ----------
    images : Tensor
    freq_mask, time_mask : int
        Greatest width of a stripe; each image's widths are drawn from 0 up.
    """
    n, _, n_mels, frames = images.shape
    keep = torch.ones_like(images, dtype=torch.bool)
    for size, width, shape in (
        (n_mels, freq_mask, (n, 1, -1, 1)),
        (frames, time_mask, (n, 1, 1, -1)),
    ):
        position = torch.arange(size, device=images.device)
        for _ in range(2):
            length = uniform(n, 0.0, 1.0, images.device) * width
            first = uniform(n, 0.0, 1.0, images.device) * (size - length)
            inside = (position >= first[:, None]) & (position < (first + length)[:, None])
            keep &= ~inside.view(*shape)
    return images * keep
