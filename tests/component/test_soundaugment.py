"""Every augmentation of a waveform does what its strength says, measured on known sounds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from conftest import speechlike
from ser_edge.config.augmentation import SoundStrengths
from ser_edge.data import audio_augment, draws
from ser_edge.data.audio_augment import SoundAugment, SoundToImage
from ser_edge.mel.spec import MelImageSpec
from ser_edge.mel.torch import MelImage

RATE = 16_000
SPEC = MelImageSpec(seconds=2.0)
SHORT = MelImageSpec(seconds=0.5)
ALL = SoundStrengths(
    noise=0.5, babble=0.5, telephone=0.5, gain=6.0, shift=1.0, speed=0.1, pitch=3.0, reverb=0.5,
    echo=0.5,
)  # fmt: skip
NO_BANK = torch.empty(0, 0)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On sounds this short threads gain nothing, and on a busy machine they wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def speech(n: int, samples: int, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch as the loader gives it: sounds of half the longest length and more."""
    lengths = np.linspace(longest // 2, longest, n).astype(int)
    waveforms = torch.zeros(n, samples)
    for row, length in enumerate(lengths):
        sound = speechlike(longest / RATE, RATE, seed=row)[:length]
        waveforms[row, :length] = torch.from_numpy(sound)
    return waveforms, torch.from_numpy(lengths)


BANK = speech(5, 24_000, 24_000)[0]


def augment(
    batch: tuple[torch.Tensor, torch.Tensor],
    strengths: SoundStrengths,
    spec: MelImageSpec = SPEC,
    seed: int = 1,
) -> torch.Tensor:
    torch.manual_seed(seed)
    return SoundAugment(strengths, spec, BANK)(*batch)


def tone(hertz: float, samples: int, n: int = 1) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(samples) / RATE).repeat(n, 1)


def frequency(sound: torch.Tensor) -> float:
    """Of a tone, in Hz, from the peak of its spectrum, interpolated."""
    n = 2**20
    spectrum = torch.fft.rfft(sound * torch.hann_window(len(sound)), n).abs()
    return int(spectrum.argmax()) * RATE / n


def decibels(ratio: torch.Tensor) -> torch.Tensor:
    return 10 * torch.log10(ratio)


# ---------------------------------------------------------------------------------- strengths


def test_the_default_does_nothing():
    assert not SoundStrengths().any
    assert not SoundStrengths(snr_db=20.0).any
    assert SoundStrengths(echo=0.1).any
    assert not SoundStrengths(echo=0.1, pitch=1.0).spoilt
    assert SoundStrengths(telephone=0.1).spoilt


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("noise", 1.1),
        ("babble", -0.1),
        ("snr_db", -30.0),
        ("telephone", 2.0),
        ("gain", 100.0),
        ("shift", 2.0),
        ("speed", 0.6),
        ("pitch", 13.0),
        ("reverb", math.nan),
        ("echo", -1.0),
    ],
)
def test_impossible_strengths_name_the_value(name, value):
    with pytest.raises(ValueError, match=rf"^sound\.{name} is .*, allowed: -?\d+ to [\d.]+$"):
        SoundStrengths(**{name: value})


# ------------------------------------------------------------------------------------ the whole


@pytest.mark.parametrize("align", ["start", "center"])
def test_without_strengths_a_clip_is_only_put_into_its_window(align):
    waveforms, lengths = speech(4, 40_000, 40_000)
    spec = replace(SPEC, align=align)
    windows = augment((waveforms, lengths), SoundStrengths(), spec)
    for row, length in enumerate(lengths.tolist()):
        empty = abs(32_000 - length) // (2 if align == "center" else 1)
        first = empty if align == "center" else 0
        if length <= 32_000:
            assert torch.equal(windows[row, first : first + length], waveforms[row, :length])
            assert windows[row].count_nonzero() <= length
        else:
            assert torch.equal(windows[row], waveforms[row, first : first + 32_000])


def test_a_seed_repeats_and_the_input_is_left_alone():
    batch = speech(6, 40_000, 36_000)
    kept = batch[0].clone(), batch[1].clone()
    first = augment(batch, ALL)
    assert first.shape == (6, SPEC.window_samples)
    assert first.dtype == torch.float32
    assert torch.equal(first, augment(batch, ALL))
    assert not torch.equal(first, augment(batch, ALL, seed=2))
    assert torch.equal(batch[0], kept[0])
    assert torch.equal(batch[1], kept[1])


