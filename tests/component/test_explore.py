"""Pages to explore with: drawn by training's own classes, measured rightly, whole in one file."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from conftest import ROOT, SAMPLES, speechlike
from html_page import NASTY, check
from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.recipe import Recipe
from ser_edge.corpora import CORPORA
from ser_edge.corpora.base import Utterance
from ser_edge.data.audio_augment import SoundAugment
from ser_edge.mel.image import mel_image
from ser_edge.mel.spec import MelImageSpec
from ser_edge.reports.explore import augmentations, drawing, entries, making, voice
from ser_edge.reports.explore.sentence import same_sentence

SPEC = MelImageSpec()
RATE = SPEC.sample_rate
RECIPE = Recipe.read(ROOT / "configs" / "compact.yaml")


def tone(hertz: float, seconds: float = 1.5) -> np.ndarray:
    t = np.arange(round(seconds * RATE)) / RATE
    voice_ = sum(np.sin(2 * np.pi * hertz * k * t) / k for k in range(1, 8))
    return (0.1 * voice_).astype(np.float32)


# -------------------------------------------------------------------------------- augmentations


@pytest.fixture(scope="module")
def few() -> pytest.MonkeyPatch:
    """Few draws and rough sounds of pictures: neither is what these tests look at."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(augmentations, "COPIES", 8)
        patch.setattr(augmentations, "TURNS", 1)
        patch.setattr(augmentations, "STEPS_OF_POWERS", 1)
        yield patch


@pytest.fixture(scope="module")
def found(few: pytest.MonkeyPatch) -> augmentations.Tour:
    others = [speechlike(1.0, RATE, seed) for seed in (5, 6)]
    return augmentations.tour(speechlike(1.6, RATE, 1), others, RECIPE, seed=3)


def by_entry(tour: augmentations.Tour) -> dict[str, augmentations.Augmentation]:
    return {a.entry: a for a in (*tour.sounds, *tour.images)}


def test_every_augmentation_of_a_recipe_is_shown(found):
    """A new entry of SoundStrengths or ImageAugment fails here until it has a row."""
    from dataclasses import fields

    from ser_edge.data.image_augment import ImageAugment

    expected = {f"sound.{f.name}" for f in fields(SoundStrengths) if f.name != "snr_db"}
    described = {"hertz", "range_db", "frames"}
    expected |= {f.name for f in fields(ImageAugment) if f.name not in described}
    assert set(by_entry(found)) == expected | {"crop"}
    assert all(len(a.draws) == 3 for a in by_entry(found).values())
    assert len(found.samples) == augmentations.SAMPLES


def test_sounds_are_those_of_training(found):
    """The same seed through SoundAugment gives the very sound of a card, sample for sample."""
    clip = torch.from_numpy(speechlike(1.6, RATE, 1))
    waveforms = torch.nn.functional.pad(clip, (0, 100_000 - len(clip))).repeat(8, 1)
    lengths = torch.full((8,), len(clip))
    for entry, strengths in (
        ("sound.gain", SoundStrengths(gain=12.0)),
        ("sound.speed", SoundStrengths(speed=0.2)),
        ("sound.noise", SoundStrengths(noise=1.0, snr_db=0.0)),
    ):
        torch.manual_seed(3)
        drawn = SoundAugment(strengths, SPEC, torch.empty(0, 0))(waveforms, lengths).numpy()
        shown = by_entry(found)[entry].draws[2].sound
        assert any(np.array_equal(shown, row) for row in drawn)


def test_a_drawing_leaves_the_generator_alone():
    torch.manual_seed(11)
    expected = torch.rand(1)
    torch.manual_seed(11)
    augmentations.audible(torch.full(SPEC.shape, 200.0), SPEC)
    assert torch.equal(torch.rand(1), expected)


