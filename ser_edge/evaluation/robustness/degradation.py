"""What happens to a voice outside the studio, for measuring: waveform in, degraded waveform out.

NumPy, soundfile and soxr alone, and nothing shared with the augmentations that training uses
(:mod:`ser_edge.data.audio_augment`): no network is measured by the code that it was trained with.
Noise is made and mixed independently here, the room is one of image sources and not of decaying
noise, telephone and MP3 go through real codecs.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from ser_edge.audio.decode import load
from ser_edge.audio.windows import levels
from ser_edge.decision import ACTIVE_RANGE_DB, SILENCE_DB

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int16 = npt.NDArray[np.int16]

FULL_SCALE: Final = 32767 / 32768
"""The highest sample that 16 bits hold: what is louder would be clipped."""

COLOURS: Final = {"white": 0.0, "pink": -1.0, "brown": -2.0}
"""Noise by name: its power goes with this power of the frequency."""

_LOWEST_HZ: Final = 20.0  # coloured noise is level below: it is inaudible there
_SPEED_OF_SOUND: Final = 343.0  # m/s at 20 degrees
_STEP_SECONDS: Final = 0.05  # of ser_edge.audio.windows.levels
_MP3_RATE: Final = 16_000
_MP3_KBITS: Final = (8.0, 160.0)  # of LAME at 16 to 24 kHz: compression level 1 and 0
_ROOM_HIGH_PASS_HZ: Final = 80.0


class Change(Protocol):
    """A degradation: waveform ``float32 (n,)`` at ``rate`` Hz -> another, never clipped."""

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32: ...


# ---------------------------------------------------------------------------------- one clip


def random_of(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for every name: what one clip gets depends on no other clip."""
    digest = hashlib.sha256("/".join(names).encode("utf-8", "surrogateescape")).digest()
    return np.random.default_rng([seed, *np.frombuffer(digest, dtype="<u4").tolist()])


def degrade(
    waveform: Float32, rate: int, change: Change, name: str, utterance: str, seed: int = 0
) -> Int16:
    """A clip as a recorder would have left it: degraded, then 16 bits.

    Parameters
    ----------
    waveform : ndarray
        ``float32 (n,)``, full scale 1.
    rate : int
        In Hz.
    change : Change
    name, utterance : str
        Of the degradation and the clip: with the seed, they alone decide what is drawn.
    seed : int

    Returns
    -------
    ndarray
        ``int16 (m,)``. What would be clipped was turned down as a whole before.

    Raises
    ------
    ValueError
        Nothing of the clip is left.
    """
    return pcm16(change(waveform, rate, random_of(seed, name, utterance)))


def pcm16(waveform: npt.NDArray[np.floating]) -> Int16:
    """Waveform ``(n,)`` -> ``int16 (n,)``, turned down where it would be clipped."""
    return np.round(unclipped(waveform) * 32768.0).astype(np.int16)


def unclipped(waveform: npt.NDArray[np.floating]) -> Float32:
    """The waveform, turned down as a whole to full scale where it goes beyond."""
    peak = float(np.abs(waveform).max(initial=0.0))
    factor = FULL_SCALE / peak if peak > FULL_SCALE else 1.0
    return np.asarray(waveform * factor, dtype=np.float32)


def speech_spans(waveform: Float32, rate: int) -> npt.NDArray[np.bool_]:
    """Which 50 ms of a sound are speech, as the edge app tells it: ``bool (stretches,)``."""
    found = levels(waveform, rate)
    return np.asarray(found >= max(float(found.max()) - ACTIVE_RANGE_DB, SILENCE_DB))


def speech_power(waveform: Float32, rate: int) -> float:
    """Mean power of what is speech, pauses left out; 0 of a silent sound."""
    speech = speech_spans(waveform, rate)
    if not speech.any():
        return 0.0
    return float(np.mean(10.0 ** (levels(waveform, rate)[speech].astype(np.float64) / 10)))


