"""Sounds that are no speech, as mel images: what a network's nonspeech head is trained on.

The head generalises to sounds that are not in its training if those that are vary enough
(Hendrycks, Mazeika and Dietterich 2019, arXiv 1812.04606). So the families here are broad, and what
they make is mixed, filtered, reverberated and laid over hiss. All of it is synthesised, and nothing
is shared with :mod:`ser_edge.evaluation.robustness.nonspeech`: a network is not evaluated on the
sounds that it was trained on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from ser_edge.mel.image import UInt8, mel_image
from ser_edge.mel.spec import MelImageSpec

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Complex128 = npt.NDArray[np.complex128]
T = TypeVar("T")

_LONGEST: Final = 1.6  # windows: what is longer is cut, as the edge app cuts it
_SHORTEST_SECONDS: Final = 0.4
_GRAIN_SECONDS: Final = 0.1  # lengths are multiples: sizes with small factors transform fast
_FILLING: Final = 0.55  # share of the sounds that fill their window
_MIXED: Final = 0.2
_COLOURED: Final = 0.4
_IN_A_ROOM: Final = 0.25
_OVER_HISS: Final = 0.6
_IN_16_BITS: Final = 0.5
_LEVEL_DB: Final = (-75.0, -6.0)  # RMS re full scale; below, for the edge app it is silent
_HISS_DB: Final = (-95.0, -60.0)
_TABLE: Final = 4096
_NYQUIST_SHARE: Final = 0.45  # of the rate: partials end there


@dataclass(frozen=True)
class Canvas:
    """What one sound is made on: a generator, its length in samples and its rate in Hz."""

    random: np.random.Generator
    samples: int
    rate: int

    @property
    def seconds(self) -> float:
        return self.samples / self.rate

    @property
    def time(self) -> Float64:
        """Seconds, ``(samples,)``."""
        return np.arange(self.samples) / self.rate

    def of(self, seconds: float) -> Canvas:
        """A canvas for a part, at least two samples long."""
        return Canvas(self.random, max(2, round(seconds * self.rate)), self.rate)

    def uniform(self, low: float, high: float) -> float:
        return float(self.random.uniform(low, high))

    def log(self, low: float, high: float) -> float:
        """Uniform on a logarithmic scale: pitches, rates, widths."""
        return float(np.exp(self.random.uniform(np.log(low), np.log(high))))

    def chance(self, share: float) -> bool:
        return bool(self.random.random() < share)

    def one_of(self, *choices: T) -> T:
        return choices[int(self.random.integers(len(choices)))]


Family: TypeAlias = "Callable[[Canvas], Float64]"
"""Canvas -> waveform ``(samples,)`` of any level."""

Instrument: TypeAlias = "Callable[[Canvas, float], Float64]"
"""Canvas of one note, its pitch in Hz -> waveform ``(samples,)``."""


def mel_images(count: int, spec: MelImageSpec, seed: int) -> UInt8:
    """Mel images of sounds that are no speech.

    Parameters
    ----------
    count : int
        The first few are the same however many are asked for.
    spec : MelImageSpec
    seed : int

    Returns
    -------
    ndarray
        ``uint8 (count, 1, n_mels, frames)``, the families in turn.
    """
    bank = np.empty((count, 1, *spec.shape), dtype=np.uint8)

    def draw(number: int) -> None:
        bank[number, 0] = mel_image(window(number, spec, seed), spec)

    with ThreadPoolExecutor() as pool:
        list(pool.map(draw, range(count)))
    return bank


def window(number: int, spec: MelImageSpec, seed: int) -> Float32:
    """One sound, or one window of a longer one.

    Parameters
    ----------
    number : int
        0 or more; the families follow one another.
    spec : MelImageSpec
        Its rate and its window.
    seed : int

    Returns
    -------
    ndarray
        ``float32 (n,)`` within full scale, at most a window.
    """
    random = np.random.default_rng([seed, number])
    longest = _LONGEST if random.random() < _FILLING else 1.0
    shortest = 1.0 if longest > 1 else min(1.0, _SHORTEST_SECONDS / spec.seconds)
    seconds = random.uniform(shortest, longest) * spec.seconds
    grain = max(1, round(_GRAIN_SECONDS * spec.sample_rate))
    canvas = Canvas(random, max(1, round(seconds / _GRAIN_SECONDS)) * grain, spec.sample_rate)
    name = TURNS[number % len(TURNS)]
    sound = recorded(FAMILIES[name](canvas), canvas) if name != SILENCE else _silence(canvas)
    first = 0
    if sound.size > spec.window_samples:  # any window, the last flush with the end
        last = sound.size - spec.window_samples
        first = min(int(random.integers(0, last + spec.hop_samples)), last)
    return np.asarray(sound[first : first + spec.window_samples], dtype=np.float32)


def recorded(sound: Float64, canvas: Canvas) -> Float64:
    """What becomes of a sound on its way: others beside it, a room, a microphone, hiss, 16 bits."""
    if canvas.chance(_MIXED):
        other = canvas.one_of(*(make for name, make in FAMILIES.items() if name != SILENCE))
        sound = _at(sound, 0.0) + _at(other(canvas), canvas.uniform(-20.0, 10.0))
    if canvas.chance(_IN_A_ROOM):
        sound = _in_a_room(sound, canvas)
    if canvas.chance(_COLOURED):
        sound = _coloured(sound, canvas)
    sound = _at(sound, canvas.uniform(*_LEVEL_DB))
    if canvas.chance(_OVER_HISS):
        sound = sound + _at(_noise(canvas, canvas.uniform(-2, 0.5)), canvas.uniform(*_HISS_DB))
    sound = sound / max(1.0, float(np.abs(sound).max()))
    return np.rint(sound * 32767) / 32768 if canvas.chance(_IN_16_BITS) else sound


# --------------------------------------------------------------------------------- the families


def _steady_noise(c: Canvas) -> Float64:
    """Noise of any colour and band."""
    low, high = 0.0, np.inf
    if c.chance(0.4):
        low = c.log(50, 3000)
        high = low * c.log(1.1, 40)
    return _noise(c, c.uniform(-3.0, 1.0), low, high)


def _moving_noise(c: Canvas) -> Float64:
    """Wind, rain, surf, breathing machines: noise that swells, at random or in a rhythm."""
    noise = _noise(c, c.uniform(-3.0, 0.5), c.log(20, 500), c.log(800, 20_000))
    depth = c.uniform(0.2, 1.5)
    if c.chance(0.5):
        return noise * np.exp(depth * _drift(c, c.log(0.2, 12)))
    turns = c.log(0.1, 15) * c.time + c.uniform(0, 1)
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * turns)
    return np.asarray(noise * (swell ** c.log(0.5, 6) + c.log(0.001, 0.5)))


def _hum(c: Canvas) -> Float64:
    """Mains, transformers, buzzers: a steady pitch of 40 to 440 Hz and its partials."""
    hertz = c.one_of(50.0, 60.0, 100.0, 120.0) if c.chance(0.4) else c.log(40, 440)
    hum = _wave(hertz * c.time, _timbre(c, hertz), c)
    if c.chance(0.3):
        hum = hum * (1 + c.uniform(0.1, 0.9) * np.sin(2 * np.pi * c.log(0.2, 20) * c.time))
    return _at(hum, 0) + _at(_noise(c, c.uniform(-2, 0)), c.uniform(-70, -15))


def _tones(c: Canvas) -> Float64:
    """One to four steady pitches: sine, square, triangle, saw, or a little of each."""
    tones = [_tone(c, c.log(50, 7000)) for _ in range(c.one_of(1, 1, 1, 2, 3, 4))]
    return np.asarray(np.sum(tones, axis=0))


def _beeps(c: Canvas) -> Float64:
    """Alarms, telephones, reversing lorries: tones on and off, one pitch or several in turn."""
    pitches = [c.log(200, 5000) for _ in range(c.one_of(1, 1, 2, 2, 3, 5))]
    keys = [_dial(c) for _ in range(8)] if c.chance(0.25) else [(hertz,) for hertz in pitches]
    every, share = c.log(0.06, 1.5), c.uniform(0.2, 1.0)
    beeps, strengths = np.zeros(c.samples), _timbre(c, max(map(max, keys)))
    attack = c.log(0.0001, 0.01)
    for turn in range(int(c.seconds / every) + 1):
        part = c.of(every * share)
        for hertz in keys[turn % len(keys)]:
            note = _wave(hertz * part.time, strengths, c) * _fades(part, attack)
            _put(beeps, note, round(turn * every * c.rate))
    return beeps


def _sweeps(c: Canvas) -> Float64:
    """Pitches that rise and fall, once or over and over: sirens, test signals, whistles."""
    low = c.log(60, 2000)
    high = min(low * c.log(1.2, 40), _NYQUIST_SHARE * c.rate)
    turns = c.time * (1 / c.seconds if c.chance(0.4) else c.log(0.15, 8))
    way = c.one_of(
        turns % 1,
        1 - turns % 1,
        0.5 - 0.5 * np.cos(2 * np.pi * turns),
        2 * np.abs(turns % 1 - 0.5),
        np.floor(c.one_of(2, 2, 5) * (turns % 1)) / 4,  # a siren of two tones, a staircase
    )
    hertz = low * (high / low) ** way if c.chance(0.6) else low + (high - low) * way
    strengths = _timbre(c, high) if c.chance(0.4) else np.ones(1)
    if c.chance(0.2):  # octaves alone, as in an endless scale (Shepard 1964)
        strengths = np.zeros(16)
        strengths[[0, 1, 3, 7, 15]] = c.random.uniform(0.1, 1.0, 5)
        hertz = hertz / 16
    return _wave(np.cumsum(hertz) / c.rate, strengths, c)


def _clicks(c: Canvas) -> Float64:
    """Clocks, keys, taps, switches: short blows, dry or ringing, in a rhythm or not."""
    clicks, blow = np.zeros(c.samples), _blow(c, c.log(0.0003, 0.03))
    for at in _beats(c, c.log(0.4, 40)):
        if c.chance(0.2):
            blow = _blow(c, c.log(0.0003, 0.03))
        _put(clicks, blow * c.uniform(0.4, 1.0), at)
    return clicks


def _impacts(c: Canvas) -> Float64:
    """Doors, knocks, things that fall: blows with a long decay, noise and resonances."""
    blows = np.zeros(c.samples)
    for at in _beats(c, c.log(0.3, 6)):
        _put(blows, _blow(c, c.log(0.02, 0.6)) * c.log(0.1, 1.0), at)
    return blows


def _music(c: Canvas) -> Float64:
    """Chords one after the other, by one instrument or two."""
    music = _chords(c, _instrument(c))
    if c.chance(0.3):
        music = music + c.uniform(0.2, 1.0) * _tune(c, _instrument(c))
    if c.chance(0.2):
        music = _at(music, 0) + _at(_drums(c), c.uniform(-10, 5))
    return music


def _melody(c: Canvas) -> Float64:
    """One note after the other."""
    return _tune(c, _instrument(c))


def _drums(c: Canvas) -> Float64:
    """A loop of a falling drum, a rattling one and a hi-hat."""
    step = 60.0 / c.uniform(60, 180) / c.one_of(2, 4)
    drums = np.zeros(c.samples)
    for make, share in ((_low_drum, 0.35), (_rattle, 0.3), (_hat, 0.6), (_wood, 0.2)):
        pattern = c.random.random(c.one_of(8, 16)) < share * c.uniform(0.3, 1.3)
        stroke = make(c)
        for turn in range(int(c.seconds / step) + 1):
            if pattern[turn % len(pattern)]:
                _put(drums, stroke * c.uniform(0.6, 1.0), round(turn * step * c.rate))
    return drums


def _engine(c: Canvas) -> Float64:
    """Motors, pumps, fans, drills: strokes and partials of a speed that wanders, and their air."""
    speed = c.log(8, 400) * np.exp(c.log(0.001, 0.3) * _drift(c, c.log(0.1, 2)))
    phase = np.cumsum(speed) / c.rate
    body = _wave(phase, _timbre(c, float(speed.max()), partials=60), c)
    strokes = np.exp(-(phase % 1) * c.uniform(2, 30)) * _noise(c, c.uniform(-2, 0))
    return (
        _at(body, c.uniform(-20, 0))
        + _at(strokes, c.uniform(-30, 0))
        + _at(_noise(c, c.uniform(-2.5, 0)), c.uniform(-40, 0))
    )


def _chirps(c: Canvas) -> Float64:
    """Birds, crickets, squeaks: short bent whistles, alone or in trills."""
    chirps = np.zeros(c.samples)
    base, calls = c.log(900, 5500), c.log(0.5, 6)
    for at in _beats(c, calls):
        length, trill = c.log(0.015, 0.3), c.one_of(1, 1, 3, 6, 12)
        part, bend = c.of(length), c.uniform(-0.6, 0.6)
        hertz = base * c.uniform(0.8, 1.25) * (1 + bend * np.linspace(-0.5, 0.5, part.samples))
        hertz *= 1 + c.uniform(0, 0.2) * np.sin(2 * np.pi * c.log(5, 60) * part.time)
        call = _wave(np.cumsum(hertz) / c.rate, np.array([1.0, c.uniform(0, 0.2)]), c)
        call *= np.hanning(part.samples)
        for turn in range(trill):
            _put(chirps, call, at + round(turn * length * 1.3 * c.rate))
    return chirps


def _crackle(c: Canvas) -> Float64:
    """Fire, vinyl, Geiger counters, rain on a roof: many small blows of uneven strength."""
    count = max(1, int(c.log(5, 2000) * c.seconds))
    drops = np.zeros(c.samples)
    strengths = np.exp(c.uniform(0.3, 2.0) * c.random.standard_normal(count))
    np.add.at(drops, c.random.integers(0, c.samples, count), strengths * c.one_of(1, -1))
    drops = _filtered(drops, _blow(c, c.log(0.0002, 0.01)))
    return _at(drops, 0) + _at(_noise(c, c.uniform(-3, 0)), c.uniform(-50, -5))


def _bubbles(c: Canvas) -> Float64:
    """Water: drops that ring at their own pitch and rise a little (Minnaert 1933)."""
    water = np.zeros(c.samples)
    for at in _beats(c, c.log(2, 60)):
        part, hertz = c.of(c.log(0.01, 0.12)), c.log(300, 5000)
        rise = 1 + c.uniform(0, 0.5) * part.time / part.seconds
        drop = np.sin(2 * np.pi * np.cumsum(hertz * rise) / c.rate)
        _put(water, drop * np.exp(-5 * part.time / part.seconds) * c.log(0.05, 1), at)
    return water


def _silence(c: Canvas) -> Float64:
    """Digital zero, a constant, or noise too faint to be anything."""
    kind = c.one_of("zero", "constant", "noise", "noise", "noise", "hum")
    if kind == "zero":
        return np.zeros(c.samples)
    if kind == "constant":
        return np.full(c.samples, c.uniform(-0.1, 0.1))
    sound = _hum(c) if kind == "hum" else _noise(c, c.uniform(-2.5, 0.5))
    return _at(sound, c.uniform(-100, -60))


SILENCE: Final = "silence"
"""The one family that is not made louder: as its maker gives it."""

FAMILIES: Final[Mapping[str, Family]] = {
    "steady noise": _steady_noise,
    "moving noise": _moving_noise,
    "hum": _hum,
    "tones": _tones,
    "beeps": _beeps,
    "sweeps": _sweeps,
    "clicks": _clicks,
    "impacts": _impacts,
    "chords": _music,
    "melody": _melody,
    "drums": _drums,
    "engine": _engine,
    "chirps": _chirps,
    "crackle": _crackle,
    "bubbles": _bubbles,
    SILENCE: _silence,
}
"""Families by name."""

TURNS: Final = (
    *FAMILIES,
    *("tones", "sweeps", "chords", "melody", "clicks", "beeps", "chords", "melody"),
)
"""The order in which families follow one another.