def test_strengths_grow(found):
    entries = by_entry(found)
    first = found.original.sound
    for entry in ("sound.noise", "sound.babble"):
        apart = [float(np.square(draw.sound - first).sum()) for draw in entries[entry].draws]
        assert apart == sorted(apart)
        snr = [float(draw.measured.split()[1]) for draw in entries[entry].draws]
        assert snr[0] - snr[1] == pytest.approx(10, abs=1)
        assert snr[1] - snr[2] == pytest.approx(10, abs=1)
    gains = [float(draw.measured.split()[0]) for draw in entries["sound.gain"].draws]
    assert gains[1] / gains[0] == pytest.approx(2, rel=0.1)
    assert gains[2] / gains[1] == pytest.approx(2, rel=0.1)
    black = [int(draw.measured.split()[0]) for draw in entries["freq_mask"].draws]
    assert black == sorted(black)
    assert black[0] < black[2]
    wide = [draw.mel_image.shape[1] for draw in entries["crop"].draws]
    assert wide == [316, 253, 158]


def test_the_recipes_own_value_is_marked(found):
    entries = by_entry(found)
    assert [draw.own for draw in entries["sound.speed"].draws] == [False, True, False]
    assert [draw.own for draw in entries["sound.noise"].draws] == [False, False, True]
    assert [draw.own for draw in entries["sound.gain"].draws] == [False, False, False]
    assert entries["sound.gain"].in_recipe == "off"
    assert entries["sound.telephone"].in_recipe == "20% of the clips"
    assert entries["sound.noise"].in_recipe == "30% of the clips, snr_db 0"


def test_pitch_and_speed_say_what_a_voice_does(few):
    """The tone that went through the draw tells the same as the pitch of the sound itself."""
    studio = augmentations._Studio(tone(200.0), [], RECIPE, seed=3)
    rows = {row.name: row for row in entries.SOUNDS}
    for entry, to_ratio in (
        ("pitch", lambda text: 2 ** (float(text.split()[0]) / 12)),
        ("speed", lambda text: float(text.split()[0])),
    ):
        for draw in studio.of_sound(rows[entry]).draws:
            spectrum = np.abs(np.fft.rfft(draw.sound))
            heard = spectrum.argmax() * RATE / len(draw.sound)
            assert heard / 200.0 == pytest.approx(to_ratio(draw.measured), rel=0.01)


@pytest.mark.parametrize(
    ("response", "measure", "words"),
    [
        ({0: 1.0, 3200: 0.5, 6400: 0.1}, entries.echoes, "0.20 s -6 dB, 0.40 s -20 dB"),
        ({0: 1.0, 16: 1.0}, entries.room, "0 dB above its reflections"),
    ],
)
def test_impulses_are_read_rightly(response, measure, words):
    heard = torch.zeros(1, 80_000)
    for at, value in response.items():
        heard[0, at] = value
    _, texts = measure(torch.zeros(1, 80_000), heard, lambda _: heard, SPEC)
    assert texts[0].endswith(words)


def test_a_rooms_rt60_is_that_of_its_tail():
    from ser_edge.data.audio_augment import tails

    torch.manual_seed(0)
    noise = torch.randn(1, 40_000)
    tail = tails(noise, torch.tensor([0.5]), torch.tensor([3.0]), RATE)
    tail[:, 0] = 1.0
    heard = torch.nn.functional.pad(tail, (0, 40_000))
    _, (text,) = entries.room(torch.zeros(1, 80_000), heard, lambda _: heard, SPEC)
    assert float(text.split()[1]) == pytest.approx(0.5, abs=0.06)
    assert "3 dB above" in text


def test_a_picture_made_audible_gives_the_picture_again(monkeypatch):
    monkeypatch.setattr(augmentations, "TURNS", 16)
    monkeypatch.setattr(augmentations, "STEPS_OF_POWERS", 20)
    picture = torch.from_numpy(mel_image(speechlike(2.0, RATE, 4), SPEC)).float()
    sound = augmentations.audible(picture, SPEC)
    again = mel_image(sound.numpy()[: SPEC.window_samples], SPEC).astype(float)
    seen = picture.numpy() > 60
    apart = np.abs(again - picture.numpy())[seen] * SPEC.range_db / 255
    assert apart.mean() < 2.5  # dB