def mix(speech: Float32, noise: npt.NDArray[np.floating], snr_db: float, rate: int) -> Float32:
    """Speech + noise at an SNR, turned down where the sum would be clipped.

    Parameters
    ----------
    speech : ndarray
        ``float32 (n,)``.
    noise : ndarray
        ``(n,)``, of any level.
    snr_db : float
        :func:`speech_power` of the speech over the noise's mean power. A silent clip has no SNR
        and stays silent.
    rate : int

    Returns
    -------
    ndarray
        ``float32 (n,)``.
    """
    power = float(np.mean(np.square(noise, dtype=np.float64)))
    if power == 0.0:
        return unclipped(speech)
    wanted = speech_power(speech, rate) / 10.0 ** (snr_db / 10)
    return unclipped(speech + noise * np.sqrt(wanted / power))


def coloured_noise(
    samples: int, rate: int, exponent: float, random: np.random.Generator
) -> Float64:
    """Stationary Gaussian noise of RMS 1 whose power goes with a power of the frequency.

    Parameters
    ----------
    samples, rate : int
    exponent : float
        0 is white, -1 pink, -2 brown; level below 20 Hz, nothing at 0.
    random : Generator

    Returns
    -------
    ndarray
        ``float64 (samples,)``.
    """
    size = _fast_size(samples)
    spectrum = np.fft.rfft(random.standard_normal(size))
    hertz = np.fft.rfftfreq(size, 1 / rate)
    spectrum *= np.maximum(hertz, _LOWEST_HZ) ** (exponent / 2)
    spectrum[0] = 0.0
    noise: Float64 = np.fft.irfft(spectrum, size)[:samples]
    rms = float(np.sqrt(np.mean(np.square(noise))))
    return noise / rms if rms > 0 else noise


# ---------------------------------------------------------------------------- the degradations


@dataclass(frozen=True)
class Unchanged:
    """The clip itself, at 16 bits like the others."""

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32:
        return waveform


@dataclass(frozen=True)
class Gain:
    """Louder or softer by so many dB; by less where it would be clipped."""

    decibels: float

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32:
        return unclipped(waveform * np.float32(10.0 ** (self.decibels / 20)))


@dataclass(frozen=True)
class Noise:
    """Stationary noise over the whole clip, see :func:`mix`."""

    colour: Literal["white", "pink", "brown"]
    snr_db: float

    def __post_init__(self) -> None:
        if self.colour not in COLOURS:
            raise ValueError(f"colour is {self.colour!r}, allowed: {', '.join(COLOURS)}")

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32:
        noise = coloured_noise(waveform.size, rate, COLOURS[self.colour], random)
        return mix(waveform, noise, self.snr_db, rate)