What has a pitch comes more often: it is what is nearest to a voice, and is learnt last.
"""


# ---------------------------------------------------------------------------------- instruments


def _instrument(c: Canvas) -> Instrument:
    return c.one_of(_sustaining, _sustaining, _struck, _plucked)(c)


def _sustaining(c: Canvas) -> Instrument:
    """Organ, flute, strings, reeds, pads: a timbre that stays as long as the key is held."""
    slope, odd = c.uniform(0.3, 3.0), c.chance(0.3)
    depth, speed = c.one_of(0.0, 0.0, c.uniform(0.002, 0.02)), c.uniform(3, 8)
    detuned, attack, breath = c.one_of(0.0, 0.003, 0.006), c.log(0.003, 0.2), c.log(0.001, 0.1)

    def play(note: Canvas, hertz: float) -> Float64:
        bend = 1 + depth * np.sin(2 * np.pi * speed * note.time)
        strengths = _partials(hertz * (1 + depth), note.rate, slope, odd=odd)
        phase = np.cumsum(hertz * bend) / note.rate
        sound = _wave(phase, strengths, c)
        if detuned:
            sound = sound + _wave(phase * (1 + detuned), strengths, c)
        air = breath * note.random.standard_normal(note.samples)
        return np.asarray((sound + air) * _fades(note, attack))

    return play


def _struck(c: Canvas) -> Instrument:
    """Piano, guitar, marimba, bells: partials, harmonic or not, the higher the sooner gone."""
    harmonic = np.arange(1.0, c.one_of(4, 8, 14))
    ratios = c.one_of(
        harmonic,
        harmonic * np.sqrt(1 + 0.0008 * harmonic**2),  # stiff strings (Fletcher 1964)
        np.array([0.5, 1.0, 1.19, 1.5, 2.0, 2.5, 3.0, 4.0]),  # a church bell
        np.array([1.0, 2.76, 5.40, 8.93]),  # a free bar (Rossing 2000)
        np.sort(c.random.uniform(0.5, 8.0, 6)),
    )
    slope, decay, damping = c.uniform(0.3, 2.0), c.log(0.1, 3.0), c.uniform(0.0, 1.0)

    def play(note: Canvas, hertz: float) -> Float64:
        sound, time = np.zeros(note.samples), note.time
        for ratio in ratios[ratios * hertz < _NYQUIST_SHARE * note.rate]:
            ring = np.exp(-time * ratio**damping / decay)
            sound += (
                ring * np.sin(2 * np.pi * (ratio * hertz * time + c.uniform(0, 1))) / (ratio**slope)
            )
        return sound * _fades(note, 0.002)

    return play


def _plucked(c: Canvas) -> Instrument:
    """Strings: up to 40 partials, each about as strong at first, in four groups that fade."""
    strong = c.random.uniform(0.0, 1.0, 40) / np.arange(1, 41) ** c.uniform(0.0, 1.2)
    decay, damping = c.log(0.1, 4.0), c.uniform(0.5, 2.0)

    def play(note: Canvas, hertz: float) -> Float64:
        sound, time = np.zeros(note.samples), note.time
        count = int(np.clip(_NYQUIST_SHARE * note.rate / hertz, 1, len(strong)))
        for first, last in ((1, 1), (2, 3), (4, 8), (9, 40)):
            if first <= count:
                group = np.zeros(min(last, count))
                group[first - 1 :] = strong[first - 1 : len(group)]
                ring = np.exp(-time * (hertz / 200) * first**damping / decay)
                sound += ring * _wave(hertz * time, group, c)
        return sound * _fades(note, 0.001)

    return play


def _chords(c: Canvas, play: Instrument) -> Float64:
    music, beat = np.zeros(c.samples), c.seconds if c.chance(0.2) else c.log(0.2, 2.5)
    root, held = c.log(80, 350), c.uniform(0.5, 1.2)
    start = 0.0
    while start < c.seconds:
        note = c.of(beat * held)
        steps = c.one_of((0, 4, 7), (0, 3, 7), (0, 5, 7), (0, 4, 7, 10), (0, 7), (0, 3, 6))
        bass = int(c.random.integers(-7, 8))
        for step in steps:
            hertz = root * 2 ** ((bass + step + 12 * c.one_of(0, 0, 0, 1)) / 12)
            _put(music, play(note, hertz), round(start * c.rate))
        start += beat
    return music


def _tune(c: Canvas, play: Instrument) -> Float64:
    music, beat, root = np.zeros(c.samples), c.log(0.06, 0.8), c.log(90, 900)
    scale = np.array(
        c.one_of((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 2, 4, 7, 9), (*range(12),))
    )
    start, place, leap = 0.0, 0, c.one_of(1, 3, 3, 8)
    held, voices = c.one_of(1.0, c.uniform(0.4, 1.3)), c.one_of(1, 1, 1, 2, 3)
    while start < c.seconds:
        place += int(c.random.integers(-leap, leap + 1))
        place = int(np.clip(place, -len(scale), 2 * len(scale)))
        length = beat * c.one_of(1, 1, 1, 2, 0.5)
        if not c.chance(0.1):
            for voice in range(voices):
                step = place + 2 * voice
                hertz = root * 2 ** (scale[step % len(scale)] / 12 + step // len(scale))
                _put(music, play(c.of(length * held), hertz), round(start * c.rate))
        start += length
    return music


def _low_drum(c: Canvas) -> Float64:
    part, decay = c.of(0.4), c.log(0.03, 0.2)
    hertz = c.log(40, 120) * (1 + c.uniform(1, 5) * np.exp(-part.time / c.log(0.01, 0.05)))
    return np.sin(2 * np.pi * np.cumsum(hertz) / c.rate) * np.exp(-part.time / decay)


def _rattle(c: Canvas) -> Float64:
    part, decay = c.of(0.3), c.log(0.03, 0.15)
    tone = np.sin(2 * np.pi * c.log(120, 300) * part.time)
    noise = _noise(part, c.uniform(-1, 0.5), c.log(100, 1500))
    return (c.uniform(0, 1) * tone + 0.5 * noise) * np.exp(-part.time / decay)


def _hat(c: Canvas) -> Float64:
    part = c.of(0.2)
    return 0.4 * _noise(part, 0.5, c.log(2000, 6000)) * np.exp(-part.time / c.log(0.01, 0.1))


def _wood(c: Canvas) -> Float64:
    part = c.of(0.15)
    return np.sin(2 * np.pi * c.log(300, 2500) * part.time) * np.exp(
        -part.time / c.log(0.005, 0.05)
    )


# ---------------------------------------------------------------------------------------- parts


def _noise(c: Canvas, tilt: float, low: float = 0.0, high: float = np.inf) -> Float64:
    """Noise whose power goes with ``hertz ** tilt`` between two edges, RMS 1."""
    hertz = np.maximum(np.fft.rfftfreq(c.samples, 1 / c.rate), 20.0)
    spectrum = np.fft.rfft(c.random.standard_normal(c.samples))
    shape = hertz ** (tilt / 2)
    if low > 0:
        shape = shape / (1 + (low / hertz) ** 8)
    if high < c.rate / 2:
        shape = shape / (1 + (hertz / high) ** 8)
    return _at(np.fft.irfft(spectrum * shape, c.samples), 0.0)


def _drift(c: Canvas, hertz: float) -> Float64:
    """A curve that wanders about 0 with a spread of 1, so many times a second."""
    count = max(2, int(c.seconds * hertz) + 2)
    place = np.arange(c.samples) * ((count - 1) / c.samples)
    return np.asarray(np.interp(place, np.arange(count), c.random.standard_normal(count)))


def _wave(phase: Float64, strengths: Float64, c: Canvas) -> Float64:
    """Partials 1, 2, ... of these strengths at random phases; ``phase`` in turns."""
    spectrum: Complex128 = np.zeros(_TABLE // 2 + 1, dtype=np.complex128)
    angles = np.exp(2j * np.pi * c.random.random(len(strengths)))
    spectrum[1 : len(strengths) + 1] = strengths * angles
    table = np.fft.irfft(spectrum) * (_TABLE / 2)
    table = np.append(table, table[0])
    place = (phase % 1.0) * _TABLE
    whole = np.minimum(place.astype(np.int64), _TABLE - 1)
    share = place - whole
    return np.asarray(table[whole] * (1 - share) + table[whole + 1] * share)


def _partials(hertz: float, rate: int, slope: float, *, odd: bool, most: int = 60) -> Float64:
    """Strengths of the partials of a pitch: falling with the number, none near half the rate."""
    count = int(np.clip(_NYQUIST_SHARE * rate / hertz, 1, most))
    number = np.arange(1, count + 1)
    return np.where((number % 2 == 1) | (not odd), 1.0 / number**slope, 0.0)


def _timbre(c: Canvas, hertz: float, partials: int = 40) -> Float64:
    """Partials of a random instrument that may play up to ``hertz``."""
    most = c.one_of(1, 2, 4, 8, 20, partials)
    strengths = _partials(hertz, c.rate, c.uniform(0.0, 2.5), odd=c.chance(0.3), most=most)
    return strengths * c.random.uniform(c.one_of(0.1, 1.0), 1.0, len(strengths))


def _tone(c: Canvas, hertz: float) -> Float64:
    pure = np.ones(1)
    shape = c.one_of(
        pure,
        pure,
        _partials(hertz, c.rate, 1.0, odd=True),
        _partials(hertz, c.rate, 2.0, odd=True),
        _partials(hertz, c.rate, 1.0, odd=False),
        _timbre(c, hertz),
    )
    wobble = c.one_of(0.0, 0.0, c.log(0.0005, 0.02))
    bend = 1 + wobble * np.sin(2 * np.pi * c.log(0.3, 8) * c.time) if wobble else np.ones(c.samples)
    return _wave(np.cumsum(hertz * bend) / c.rate, shape, c) * c.uniform(0.2, 1.0)


def _dial(c: Canvas) -> tuple[float, ...]:
    """One key of a telephone (ITU-T Q.23)."""
    return c.one_of(697.0, 770.0, 852.0, 941.0), c.one_of(1209.0, 1336.0, 1477.0, 1633.0)


def _beats(c: Canvas, rate: float) -> list[int]:
    """Samples at which something happens, so many times a second: in time, nearly, or at random."""
    count = max(1, int(c.seconds * rate))
    even = (np.arange(count) + c.uniform(0, 1)) / rate
    at = c.one_of(
        even,
        even + c.random.normal(0, 0.1 / rate, count),
        c.random.uniform(0, c.seconds, count),
    )
    return [int(place) for place in np.clip(at * c.rate, 0, c.samples - 1)]


def _blow(c: Canvas, decay: float) -> Float64:
    """A blow that is gone after some ``decay`` seconds: an impulse, noise, resonances, or all."""
    part = c.of(min(6 * decay, 1.0))
    blow = np.zeros(part.samples)
    blow[0] = c.one_of(0.0, 1.0, 3.0)
    if c.chance(0.6):
        noise = _noise(part, c.uniform(-2, 1), c.log(30, 2000)) if part.samples > 32 else 1.0
        blow = blow + noise * np.exp(-part.time / decay)
    for _ in range(c.one_of(0, 1, 1, 3, 6)):
        ring = np.sin(2 * np.pi * c.log(60, 6000) * part.time + c.uniform(0, 6))
        blow = blow + ring * np.exp(-part.time / (decay * c.uniform(0.3, 1.2)))
    blow[0] += 1e-3
    return np.asarray(blow / np.abs(blow).max())


def _fades(c: Canvas, attack: float) -> Float64:
    """Rises within ``attack`` seconds, falls within 5 ms."""
    rest = c.seconds - c.time
    return np.minimum(1.0, np.minimum(c.time / attack, rest / 0.005))


def _put(sound: Float64, part: Float64, at: int) -> None:
    """Add a part at a sample; what lies beyond the end is left out."""
    room = max(0, min(part.size, sound.size - at))
    sound[at : at + room] += part[:room]


def _filtered(sound: Float64, response: Float64) -> Float64:
    size = sound.size + response.size
    size += -size % 1600
    product = np.fft.rfft(sound, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: sound.size]


def _in_a_room(sound: Float64, c: Canvas) -> Float64:
    """Noise that decays, as in a diffuse room: RT60 of 0.1 to 1.2 s."""
    part = c.of(c.log(0.1, 1.2))
    tail = c.random.standard_normal(part.samples) * 10 ** (-3 * part.time / part.seconds)
    tail[0] = c.uniform(1, 10)
    return _filtered(sound, tail)


def _coloured(sound: Float64, c: Canvas) -> Float64:
    """A microphone and its surroundings: a curve of +-12 dB over the octaves, at times a band."""
    hertz = np.maximum(np.fft.rfftfreq(sound.size, 1 / c.rate), 20.0)
    octaves = np.log2(hertz / 20.0)
    curve = np.interp(octaves, np.arange(10), c.random.normal(0, c.uniform(1, 6), 10))
    gain = 10 ** (curve / 20)
    if c.chance(0.3):  # a telephone, a small loudspeaker, a low rate
        gain /= (1 + (c.log(50, 500) / hertz) ** 6) * (1 + (hertz / c.log(2500, 7000)) ** 16)
    return np.fft.irfft(np.fft.rfft(sound) * gain, sound.size)


def _at(sound: Float64, decibels: float) -> Float64:
    """The sound at this RMS, in dB re full scale; silence stays silence."""
    rms = float(np.sqrt(np.mean(np.square(sound))))
    return np.asarray(sound * (10 ** (decibels / 20) / max(rms, 1e-12)))