def test_a_long_clip_without_other_voices(few):
    tour = augmentations.tour(speechlike(7.0, RATE), [], replace(RECIPE, crop=0.0))
    assert tour.cut
    assert all(draw.mel_image.shape == SPEC.shape for draw in tour.samples)
    assert tour.left_out == "babble"
    assert "sound.babble" not in by_entry(tour)


def test_a_silent_clip_is_refused():
    with pytest.raises(ValueError, match="silent"):
        augmentations.tour(np.zeros(16_000, np.float32), [], RECIPE)


def test_the_page_of_the_augmentations(found):
    origin = {"command": NASTY, "git_revision": "a", "python": "3", "machine": "m", "time": "t"}
    page = check(drawing.tour_page(found, RECIPE, NASTY, 3, origin))
    assert NASTY in page.text
    cards = 3 * (len(found.sounds) + len(found.images)) + 2 + augmentations.SAMPLES
    assert len(page.of("audio")) == len(page.of("img")) == cards


# -------------------------------------------------------------------------------------- one sound


@pytest.mark.system
@pytest.mark.parametrize("hertz", [90.0, 180.0, 420.0])
def test_pitch_and_its_period(hertz):
    views = voice.look(tone(hertz), SPEC)
    assert views.voice.summary.pitch == pytest.approx(hertz, rel=0.02)
    assert views.moment.period == pytest.approx(1000 / hertz, rel=0.03)
    best = views.moment.lags[np.argmax(views.moment.values)]
    periods = best / (1000 / hertz)  # the first, or one of those that follow it
    assert periods == pytest.approx(round(periods), abs=0.06)
    assert views.harmonic.share > 0.9


def test_clicks_are_percussive_and_have_no_pitch():
    clicks = np.zeros(RATE, np.float32)
    clicks[[2000, 6100, 11_300]] = 0.8
    views = voice.look(clicks, SPEC)
    assert views.percussive.share > 0.9
    assert math.isnan(views.voice.summary.pitch)
    page = check(drawing.clip_page(views, NASTY, 1.0, _origin()))
    assert "no voice between 60 and 800 Hz" in page.text


def test_all_views_have_the_same_frames():
    views = voice.look(speechlike(1.3, RATE, 2), SPEC)
    frames = views.mel.shape[1]
    assert frames == views.voice.pitch.size == views.voice.rms.size
    for picture in (views.mfcc, views.chroma, views.harmonic.mel_image, views.autocorrelation):
        assert picture.shape[1] == frames
    assert views.mfcc.shape[0] == voice.COEFFICIENTS
    assert np.abs(views.autocorrelation).max() <= 1
    assert views.harmonic.share + views.percussive.share == pytest.approx(1)
    together = views.harmonic.waveform + views.percussive.waveform
    assert np.abs(together - views.voice.waveform).max() < 1e-3


def _origin() -> dict[str, str]:
    return {"command": "c", "git_revision": "g", "python": "3", "machine": "m", "time": "t"}


def test_a_missing_librosa_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "librosa", None)
    with pytest.raises(ValueError, match=r"extra explore: pip install 'ser-edge\[explore\]'"):
        voice.measure(tone(100.0), SPEC)


# ------------------------------------------------------------------------------- the same sentence


def said(name: str, emotion: str, speaker: str, **other: object) -> Utterance:
    values: dict[str, object] = {
        "sex": "female", "intensity": "normal", "statement": "Dogs", "repetition": 1,
        "channel": "speech",
    }  # fmt: skip
    return Utterance(Path(f"{name}.wav"), "made", speaker, emotion=emotion, **{**values, **other})


