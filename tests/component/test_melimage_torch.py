"""The torch twin is held to the NumPy mel image."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from conftest import speechlike
from ser_edge.audio import decode
from ser_edge.mel.image import mel_image, pad_window
from ser_edge.mel.spec import MelImageSpec
from ser_edge.mel.torch import MelImage

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
DEFAULT = MelImageSpec()
SPECS = {
    "default": DEFAULT,
    "slaney": MelImageSpec(mel_scale="slaney", f_min=20.0),
    "linear": MelImageSpec(mel_scale="linear", n_mels=128),
    "no norm": MelImageSpec(mel_norm="none", floor_db=-60.0),
    "magnitude": MelImageSpec(power=1.0, range_db=40.0),
    "fixed": MelImageSpec(level="fixed", floor_db=-70.0, range_db=90.0),
    "short frames": MelImageSpec(n_fft=512, win_length=400, hop_length=160, n_mels=64),
    "odd": MelImageSpec(n_fft=1000, win_length=801, hop_length=250, n_mels=40, f_max=7000.0),
    "full frames": MelImageSpec(win_length=1024),
    "another rate": MelImageSpec(sample_rate=22_050, hop_length=225, seconds=2.0),
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """On a busy machine the threads of one small step wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def sounds(spec: MelImageSpec) -> np.ndarray:
    """Windows of many kinds, ``float32 (N, window_samples)``."""
    n, rate = spec.window_samples, spec.sample_rate
    t = np.arange(n) / rate
    random = np.random.default_rng(3)
    clicks = np.zeros(n)
    clicks[::8000] = 0.9
    return np.stack(
        [
            0.3 * np.sin(2 * np.pi * 440 * t),
            0.01 * np.sin(2 * np.pi * 7900 * t),
            0.2 * np.sin(2 * np.pi * (50 * t + 790 * t**2)),
            0.05 * random.standard_normal(n),
            1e-5 * random.standard_normal(n),
            clicks,
            np.zeros(n),
            pad_window(speechlike(1.7, rate), spec),
            50 * speechlike(spec.seconds, rate)[:n],
            np.full(n, 0.2),
        ]
    ).astype(np.float32)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_within_one_grey_level_of_the_numpy_image(spec, device):
    windows = sounds(spec)
    images = MelImage(spec).to(device)(torch.from_numpy(windows).to(device)).cpu().numpy()
    assert images.dtype == np.float32
    assert images.shape == (len(windows), 1, *spec.shape)
    np.testing.assert_array_equal(images, np.rint(images))
    wanted = np.stack([mel_image(window, spec) for window in windows]).astype(float)
    assert wanted.max() == 255
    gaps = np.abs(images[:, 0] - wanted)
    assert gaps.max() <= 1
    assert (gaps > 0).mean() < 0.01  # and hardly ever as far


def test_real_recordings_are_within_one_grey_level(data):
    clips = sorted((data / "ravdess48k").rglob("*.wav"))
    assert clips
    windows = np.stack([pad_window(decode.load(clip, 16_000)[:80_000], DEFAULT) for clip in clips])
    images = MelImage(DEFAULT)(torch.from_numpy(windows))[:, 0].numpy()
    for clip, window, image in zip(clips, windows, images, strict=True):
        assert np.abs(image - mel_image(window, DEFAULT)).max() <= 1, clip.name


def test_a_window_s_picture_does_not_depend_on_the_batch():
    windows = torch.from_numpy(sounds(DEFAULT))
    twin = MelImage(DEFAULT)
    images = twin(windows)
    for row in range(len(windows)):
        assert (twin(windows[row : row + 1])[0] - images[row]).abs().max() <= 1
    assert twin(windows[:0]).shape == (0, 1, *DEFAULT.shape)


def test_reduced_precision_around_it_changes_nothing():
    windows = torch.from_numpy(sounds(DEFAULT)[:4])
    twin = MelImage(DEFAULT)
    with torch.autocast("cpu", torch.bfloat16):
        images = twin(windows)
    assert images.dtype == torch.float32
    assert torch.equal(images, twin(windows))


def test_nothing_of_it_goes_into_a_checkpoint():
    assert not MelImage(DEFAULT).state_dict()


@pytest.mark.parametrize("shape", [(80_000,), (2, 79_999), (2, 1, 80_000)])
def test_what_is_no_batch_of_windows_is_refused(shape):
    with pytest.raises(ValueError, match="they should be"):
        MelImage(DEFAULT)(torch.zeros(shape))