SINGLE = [
    {"noise": 0.5},
    {"babble": 0.5},
    {"gain": 6.0},
    {"shift": 1.0},
    {"speed": 0.2},
    {"pitch": 4.0},
    {"speed": 0.1, "pitch": 4.0},
    {"reverb": 0.5},
    {"echo": 0.5},
    {"telephone": 0.5},
]


@pytest.mark.parametrize("strengths", [ALL, *(SoundStrengths(**values) for values in SINGLE)])
def test_a_row_does_not_depend_on_the_others(strengths):
    waveforms, lengths = speech(4, 40_000, 36_000)
    others = waveforms.clone(), lengths.clone()
    others[0][1:] = torch.randn(3, 40_000)
    others[1][1:] = 40_000
    close = 1e-3 if strengths.telephone else 1e-5  # mu-law rounds up what is 1e-7 louder
    own, beside = augment((waveforms, lengths), strengths), augment(others, strengths)
    torch.testing.assert_close(own[0], beside[0], atol=close, rtol=1e-4)


@pytest.mark.parametrize("seed", range(5))
def test_silence_stays_silence_and_one_sample_is_a_sound(seed):
    strong = SoundStrengths(
        noise=1.0,
        babble=1.0,
        telephone=1.0,
        gain=40.0,
        shift=1.0,
        speed=0.5,
        pitch=12.0,
        reverb=1.0,
        echo=1.0,
    )
    waveforms = torch.zeros(4, 40_000)
    waveforms[3, 0] = 0.5
    windows = augment((waveforms, torch.tensor([40_000, 100, 1, 1])), strong, seed=seed)
    assert torch.isfinite(windows).all()
    assert not windows[:3].any()


@pytest.mark.parametrize("name", ["noise", "babble", "telephone", "reverb", "echo", "pitch"])
def test_as_many_clips_are_touched_as_the_strength_says(name):
    n = 400
    waveforms = torch.randn(1, 8000).repeat(n, 1)
    share = audio_augment.PITCHED if name == "pitch" else 0.3
    strengths = SoundStrengths(**{name: 3.0 if name == "pitch" else share})
    windows = augment((waveforms, torch.full((n,), 8000)), strengths, SHORT)
    touched = (windows != waveforms).any(dim=1).float().mean()
    if name == "pitch":  # a step of 0 in 3 semitones' 14 or so is no step
        assert 0.8 * share < touched < share + 0.1
    else:
        assert abs(touched - share) < 4 * math.sqrt(share * (1 - share) / n)


def test_pictures_are_those_of_the_augmented_windows():
    batch = speech(4, 40_000, 36_000)
    pictures = SoundToImage(ALL, SPEC, BANK)
    assert not pictures.state_dict()
    torch.manual_seed(1)
    images = pictures(*batch)
    assert images.shape == (4, 1, *SPEC.shape)
    assert torch.equal(images, MelImage(SPEC)(augment(batch, ALL)))


# ---------------------------------------------------------------------------------- the voice


def test_speed_changes_tempo_and_pitch_alike():
    batch = tone(500.0, 16_000, n=24), torch.full((24,), 16_000)
    torch.manual_seed(1)
    sounds, lengths = audio_augment.retune(*batch, speed=0.2, pitch=0.0, rate=RATE)
    factors = []
    for sound, length in zip(sounds, lengths.tolist(), strict=True):
        factors.append(frequency(sound[:length]) / 500)
        assert length * factors[-1] == pytest.approx(16_000, rel=2e-3)
        assert not sound[length + 20 :].any()
    assert 0.799 < min(factors) < 0.87
    assert 1.13 < max(factors) < 1.201
    assert len(set(lengths.tolist())) > 8


@pytest.mark.parametrize("semitones", [-7.0, -2.0, -0.5, 1.0, 3.0, 12.0])
def test_pitch_moves_by_the_semitones_and_the_duration_stays(monkeypatch, semitones):
    monkeypatch.setattr(
        draws.Chosen,
        "uniform",
        lambda self, low, high: torch.full((len(self.index),), semitones),
    )
    batch = tone(440.0, 24_000, n=8), torch.full((8,), 24_000)
    torch.manual_seed(1)
    sounds, lengths = audio_augment.retune(*batch, speed=0.0, pitch=abs(semitones), rate=RATE)
    assert (lengths - 24_000).abs().max() <= 1
    moved = [12 * math.log2(frequency(sound[2000:22_000]) / 440) for sound in sounds]
    chosen = [step for step in moved if abs(step) > 0.1]
    assert 0 < len(chosen) < 8  # the others are as they were
    assert chosen == pytest.approx([semitones] * len(chosen), abs=0.3)
    loudness = sounds[:, 2000:22_000].square().mean(dim=1) * 2
    assert decibels(loudness).abs().max() < 1.5