def test_the_fullest_sentence_is_taken_in_the_emotions_order():
    clips = [
        said("a", "sad", "x-1"),
        said("b", "neutral", "x-1"),
        said("c", "sad", "x-1", intensity="strong"),
        said("d", "neutral", "x-2"),
        said("e", "happy", "x-1", statement="Kids"),
        *(said(f"s{e}", e, "x-3", channel="song") for e in ("neutral", "sad", "happy")),
    ]
    assert [u.name for u in same_sentence(clips)] == ["sneutral", "shappy", "ssad"]
    assert [u.name for u in same_sentence(clips, "1")] == ["b", "c"]
    assert same_sentence(clips, "x-2") == ()
    assert same_sentence([said("a", "sad", "x-1", statement="")]) == ()
    with pytest.raises(ValueError, match="speaker is 9, allowed: x-1, x-2, x-3"):
        same_sentence(clips, "9")
    with pytest.raises(ValueError, match="sentence is cats, allowed: Dogs, Kids"):
        same_sentence(clips, "", "cats")


# ---------------------------------------------------------------------------------------- commands


def test_explore_clip(here, tmp_path):
    out = tmp_path / "page.html"
    done = here("explore.py", "clip", SAMPLES[0], "--out", out)
    assert done.returncode == 0, done.stderr
    page = check(out.read_text())
    assert len(page.of("audio")) == 3
    for title in ("Waveform", "MFCC", "Chroma", "Autocorrelation", "Pitch", "Loudness"):
        assert title in page.text
    assert out.stat().st_size < 1e6


def test_explore_augment(here, tmp_path, few):
    soundfile.write(tmp_path / "a.wav", speechlike(1.0, RATE, 1), RATE)
    soundfile.write(tmp_path / "b.wav", speechlike(1.2, RATE, 2), RATE)
    (tmp_path / "c.wav").write_bytes(b"no sound at all")
    out = tmp_path / "page.html"
    done = here("explore.py", "augment", tmp_path / "a.wav", "--out", out, "--quiet")
    assert done.returncode == 0, done.stderr
    assert "c.wav" in done.stderr
    text = check(out.read_text()).text
    assert "a.wav, 17 ways" in text
    assert "of 8 draws" in text


def test_explore_corpus(here, make_ravdess, tmp_path):
    folder = make_ravdess(actors=(1, 2), emotions=(1, 3, 5))
    bad = folder / "Actor_02" / "03-01-06-01-01-01-02.wav"
    bad.write_bytes(b"RIFF")
    out = tmp_path / "page.html"
    done = here("explore.py", "corpus", folder, "--speaker", "02", "--out", out, "--quiet")
    assert done.returncode == 1
    assert bad.name in done.stderr
    page = check(out.read_text())
    assert "One sentence, 3 emotions" in page.text
    assert "one woman (ravdess-02)" in page.text
    assert str(tmp_path) not in page.text
    assert len(page.of("audio")) == 3


def test_a_silent_sound_is_named(here, tmp_path):
    soundfile.write(tmp_path / "silent.wav", np.zeros(RATE), RATE)
    for verb in ("clip", "augment"):
        done = here("explore.py", verb, tmp_path / "silent.wav", "--out", tmp_path / "x.html")
        assert done.returncode == 1
        assert "silent.wav: it is silent" in done.stderr


def test_real_voices_differ_as_acted(ravdess):
    """Actor 1 shouts when angry: higher and louder than neutral."""
    scan = CORPORA["ravdess"].scan(ravdess / "Actor_01")
    chosen = {u.emotion: u for u in same_sentence(scan.utterances)}
    assert len(chosen) == 8
    neutral, angry = (
        voice.measure(making._load(chosen[e].path, RATE), SPEC).summary
        for e in ("neutral", "angry")
    )
    assert angry.pitch > 1.5 * neutral.pitch
    assert angry.level > neutral.level + 6