@dataclass(frozen=True)
class Babble:
    """Others talk at once behind the whole clip, see :func:`mix`.

    Parameters
    ----------
    snr_db : float
    voices : sequence of ndarray
        ``float32 (n,)`` each: clips of other speakers, to choose from.
    talkers : int
        So many of them are drawn, all if there are fewer. Each begins anywhere in its speech, goes
        round and round, and is as loud as the others.
    """

    snr_db: float
    voices: Sequence[Float32] = field(default=(), repr=False)
    talkers: int = 5

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32:
        if not self.voices:
            raise ValueError("babble needs clips of other speakers, there are none")
        chosen = random.permutation(len(self.voices))[: self.talkers]
        babble = np.zeros(waveform.size)
        for number in chosen:
            voice = _speech_alone(self.voices[number], rate)
            if not voice.size:
                continue
            start = int(random.integers(voice.size))
            turns = -(-(start + waveform.size) // voice.size)
            talk = np.tile(voice, turns)[start : start + waveform.size]
            babble += talk / np.sqrt(np.mean(np.square(voice, dtype=np.float64)))
        return mix(waveform, babble, self.snr_db, rate)


@dataclass(frozen=True)
class Telephone:
    """An old telephone: 300 to 3400 Hz, 8 kHz, G.711 mu-law by libsndfile; no delay."""

    low_hz: float = 300.0
    high_hz: float = 3400.0

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32:
        band = band_pass(waveform, rate, self.low_hz, self.high_hz)
        line = unclipped(soxr.resample(band, rate, 8000))
        if not line.size:
            raise ValueError("nothing is left of it at 8000 Hz")
        coded = io.BytesIO()
        soundfile.write(coded, line, 8000, format="WAV", subtype="ULAW")
        coded.seek(0)
        return _of_length(load(coded, rate), waveform.size)


@dataclass(frozen=True)
class Mp3:
    """MP3 and back: LAME by way of libsndfile, constant rate, mono at 16 kHz (MPEG-2 Layer III).

    The delay of encoder and decoder (1105 samples, 69 ms) and the padding at the end are left in,
    as they are in the MP3s that are sent around: the clip comes later and is longer.
    """

    kbits: float = 32.0

    def __post_init__(self) -> None:
        low, high = _MP3_KBITS
        if not low < self.kbits <= high:
            raise ValueError(f"kbits is {self.kbits:g}, allowed: above {low:g} to {high:g}")

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32:
        low, high = _MP3_KBITS
        sound = soxr.resample(waveform, rate, _MP3_RATE) if rate != _MP3_RATE else waveform
        coded = io.BytesIO()
        try:
            soundfile.write(
                coded,
                unclipped(sound),
                _MP3_RATE,
                format="MP3",
                subtype="MPEG_LAYER_III",
                compression_level=(high - self.kbits) / (high - low),
                bitrate_mode="CONSTANT",
            )
        except (TypeError, ValueError) as error:  # before 0.13 it knew no bit rates
            version = soundfile.__version__
            raise ValueError(f"soundfile is {version}, MP3 needs 0.13 or later: {error}") from None
        coded.seek(0)
        return load(coded, rate)


@dataclass(frozen=True)
class Room:
    """A small room, by the image-source method (Allen and Berkley 1979).

    Each clip has a room of its own, 3 to 5 x 2.5 to 4 x 2.3 to 2.8 m, in which speaker and
    microphone are 0.6 to 2 m apart. The direct sound stays as it was, without delay; the
    reverberation, 4 to 12 dB stronger at 0.4 s, rings on after the clip.

    Parameters
    ----------
    rt60 : float
        Seconds in which the level falls by 60 dB, by Eyring's formula, which gives the walls. In
        rooms of images the sound dies a little more slowly: at 0.4 s, Schroeder's integral falls
        from -5 to -25 dB as if it were 0.41 to 0.48 s.
    """

    rt60: float = 0.4

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32:
        response = room_response(self.rt60, rate, random)
        samples = waveform.size + response.size - 1
        size = _fast_size(samples)
        spectrum = np.fft.rfft(waveform, size) * np.fft.rfft(response, size)
        return unclipped(np.fft.irfft(spectrum, size)[:samples])


@dataclass(frozen=True)
class FileCut:
    """The first seconds of the file are missing, whatever was in them."""

    seconds: float

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32:
        return _without_start(waveform, round(self.seconds * rate), rate)


@dataclass(frozen=True)
class SpeechCut:
    """The clip begins so many seconds after its first speech: a recorder that started too late."""

    seconds: float

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32:
        onset = int(np.argmax(speech_spans(waveform, rate))) * _STEP_SECONDS
        return _without_start(waveform, round((onset + self.seconds) * rate), rate)


@dataclass(frozen=True)
class LeadingSilence:
    """So many seconds of digital silence before the clip."""

    seconds: float

    def __call__(self, waveform: Float32, rate: int, random: np.random.Generator) -> Float32:
        return np.concatenate([np.zeros(round(self.seconds * rate), dtype=np.float32), waveform])


# --------------------------------------------------------------------------------------- parts


def band_pass(waveform: Float32, rate: int, low_hz: float, high_hz: float) -> Float32:
    """Linear phase, no delay: a Blackman-windowed sinc, 6 dB down at both edges.

    Parameters
    ----------
    waveform : ndarray
        ``float32 (n,)``.
    rate : int
    low_hz, high_hz : float
        Edges; 70 dB are reached about 100 Hz beyond them.

    Returns
    -------
    ndarray
        ``float32 (n,)``.
    """
    half = round(0.0275 * rate)  # Blackman: the slope is 5.5 / length wide
    t = np.arange(-half, half + 1) / rate
    taps = 2 * high_hz * np.sinc(2 * high_hz * t) - 2 * low_hz * np.sinc(2 * low_hz * t)
    taps *= np.blackman(t.size) / rate
    size = _fast_size(waveform.size + taps.size)
    spectrum = np.fft.rfft(waveform, size) * np.fft.rfft(taps, size)
    filtered: Float64 = np.fft.irfft(spectrum, size)
    return filtered[half : half + waveform.size].astype(np.float32)


def room_response(rt60: float, rate: int, random: np.random.Generator) -> Float64:
    """Response of a small room drawn at random, see :class:`Room`.

    Returns
    -------
    ndarray
        ``float64 (ceil(rt60 * rate),)``; the first sample is 1, the direct sound.
    """
    if not 0.1 <= rt60 <= 1.0:
        raise ValueError(f"rt60 is {rt60}, allowed: 0.1 to 1")
    size = random.uniform([3.0, 2.5, 2.3], [5.0, 4.0, 2.8])
    microphone = size * random.uniform(0.35, 0.65, 3)
    # Lips and microphone are about as high, so the distance lies in the plane.
    angle, distance = random.uniform(0, 2 * np.pi), random.uniform(1.0, 2.0)
    aside = distance * np.array([np.cos(angle), np.sin(angle), 0.0])
    speaker = np.clip(microphone + aside, 0.2, size - 0.2)

    volume = float(np.prod(size))
    surface = 2.0 * float(size[0] * size[1] + size[0] * size[2] + size[1] * size[2])
    # Eyring: rt60 = 24 ln(10) V / (-c S ln(1 - absorption)); a reflection keeps the square root.
    exponent = 24 * np.log(10) * volume / (_SPEED_OF_SOUND * surface * rt60)
    kept = float(np.exp(-exponent / 2))

    taps = int(np.ceil(rt60 * rate))
    direct = float(np.linalg.norm(speaker - microphone))
    reach = direct + _SPEED_OF_SOUND * taps / rate
    ways, bounces = [], []
    for axis in range(3):
        rooms = np.arange(-int(reach / (2 * size[axis])) - 1, int(reach / (2 * size[axis])) + 2)
        mirrored = np.array([0, 1])[:, None]
        place = (1 - 2 * mirrored) * speaker[axis] + 2 * rooms * size[axis] - microphone[axis]
        ways.append(np.square(place).ravel())
        bounces.append((np.abs(rooms - mirrored) + np.abs(rooms)).ravel())
    way = np.sqrt(ways[0][:, None, None] + ways[1][:, None] + ways[2])
    bounce = bounces[0][:, None, None] + bounces[1][:, None] + bounces[2]
    sample = np.round((way - direct) / _SPEED_OF_SOUND * rate).astype(np.int64)
    audible = (bounce > 0) & (sample < taps)
    left = kept ** np.arange(int(bounce.max()) + 1)  # a table: powers of a million are slow
    strength = left[bounce[audible]] * direct / way[audible]
    reflections = np.bincount(sample[audible], strength, minlength=taps)[:taps]
    # All images have the same sign, which adds up to a rumble that no room has.
    spectrum = np.fft.rfft(reflections, 2 * taps)
    hertz = np.fft.rfftfreq(2 * taps, 1 / rate)
    spectrum *= np.square(hertz / (hertz - 1j * _ROOM_HIGH_PASS_HZ))  # causal, 12 dB an octave
    response: Float64 = np.fft.irfft(spectrum, 2 * taps)[:taps]
    response[0] = 1.0
    return response


def _speech_alone(waveform: Float32, rate: int) -> Float32:
    """A clip without the pauses before and after its speech; empty where there is none."""
    speech = np.flatnonzero(speech_spans(waveform, rate))
    if not speech.size:
        return waveform[:0]
    step = round(_STEP_SECONDS * rate)
    return waveform[speech[0] * step : (speech[-1] + 1) * step]


def _without_start(waveform: Float32, samples: int, rate: int) -> Float32:
    left = waveform[samples:]
    if not left.size:
        raise ValueError(
            f"it is {waveform.size / rate:.2f} s long: nothing is left without the first "
            f"{samples / rate:.2f} s"
        )
    return left


def _of_length(waveform: Float32, samples: int) -> Float32:
    """Cut or padded at the end: conversions of the rate are a sample out now and then."""
    return np.pad(waveform, (0, max(0, samples - waveform.size)))[:samples]


def _fast_size(samples: int) -> int:
    """The next power of two: other lengths may be slow to transform."""
    return 1 << max(0, samples - 1).bit_length()
