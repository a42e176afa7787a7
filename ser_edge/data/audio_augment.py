"""Augmentation of waveforms, a batch at a time, on whatever device the batch is.

Random numbers come from torch's generator of the batch's device, so a seed repeats a run. No row
depends on another.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import nn

from ser_edge.audio.resample_torch import resample
from ser_edge.config.augmentation import SoundStrengths
from ser_edge.data.draws import Chosen, uniform
from ser_edge.mel.spec import MelImageSpec
from ser_edge.mel.torch import MelImage

GRID: Final = 40
"""Rates are changed by whole fortieths (0.4 semitones): clips of one ratio share a filter."""

PITCHED: Final = 0.5
"""Share of the clips whose pitch is moved: the vocoder leaves traces that no test clip has."""

SNR_SPAN_DB: Final = 30.0
MOST_VOICES: Final = 8
_FEWEST_VOICES: Final = 3

_RT60: Final = (0.1, 0.8)  # seconds: a car, a large living room
_DIRECT_DB: Final = (-5.0, 15.0)  # over all reflections: 1 m to 10 cm away in a living room
_ECHO_SECONDS: Final = (0.08, 0.5)  # shorter ones fuse with the sound
_ECHO_DB: Final = (-20.0, -6.0)
_MOST_ECHOES: Final = 3

_TELEPHONE_LOW: Final = (200.0, 400.0)  # Hz, around the 300 to 3400 of ITU-T G.712
_TELEPHONE_HIGH: Final = (3000.0, 3900.0)  # Hz
_TELEPHONE_FALL_DB: Final = (20.0, 150.0)  # an octave
_TELEPHONE_HZ: Final = 4000.0  # half its rate
_MU_LAW: Final = 256  # steps of ITU-T G.711

_LOWEST_HZ: Final = 50.0  # brown noise would else be inaudible
_STRETCH_SECONDS: Final = 0.05  # as in audio.levels
_SPEECH_RANGE_DB: Final = 35.0  # as in the share of speech of a rendering
_VOCODER_SECONDS: Final = 0.032  # a low voice's period is 0.012; longer frames smear attacks
_TINY: Final = 1e-20  # a power; below it a bin has no phase
_ROWS_AT_ONCE: Final = {"cpu": 2}  # as in melimage_torch
_ROWS_AT_ONCE_ELSEWHERE: Final = 64


class SoundToImage(nn.Module):
    """Waveforms -> augmented mel images: :class:`SoundAugment`, then ``MelImage``.

    Parameters
    ----------
    strengths, spec, babble_bank
        As :class:`SoundAugment` takes them.
    paired : bool
        Give the image of the sound and, as a second channel, that of the same voice before
        noise, babble or a telephone spoilt it.
    """

    def __init__(
        self,
        strengths: SoundStrengths,
        spec: MelImageSpec,
        babble_bank: torch.Tensor,
        *,
        paired: bool = False,
    ) -> None:
        super().__init__()
        self._augment = SoundAugment(strengths, spec, babble_bank)
        self._image = MelImage(spec)
        self._paired = paired

    def forward(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """``float32 (N, samples)``, ``int64 (N,)`` -> ``float32 (N, 1 or 2, n_mels, frames)``."""
        clear = self._augment.spoken(waveforms, lengths)
        images: torch.Tensor = self._image(self._augment.spoil(clear))
        return torch.cat([images, self._image(clear)], dim=1) if self._paired else images


class SoundAugment:
    """What happens to a batch of training sounds, in the order in which it happens to a voice.

    Parameters
    ----------
    strengths : SoundStrengths
    spec : MelImageSpec
        Its rate, window and alignment are those of the result.
    babble_bank : Tensor
        ``float32 (clips, samples)``: training clips, each from its start and zeros after its end;
        silent ones are passed over. May be empty where ``strengths.babble`` is 0.

    Raises
    ------
    ValueError
        If babble is wanted and there is none.
    """

    # No nn.Module, and the voices no buffer: they would be averaged with the weights and sent
    # around among the processes at every step.

    def __init__(
        self, strengths: SoundStrengths, spec: MelImageSpec, babble_bank: torch.Tensor
    ) -> None:
        self.strengths, self.spec = strengths, spec
        self._voices = torch.empty(0, 0)
        if strengths.babble:
            self._voices = voices(babble_bank, spec)

    @torch.no_grad()
    def __call__(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Augment a batch.

        Parameters
        ----------
        waveforms : Tensor
            ``float32 (N, samples)``: each sound from its start, zeros after its end.
        lengths : Tensor
            ``int64 (N,)``: samples of each sound, 1 or more.

        Returns
        -------
        Tensor
            ``float32 (N, window_samples)``; may exceed 1.0, nothing is clipped.
        """
        return self.spoil(self.spoken(waveforms, lengths))

    @torch.no_grad()
    def spoken(self, waveforms: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """The first half of it: voice and reflections, ``float32 (N, window_samples)``."""
        strengths, rate = self.strengths, self.spec.sample_rate
        if strengths.speed or strengths.pitch:
            waveforms, lengths = retune(waveforms, lengths, strengths.speed, strengths.pitch, rate)
        windows = place(waveforms, lengths, strengths.shift, self.spec)
        if strengths.reverb or strengths.echo:
            windows = add_reflections(windows, strengths.reverb, strengths.echo, rate)
        return windows

    @torch.no_grad()
    def spoil(self, windows: torch.Tensor) -> torch.Tensor:
        """The second half: other sounds, and the line."""
        strengths, rate = self.strengths, self.spec.sample_rate
        if strengths.noise:
            windows = add_noise(windows, strengths.noise, strengths.snr_db, rate)
        if strengths.babble:
            self._voices = self._voices.to(windows.device)
            windows = add_babble(windows, strengths.babble, strengths.snr_db, self._voices, rate)
        if strengths.telephone:
            windows = through_telephone(windows, strengths.telephone, rate)
        if strengths.gain:
            windows = change_gain(windows, strengths.gain)
        return windows


# ---------------------------------------------------------------------------------- the voice


def retune(
    waveforms: torch.Tensor, lengths: torch.Tensor, speed: float, pitch: float, rate: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Change tempo and pitch, one or both.

    A clip is stretched by a phase vocoder, which keeps its pitch, where pitch and tempo part, and
    then played at another rate, which moves both.

    Parameters
    ----------
    waveforms, lengths : Tensor
        As :class:`SoundAugment` takes them.
    speed : float
        Tempo and pitch are multiplied by a factor from ``1 - speed`` to ``1 + speed``.
    pitch : float
        The pitch of :data:`PITCHED` of the clips moves by so many semitones at most, down or up.
    rate : int
        Samples a second.

    Returns
    -------
    waveforms : Tensor
        ``float32 (N, longest)``.
    lengths : Tensor
        ``int64 (N,)``.

    Notes
    -----
    The rate is changed by a whole number of fortieths: pitch is exact within 0.22 semitones at
    unchanged rate. The tempo of the clips that go through the vocoder is exact.
    """
    n, device = len(waveforms), waveforms.device
    tempo = 1 + uniform(n, -speed, speed, device)
    some = Chosen(n, PITCHED if pitch else 0.0, device)
    ratio = tempo.clone()
    ratio[some.index] *= torch.exp2(some.uniform(-pitch, pitch) / 12)
    steps = (ratio * GRID).round()
    factors = steps[some.index] / (GRID * tempo[some.index])
    chosen, factors = some.index[factors != 1], factors[factors != 1]

    waveforms = waveforms[:, : int(lengths.max())]
    if len(chosen):
        lengths = lengths.index_copy(
            0, chosen, (lengths[chosen] * factors).round().long().clamp(min=1)
        )
        stretched = stretch(waveforms[chosen], factors, rate)
        # Frames overlap the end; what they leave behind it is not the clip's.
        after = torch.arange(stretched.shape[1], device=device) >= lengths[chosen][:, None]
        stretched.masked_fill_(after, 0.0)
        longer = stretched.shape[1] - waveforms.shape[1]
        waveforms = nn.functional.pad(waveforms, (0, max(0, longer)))
        waveforms[chosen] = nn.functional.pad(stretched, (0, max(0, -longer)))
    return _resample(waveforms, lengths, [int(step) for step in steps.tolist()])


def _resample(
    waveforms: torch.Tensor, lengths: torch.Tensor, steps: list[int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Play each row ``steps / GRID`` times as fast."""
    before = lengths.tolist()
    after = [-(-length * GRID // step) for length, step in zip(before, steps, strict=True)]
    result = waveforms.new_zeros(len(waveforms), max(after))
    for step in sorted(set(steps)):
        rows = [row for row, other in enumerate(steps) if other == step]
        part = waveforms[rows, : max(before[row] for row in rows)]
        if step != GRID:
            part = resample(part, step, GRID, zero_crossings=12)
        result[rows, : part.shape[1]] = part
    return result, torch.tensor(after, device=lengths.device)


def stretch(waveforms: torch.Tensor, factors: torch.Tensor, rate: int) -> torch.Tensor:
    """Change the tempo and keep the pitch: a phase vocoder (Flanagan and Golden 1966).

    Parameters
    ----------
    waveforms : Tensor
        ``float32 (N, samples)``.
    factors : Tensor
        ``float32 (N,)``: each row becomes so many times as long.
    rate : int

    Returns
    -------
    Tensor
        ``float32 (N, ceil(samples * largest factor))``.
    """
    samples = math.ceil(waveforms.shape[1] * float(factors.max()))
    result = waveforms.new_empty(len(waveforms), samples)
    at_once = _ROWS_AT_ONCE.get(waveforms.device.type, _ROWS_AT_ONCE_ELSEWHERE)
    for first in range(0, len(waveforms), at_once):
        part = slice(first, first + at_once)
        result[part] = _stretched(waveforms[part], factors[part], rate, samples)
    return result


def _stretched(
    waveforms: torch.Tensor, factors: torch.Tensor, rate: int, samples: int
) -> torch.Tensor:
    n_fft = 2 ** round(math.log2(rate * _VOCODER_SECONDS))
    hop = n_fft // 4
    window = torch.hann_window(n_fft, device=waveforms.device)
    # The last frame is silence, and frames go on beyond the end: what becomes of a row's end then
    # does not depend on how long the others are.
    waveforms = nn.functional.pad(waveforms, (0, n_fft))
    spectrum = torch.stft(
        waveforms, n_fft, hop, window=window, pad_mode="constant", return_complex=True
    ).transpose(1, 2)  # (N, frames, bins)
    # The frames of the result are as far apart as those of the source, so the phase advances from
    # one to the next by what it advances in the source, whole turns aside: a product of numbers of
    # length 1. No angle is ever computed, and each row has its own factor; torchaudio's vocoder
    # has one for all and takes half as long again.
    power = spectrum.real.square().addcmul_(spectrum.imag, spectrum.imag)
    inverse = power.clamp(min=_TINY).rsqrt()
    silent = power < _TINY
    unit = torch.complex(
        (spectrum.real * inverse).masked_fill_(silent, 1.0),
        (spectrum.imag * inverse).masked_fill_(silent, 0.0),
    )
    turn = unit[:, 1:] * unit[:, :-1].conj()
    magnitude = power.sqrt()

    count = 1 + (samples + n_fft) // hop
    source = torch.arange(count, device=waveforms.device) / factors[:, None]
    before = source.long().clamp(max=spectrum.shape[1] - 2)
    share = (source - before).clamp(max=1.0)[:, :, None]
    row = torch.arange(len(waveforms), device=waveforms.device)[:, None]
    phase = torch.cat([unit[:, :1], turn[row, before[:, :-1]]], dim=1).cumprod(dim=1)
    frames = torch.lerp(magnitude[row, before], magnitude[row, before + 1], share) * phase
    return torch.istft(frames.transpose(1, 2), n_fft, hop, window=window, length=samples)


def place(
    waveforms: torch.Tensor, lengths: torch.Tensor, shift: float, spec: MelImageSpec
) -> torch.Tensor:
    """Put each clip into a window, or cut a window out of it.

    Parameters
    ----------
    waveforms, lengths : Tensor
        As :class:`SoundAugment` takes them.
    shift : float
        A clip moves from where ``spec.align`` puts it by up to this share of the empty part of its
        window; of a clip longer than the window, the cut moves as much.
    spec : MelImageSpec

    Returns
    -------
    Tensor
        ``float32 (N, window_samples)``; a clip shorter than the window is wholly inside.
    """
    share = torch.full((len(waveforms),), 0.5 if spec.align == "center" else 0.0)
    if shift:
        random = uniform(len(waveforms), 0.0, 1.0, waveforms.device).cpu()
        share = share + shift * (random - share)
    windows = waveforms.new_zeros(len(waveforms), spec.window_samples)
    # Slices: to gather by an index for every sample takes ten times as long on a CPU.
    for row, (part, length) in enumerate(zip(share.tolist(), lengths.tolist(), strict=True)):
        empty = spec.window_samples - length  # below 0: so much is cut off
        first = int(part * abs(empty))
        if empty >= 0:
            windows[row, first : first + length] = waveforms[row, :length]
        else:
            windows[row] = waveforms[row, first : first + spec.window_samples]
    return windows


# ----------------------------------------------------------------------------------- reflections


def add_reflections(windows: torch.Tensor, reverb: float, echo: float, rate: int) -> torch.Tensor:
    """Put a share of the clips into rooms, and give a share one to three echoes.

    Parameters
    ----------
    windows : Tensor
        ``float32 (N, samples)``.
    reverb, echo : float
        Shares of the clips, drawn apart.
    rate : int

    Returns
    -------
    Tensor
        ``float32 (N, samples)``. The direct sound is as it was. What is after the window is lost.
    """
    n, device = len(windows), windows.device
    taps = math.ceil(max(_RT60[1], _ECHO_SECONDS[1]) * rate) + 1
    responses = windows.new_zeros(n, taps)
    responses[:, 0] = 1.0
    in_room = Chosen(n, reverb, device)
    responses[in_room.index] += tails(
        torch.randn(len(in_room), taps, device=device),
        in_room.uniform(*_RT60),
        in_room.uniform(*_DIRECT_DB),
        rate,
    )
    echoing = Chosen(n, echo, device)
    delays = (echoing.uniform(*_ECHO_SECONDS, _MOST_ECHOES) * rate).round().long()
    levels = torch.pow(10.0, echoing.uniform(*_ECHO_DB, _MOST_ECHOES) / 20)
    count = echoing.uniform(1, _MOST_ECHOES + 1, 1).floor()
    levels = levels * (torch.arange(_MOST_ECHOES, device=device) < count)
    for delay, level in zip(delays.T, levels.T, strict=True):  # two may fall on one sample
        responses[echoing.index, delay] += level
    changed = responses[:, 1:].any(dim=1).nonzero()[:, 0]
    if not len(changed):
        return windows
    size = _fast_size(windows.shape[1] + taps)
    spectra = torch.fft.rfft(windows[changed], size) * torch.fft.rfft(responses[changed], size)
    wet = torch.fft.irfft(spectra, size)[:, : windows.shape[1]]
    return windows.index_copy(0, changed, wet)


def tails(
    noise: torch.Tensor, rt60: torch.Tensor, direct_db: torch.Tensor, rate: int
) -> torch.Tensor:
    """Reflections of rooms: noise that decays exponentially (Moorer 1979).

    Parameters
    ----------
    noise : Tensor
        ``float32 (N, taps)``, white.
    rt60 : Tensor
        ``float32 (N,)``: seconds in which the level falls by 60 dB.
    direct_db : Tensor
        ``float32 (N,)``: energy of the direct sound over that of all reflections, in dB.
    rate : int

    Returns
    -------
    Tensor
        ``float32 (N, taps)``, 0 at the first sample, where the direct sound is.
    """
    time = torch.arange(noise.shape[1], device=noise.device) / rate
    tail = noise * torch.pow(10.0, -3.0 * time / rt60[:, None])
    tail[:, 0] = 0.0
    energy = tail.square().sum(dim=1)
    return tail * torch.sqrt(torch.pow(10.0, -direct_db / 10) / energy)[:, None]


def _fast_size(samples: int) -> int:
    """The next size that a Fourier transform is fast at: others take ten times as long."""
    return min(odd << max(0, math.ceil(math.log2(samples / odd))) for odd in (1, 3, 5, 9, 15))


# --------------------------------------------------------------------------- other sounds


def add_noise(windows: torch.Tensor, share: float, snr_db: float, rate: int) -> torch.Tensor:
    """Add stationary noise to a share of the clips, over the whole window.

    Its power goes with a power of the frequency, drawn from -2 (brown) over -1 (pink), 0 (white)
    and 1 (blue) to 2 (violet), and is level below 50 Hz.

    Parameters
    ----------
    windows : Tensor
        ``float32 (N, samples)``.
    share : float
        Of the clips that get noise, 0 to 1.
    snr_db : float
        Lowest SNR, see :func:`mix`.
    rate : int
    """
    n, samples = windows.shape
    some = Chosen(n, share, windows.device)
    exponent = some.uniform(-2.0, 2.0, 1)
    snr = some.uniform(snr_db, snr_db + SNR_SPAN_DB)
    bins = samples // 2 + 1
    spectra = torch.randn(len(some), bins, 2, device=windows.device)
    if not len(some):
        return windows
    return mix(windows, some.index, coloured(spectra, exponent, samples, rate), snr, rate)


def coloured(
    spectra: torch.Tensor, exponent: torch.Tensor, samples: int, rate: int
) -> torch.Tensor:
    """White spectra -> noise whose power goes with a power of the frequency.

    Parameters
    ----------
    spectra : Tensor
        ``float32 (N, samples // 2 + 1, 2)``, normally distributed.
    exponent : Tensor
        ``float32 (N, 1)``.
    samples, rate : int

    Returns
    -------
    Tensor
        ``float32 (N, samples)``.
    """
    hertz = torch.fft.rfftfreq(samples, 1 / rate, device=spectra.device)
    shape: torch.Tensor = (hertz.clamp(min=_LOWEST_HZ) / 1000.0) ** (exponent / 2)
    shape[:, 0] = 0.0
    noise: torch.Tensor = torch.fft.irfft(torch.view_as_complex(spectra) * shape, samples)
    return noise


def voices(bank: torch.Tensor, spec: MelImageSpec) -> torch.Tensor:
    """Clips -> voices for :func:`add_babble`.

    Parameters
    ----------
    bank : Tensor
        As :class:`SoundAugment` takes it.
    spec : MelImageSpec

    Returns
    -------
    Tensor
        ``float32 (voices, 3 * window_samples // 2)``: each clip over and over, speech power 1.

    Raises
    ------
    ValueError
        If no clip has any sound.
    """
    kept = []
    for clip in bank:
        sounding = clip.nonzero()[:, 0]
        if len(sounding):
            sound = clip[: int(sounding[-1]) + 1]
            wanted = spec.window_samples * 3 // 2
            kept.append(sound.repeat(-(-wanted // len(sound)))[:wanted])
    if not kept:
        raise ValueError("sound.babble needs clips to make it of, there are none")
    result = torch.stack(kept)
    return result / speech_power(result, spec.sample_rate).sqrt()[:, None]


def add_babble(
    windows: torch.Tensor, share: float, snr_db: float, bank: torch.Tensor, rate: int
) -> torch.Tensor:
    """Let 3 to 8 others talk at once behind a share of the clips.

    Parameters
    ----------
    windows : Tensor
        ``float32 (N, samples)``.
    share : float
        Of the clips that get babble, 0 to 1.
    snr_db : float
        Lowest SNR, see :func:`mix`.
    bank : Tensor
        ``float32 (voices, more than samples)``, from :func:`voices`.
    rate : int
    """
    n, samples = windows.shape
    some = Chosen(n, share, windows.device)
    snr = some.uniform(snr_db, snr_db + SNR_SPAN_DB)
    who = some.uniform(0, len(bank), MOST_VOICES).long().clamp(max=len(bank) - 1)
    start = some.uniform(0, bank.shape[1] - samples, MOST_VOICES).long()
    count = some.uniform(_FEWEST_VOICES, MOST_VOICES + 1, 1).floor()
    talking = (torch.arange(MOST_VOICES, device=windows.device) < count).float()
    others = bank.unfold(1, samples, 1)[who, start]  # (chosen, voices, samples)
    babble = torch.bmm(talking[:, None], others)[:, 0]
    return mix(windows, some.index, babble, snr, rate)


def mix(
    windows: torch.Tensor, index: torch.Tensor, noise: torch.Tensor, snr_db: torch.Tensor, rate: int
) -> torch.Tensor:
    """Add noise to some rows at an SNR.

    Parameters
    ----------
    windows : Tensor
        ``float32 (N, samples)``.
    index : Tensor
        ``int64 (chosen,)``: the rows.
    noise : Tensor
        ``float32 (chosen, samples)``, of any level.
    snr_db : Tensor
        ``float32 (chosen,)``: :func:`speech_power` of the clip over the noise's mean power, in dB.
        A silent clip has no SNR and stays silent.
    rate : int
    """
    clean = windows[index]
    wanted = speech_power(clean, rate) / torch.pow(10.0, snr_db / 10)
    factor = torch.sqrt(wanted / noise.square().mean(dim=1).clamp(min=_TINY))
    return windows.index_copy(0, index, torch.addcmul(clean, noise, factor[:, None]))


def speech_power(windows: torch.Tensor, rate: int) -> torch.Tensor:
    """Mean power of the speech in each row, pauses and padding left out.

    Speech is what lies within 35 dB of the loudest, in stretches of 50 ms.

    Parameters
    ----------
    windows : Tensor
        ``float32 (N, samples)``, 50 ms or more.
    rate : int

    Returns
    -------
    Tensor
        ``float32 (N,)``; 0 where all is silent.
    """
    step = round(rate * _STRETCH_SECONDS)
    power = windows.unfold(1, step, step).square().mean(dim=2)
    loudest = power.amax(dim=1, keepdim=True)
    speech = power >= loudest * 10 ** (-_SPEECH_RANGE_DB / 10)
    mean: torch.Tensor = (power * speech).sum(dim=1) / speech.sum(dim=1)
    return mean


def through_telephone(windows: torch.Tensor, share: float, rate: int) -> torch.Tensor:
    """Let a share of the clips come over a telephone: about 300 to 3400 Hz, in mu-law.

    Limits and slopes (20 to 150 dB an octave) are drawn for each clip; nothing is left from 4 kHz
    on. Full scale is 1.0, and what exceeds it is clipped there.

    Parameters
    ----------
    windows : Tensor
        ``float32 (N, samples)``.
    share : float
        Of the clips, 0 to 1.
    rate : int
        8,000 or more.
    """
    n, samples = windows.shape
    some = Chosen(n, share, windows.device)
    low, high = some.uniform(*_TELEPHONE_LOW, 1), some.uniform(*_TELEPHONE_HIGH, 1)
    fall = some.uniform(*_TELEPHONE_FALL_DB, 1)
    if not len(some):
        return windows
    hertz = torch.fft.rfftfreq(samples, 1 / rate, device=windows.device)
    octave = torch.log2(hertz.clamp(min=1.0))
    beyond = (torch.log2(low) - octave).clamp(min=0) + (octave - torch.log2(high)).clamp(min=0)
    response = torch.pow(10.0, -fall * beyond / 20) * (hertz < _TELEPHONE_HZ)

    def limited(sound: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = torch.fft.irfft(torch.fft.rfft(sound) * response, n=samples)
        return result

    band = limited(windows[some.index]).clamp(-1.0, 1.0)
    # The nearest code to 0 stands for -81 dB here; that of G.711 stands for silence.
    silence = _mu_law(torch.zeros(1, device=band.device))
    received = limited(_mu_law(band) - silence)
    return windows.index_copy(0, some.index, received)


def _mu_law(sound: torch.Tensor) -> torch.Tensor:
    """Round to the steps of mu-law (ITU-T G.711), ``-1 .. 1``, shape as given."""
    top = torch.tensor(_MU_LAW - 1.0, dtype=sound.dtype, device=sound.device)
    pressed = sound.sign() * torch.log1p(top * sound.abs()) / torch.log1p(top)
    code = ((pressed + 1) / 2 * top + 0.5).long()
    rounded = code / top * 2 - 1.0
    return rounded.sign() * (torch.exp(rounded.abs() * torch.log1p(top)) - 1.0) / top


def change_gain(windows: torch.Tensor, decibels: float) -> torch.Tensor:
    """Make each clip louder or softer by up to so many dB."""
    gain = 10.0 ** (uniform(len(windows), -decibels, decibels, windows.device) / 20)
    return windows * gain[:, None]
