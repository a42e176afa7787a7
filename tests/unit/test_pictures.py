"""Windows of a sound as it comes in: the frames they share are made once, and nothing differs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from conftest import SMALL, speechlike
from edge_app.inference import file_windows as module
from edge_app.inference.file_windows import pictures
from ser_edge.audio.windows import cut_windows, levels
from ser_edge.mel.image import log_mel, mel_image
from ser_edge.mel.spec import MelImageSpec

SPECS = {
    "shipped": MelImageSpec(),
    "small": SMALL,
    "11 frames in half a second": replace(SMALL, sample_rate=8800, hop_length=400, f_max=4000.0),
    "short window": replace(SMALL, seconds=1.7),
    "odd levels": replace(SMALL, sample_rate=22_050, hop_length=525),
}


def cut(sound: np.ndarray, sizes: list[int]) -> list[np.ndarray]:
    ends = np.cumsum(sizes)
    return [part for part in np.split(sound, ends[ends < sound.size]) if part.size]


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
@pytest.mark.parametrize("seconds", [0.01, 0.9, 5.0, 5.03, 7.5, 13.21, 20.0])
@pytest.mark.parametrize("block", [1777, 40_000, 10**9])
def test_the_same_windows_and_pictures_to_the_last_bit(spec, seconds, block):
    sound = speechlike(seconds, spec.sample_rate)
    blocks = cut(sound, [block] * (sound.size // block + 1))
    expected = list(cut_windows(blocks, spec.window_samples, spec.hop_samples))
    found = list(pictures(blocks, spec))
    assert [p.start for p in found] == [w.start for w in expected]
    assert [p.end for p in found] == [w.start + w.waveform.size for w in expected]
    for picture, window in zip(found, expected, strict=True):
        np.testing.assert_array_equal(picture.image, mel_image(window.waveform, spec))
        np.testing.assert_array_equal(picture.levels, levels(window.waveform, spec.sample_rate))
    whole = np.empty((spec.n_mels, 0))
    if sound.size >= spec.n_fft:
        whole = log_mel(sound, spec)
    np.testing.assert_allclose(
        np.concatenate([p.fresh for p in found], axis=1), whole, atol=0.01, rtol=0
    )


def test_no_frame_is_made_twice(monkeypatch):
    spec, made = MelImageSpec(), []

    def counting(waveform, spec):
        frames = log_mel(waveform, spec)
        made.append(frames.shape[1])
        return frames

    monkeypatch.setattr(module, "log_mel", counting)
    sound = speechlike(60.0, spec.sample_rate)
    assert len(list(pictures([sound], spec))) == 23
    # Of the last window, the frames beyond the sound's last whole group were made for it alone.
    assert sum(made) <= log_mel(sound, spec).shape[1] + 40


def test_nothing_gives_nothing():
    assert list(pictures([], SMALL)) == []