def test_tempo_of_the_pitched_is_exact_and_syllables_stay_where_they_were():
    clicks = torch.zeros(1, 32_000)
    clicks[0, 4000::4000] = 1.0
    for factor in (0.8, 1.25):
        slower = audio_augment.stretch(clicks, torch.tensor([factor]), RATE)[0]
        for number in range(1, 8):
            at = round(4000 * number * factor)
            around = slower[at - 1000 : at + 1000].square()
            centre = (around * torch.arange(-1000, 1000)).sum() / around.sum()
            assert abs(float(centre)) < 200, number  # a column of the picture
    assert slower.shape == (40_000,)


def test_stretched_by_one_a_sound_is_itself():
    sounds = speech(3, 20_000, 20_000)[0]
    stretched = audio_augment.stretch(sounds, torch.ones(3), RATE)
    torch.testing.assert_close(stretched, sounds, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("align", ["start", "center"])
def test_a_shifted_clip_stays_in_its_window(strength, align):
    n, length = 64, 20_000
    waveforms = torch.full((n, length), 0.5)
    spec = replace(SPEC, align=align)
    windows = augment((waveforms, torch.full((n,), length)), SoundStrengths(shift=strength), spec)
    assert (windows.count_nonzero(dim=1) == length).all()
    first = (windows != 0).float().argmax(dim=1) / (spec.window_samples - length)
    low = 0.0 if align == "start" else 0.5 - 0.5 * strength
    assert low <= first.min() < low + 0.1 * strength
    assert low + 0.9 * strength < first.max() <= low + strength


def test_of_a_long_clip_a_random_window_is_cut():
    n = 64
    waveforms = torch.arange(48_000.0).repeat(n, 1)
    lengths = torch.full((n,), 48_000)
    windows = augment((waveforms, lengths), SoundStrengths(shift=1.0))
    first = windows[:, 0]
    assert torch.equal(windows, first[:, None] + torch.arange(32_000.0))
    assert first.min() < 1600
    assert first.max() > 14_400


# ----------------------------------------------------------------------------------- the room


@pytest.mark.parametrize("rt60", [0.1, 0.3, 0.8])
def test_a_tail_decays_with_its_reverberation_time(rt60):
    torch.manual_seed(1)
    n, taps = 8, 16_000
    tails = audio_augment.tails(
        torch.randn(n, taps), torch.full((n,), rt60), torch.full((n,), 6.0), RATE
    )
    energy = tails.square().sum(dim=1)
    torch.testing.assert_close(decibels(energy), torch.full((n,), -6.0), atol=0.01, rtol=0)
    left = tails.square().flip(1).cumsum(dim=1).flip(1)  # Schroeder 1965
    level = decibels(left / energy[:, None])
    at = [(level < limit).float().argmax(dim=1) for limit in (-5.0, -25.0)]
    measured = 3 * (at[1] - at[0]) / RATE
    torch.testing.assert_close(measured, torch.full((n,), rt60), atol=0, rtol=0.15)


def test_reverb_keeps_the_direct_sound():
    clicks = torch.zeros(32, 32_000)
    clicks[:, 8000] = 0.5
    windows = augment((clicks, torch.full((32,), 32_000)), SoundStrengths(reverb=1.0))
    assert windows[:, :8000].abs().max() < 1e-5
    torch.testing.assert_close(windows[:, 8000], clicks[:, 8000], atol=1e-5, rtol=0)
    reflected = windows[:, 8001:].square().sum(dim=1)
    direct = decibels(0.25 / reflected)
    assert -5.1 < direct.min() < -2
    assert 12 < direct.max() < 15.1


def test_echoes_are_copies_at_their_delays():
    n = 64
    clicks = torch.zeros(n, 32_000)
    clicks[:, 8000] = 0.5
    windows = augment((clicks, torch.full((n,), 32_000)), SoundStrengths(echo=1.0))
    counts = []
    for window in windows:
        found = (window.abs() > 1e-4).nonzero()[:, 0]
        assert found[0] == 8000
        assert window[8000] == pytest.approx(0.5, abs=1e-5)
        delays, levels = (found[1:] - 8000) / RATE, 2 * decibels(window[found[1:]] / 0.5)
        counts.append(len(delays))
        assert delays.min() >= 0.08
        assert delays.max() <= 0.5
        assert levels.min() > -20.1
        assert levels.max() < -5.9
        assert window.count_nonzero() > len(found) - 1
    assert set(counts) == {1, 2, 3}


def test_an_echo_of_speech_is_the_speech():
    """Convolution by transform: nothing comes round from the end to the beginning."""
    torch.manual_seed(3)
    sound = torch.randn(8, 32_000)
    windows = augment((sound, torch.full((8,), 32_000)), SoundStrengths(echo=1.0))
    torch.testing.assert_close(windows[:, :1280], sound[:, :1280], atol=1e-4, rtol=0)
    assert ((windows - sound)[:, 8001:].square().mean(dim=1) > 0.005).all()


# --------------------------------------------------------------------------- what else is heard


@pytest.mark.parametrize("wanted", [-5.0, 5.0, 20.0])
def test_the_snr_is_measured_against_the_speech_and_not_the_padding(wanted):
    clean = torch.zeros(3, 32_000)
    clean[:, 4000:12_000] = 0.3 * tone(500.0, 8000)  # power 0.045 for a quarter of the window
    torch.manual_seed(1)
    noise = 7 * torch.randn(2, 32_000)
    noisy = audio_augment.mix(clean, torch.tensor([0, 2]), noise, torch.full((2,), wanted), RATE)
    assert torch.equal(noisy[1], clean[1])
    added = (noisy - clean)[[0, 2]].square().mean(dim=1)
    torch.testing.assert_close(decibels(0.045 / added), torch.full((2,), wanted), atol=0.2, rtol=0)


@pytest.mark.parametrize("name", ["noise", "babble"])
def test_snrs_are_spread_above_the_lowest(name):
    n = 64
    clean = 0.3 * tone(500.0, 32_000, n)
    windows = augment((clean, torch.full((n,), 32_000)), SoundStrengths(**{name: 1.0, "snr_db": 5}))
    snr = decibels(0.045 / (windows - clean).square().mean(dim=1))
    assert 4.9 < snr.min() < 9
    assert 31 < snr.max() < 35.1


@pytest.mark.parametrize(
    ("colour", "exponent"),
    [("violet", 2.0), ("blue", 1.0), ("white", 0.0), ("pink", -1.0), ("brown", -2.0)],
)
def test_the_spectrum_slopes_as_the_colour_says(colour, exponent):
    torch.manual_seed(1)
    samples = 32_000
    noise = audio_augment.coloured(
        torch.randn(4, samples // 2 + 1, 2), torch.full((4, 1), exponent), samples, RATE
    )
    assert slopes(noise) == pytest.approx([exponent] * 4, abs=0.1)
    # Stationary: as loud in every tenth.
    loudness = decibels(noise.unfold(1, 3200, 3200).square().mean(dim=2))
    assert loudness.std(dim=1).max() < 2.0


def slopes(noise: torch.Tensor) -> list[float]:
    """Spectral exponents between 100 and 7000 Hz."""
    power = torch.fft.rfft(noise.double()).abs().square().numpy()
    hertz = np.fft.rfftfreq(noise.shape[1], 1 / RATE)
    edges = np.geomspace(100, 7000, 13)
    bands = [(hertz >= a) & (hertz < b) for a, b in pairwise(edges)]
    middle = np.log10(np.sqrt(edges[:-1] * edges[1:]))
    return [
        float(np.polyfit(middle, [np.log10(row[band].mean()) for band in bands], 1)[0])
        for row in power
    ]


def test_noise_comes_in_all_colours():
    n = 64
    clean = 0.3 * tone(500.0, 32_000, n)
    windows = augment((clean, torch.full((n,), 32_000)), SoundStrengths(noise=1.0))
    found = slopes(windows - clean)
    assert -2.1 < min(found) < -1.6
    assert 1.6 < max(found) < 2.1
    assert abs(np.mean(found)) < 0.5


def test_babble_is_three_to_eight_others():
    bank = torch.stack([(1 + row) * tone(200.0 * (1 + row), 20_000)[0] for row in range(30)])
    bank[7] = 0.0  # a silent clip is nobody
    torch.manual_seed(1)
    clean = 0.3 * tone(7000.0, 32_000, 96)
    lengths = torch.full((96,), 32_000)
    windows = SoundAugment(SoundStrengths(babble=1.0), SPEC, bank)(clean, lengths)
    spectra = torch.fft.rfft((windows - clean) * torch.hann_window(32_000)).abs()
    levels = spectra[:, 400:12_001:400] / spectra.amax(dim=1, keepdim=True)  # 200 Hz, 400 Hz, ...
    talking = levels > 0.02
    assert not talking[:, 7].any()
    # All as loud, however loud their clips were, but for rows in which one was drawn twice.
    once = ((levels > 0.95) == talking).all(dim=1)
    assert once.float().mean() > 0.4
    assert set(talking[once].sum(dim=1).tolist()) == {3, 4, 5, 6, 7, 8}


def test_babble_needs_voices():
    for bank in (NO_BANK, torch.zeros(3, 16_000)):
        SoundAugment(SoundStrengths(noise=1.0), SPEC, bank)
        with pytest.raises(ValueError, match=r"sound\.babble needs clips"):
            SoundAugment(SoundStrengths(babble=0.1), SPEC, bank)


def test_a_telephone_has_its_band_and_the_noise_of_mu_law():
    waveform = 0.1 * torch.randn(8, 32_000)
    heard = augment((waveform, torch.full((8,), 32_000)), SoundStrengths(telephone=1.0))
    power = torch.fft.rfft(heard).abs().square() / torch.fft.rfft(waveform).abs().square()
    gain = 10 * torch.log10(power.clamp(min=1e-20))
    hertz = torch.fft.rfftfreq(32_000, 1 / RATE)
    inside = gain[:, (hertz > 450) & (hertz < 2900)]
    assert inside.median(dim=1).values.abs().max() < 0.1
    assert gain[:, hertz >= 4000].max() < -60
    assert gain[:, hertz < 50].median() < -20  # two octaves below, at 20 dB an octave and more
    tone = 0.1 * torch.sin(2 * torch.pi * 1000 / RATE * torch.arange(32_000))[None]
    error = augment((tone, torch.tensor([32_000])), SoundStrengths(telephone=1.0)) - tone
    error = error[:, 2000:-2000]
    snr = 10 * torch.log10(tone.square().mean() / error.square().mean())
    assert 33 < snr < 45  # G.711 has 38 dB over a wide range of levels


def test_a_pair_is_what_is_heard_and_the_same_voice_before_it_was_spoilt():
    batch = speech(4, 40_000, 36_000)
    strengths = SoundStrengths(noise=1.0, snr_db=0.0, telephone=1.0, speed=0.1, shift=1.0)
    torch.manual_seed(1)
    pair = SoundToImage(strengths, SPEC, NO_BANK, paired=True)(*batch)
    torch.manual_seed(1)
    heard = SoundToImage(strengths, SPEC, NO_BANK)(*batch)
    torch.manual_seed(1)
    clear = SoundToImage(SoundStrengths(speed=0.1, shift=1.0), SPEC, NO_BANK)(*batch)
    assert torch.equal(pair, torch.cat([heard, clear], dim=1))
    assert (heard - clear).abs().mean() > 10


def test_gain_is_in_decibels_and_clips_nothing():
    batch = speech(64, 32_000, 32_000)
    windows = augment(batch, SoundStrengths(gain=12.0))
    ratios = (windows.square().sum(dim=1) / batch[0].square().sum(dim=1)).sqrt()
    torch.testing.assert_close(windows, batch[0] * ratios[:, None])
    levels = 2 * decibels(ratios)
    assert -12.01 < levels.min() < -9
    assert 9 < levels.max() < 12.01
    loud = augment((10 * batch[0], batch[1]), SoundStrengths(gain=12.0))
    assert loud.abs().max() > 4


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 48_000])
def test_any_rate_will_do(rate):
    spec = MelImageSpec(
        sample_rate=rate,
        seconds=1.0,
        n_fft=512,
        win_length=400,
        hop_length=rate // 100 if rate != 22_050 else 225,
        n_mels=16,
        f_max=4000.0,
    )
    windows = augment(speech(2, rate, rate), ALL, spec)
    assert windows.shape == (2, rate)
    assert torch.isfinite(windows).all()
