"""Change the sample rate of a batch of waveforms in torch, on the device that the batch is on."""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import nn

_ROLLOFF: Final = 0.99  # of the lower Nyquist frequency: where the low-pass begins to fall


def resample(
    waveforms: torch.Tensor, rate: int, new_rate: int, zero_crossings: int = 6
) -> torch.Tensor:
    """Resample by a sinc filter under a Hann window, one filter for each phase.

    Band-limited interpolation (Smith, "Digital Audio Resampling", ccrma.stanford.edu/~jos/resample)
    with the filters and the order of operations of ``torchaudio.functional.resample``, so that both
    give the same numbers.

    Parameters
    ----------
    waveforms : Tensor
        Floating point, ``(N, samples)``.
    rate, new_rate : int
        Hz, or any two whole numbers of that ratio.
    zero_crossings : int
        Those of the sinc that the filter keeps on either side: more make it sharper and slower.

    Returns
    -------
    Tensor
        ``(N, ceil(samples * new_rate / rate))``.
    """
    divisor = math.gcd(rate, new_rate)
    old, new = rate // divisor, new_rate // divisor
    if old == new:
        return waveforms
    dtype, device = waveforms.dtype, waveforms.device
    cutoff = min(old, new) * _ROLLOFF
    width = math.ceil(zero_crossings * old / cutoff)
    taps = torch.arange(-width, width + old, dtype=dtype, device=device)[None, None] / old
    t = torch.arange(0, -new, -1, dtype=dtype, device=device)[:, None, None] / new + taps
    t = (t * cutoff).clamp(-zero_crossings, zero_crossings)
    window = torch.cos(t * math.pi / zero_crossings / 2) ** 2
    t = t * math.pi
    sinc = torch.where(t == 0, torch.ones_like(t), t.sin() / t)
    filters = sinc * (window * (cutoff / old))
    padded = nn.functional.pad(waveforms, (width, width + old))
    phases = nn.functional.conv1d(padded[:, None], filters, stride=old)
    wanted = -(-new * waveforms.shape[1] // old)
    return phases.transpose(1, 2).reshape(len(waveforms), -1)[:, :wanted]
