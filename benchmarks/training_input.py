#!/usr/bin/env python3
"""Samples a second of the training input: rendered pictures, waveforms, augmented waveforms.

Each is what reaches the network: float grey levels on its device; beside them what the network
itself takes, forward and backward. Run it on a quiet machine.
Prints a table and writes benchmarks/training_input.json.

example:
  python benchmarks/training_input.py --threads 4
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader

from ser_edge.config.augmentation import SoundStrengths
from ser_edge.config.recipe import Recipe
from ser_edge.data.audio_augment import SoundToImage
from ser_edge.files import write_whole
from ser_edge.mel.image import mel_image, pad_window
from ser_edge.mel.spec import MelImageSpec
from ser_edge.mel.torch import MelImage
from ser_edge.nets import build_net
from ser_edge.provenance import provenance

STRENGTHS = SoundStrengths(
    noise=0.3, babble=0.15, gain=6.0, shift=1.0, speed=0.1, pitch=2.0, reverb=0.3, echo=0.1
)


def voice(seconds: float, rate: int, seed: int) -> np.ndarray:
    """Harmonics with a moving pitch in syllables, ``float32 (n,)``."""
    random = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = 120 + 80 * random.random() + 30 * np.sin(2 * np.pi * random.random() * t)
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    syllables = np.maximum(0, np.sin(2 * np.pi * (3 + random.random()) * t)) ** 2
    sound = 0.1 * sum(np.sin(k * phase) / k for k in range(1, 12)) * syllables
    return (sound + 1e-3 * random.standard_normal(t.size)).astype(np.float32)


def collate(sounds: list[np.ndarray]) -> tuple[torch.Tensor, torch.Tensor]:
    """Sounds -> ``float32 (N, longest)``, zeros after each, and ``int64 (N,)`` lengths."""
    lengths = torch.tensor([sound.size for sound in sounds])
    waveforms = torch.zeros(len(sounds), int(lengths.max()))
    for row, sound in zip(waveforms, sounds, strict=True):
        row[: sound.size] = torch.from_numpy(sound)
    return waveforms, lengths


def measure(
    contestants: dict[str, tuple[Iterable, Callable]], clips: int, device: str, rounds: int
) -> dict[str, float]:
    """Median samples a second of each, turn by turn."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, (loader, pictures) in contestants.items():
            begin = time.perf_counter()
            for batch in loader:
                pictures(*(part.to(device, non_blocking=True) for part in batch))
            if device == "cuda":
                torch.cuda.synchronize()
            if turn:  # the first is warm-up
                rates[name].append(clips / (time.perf_counter() - begin))
    return {name: round(statistics.median(values), 1) for name, values in rates.items()}


def learner(device: str) -> Callable[[torch.Tensor], None]:
    """A step of the shipped network, forward and backward, in float32."""
    net = build_net(Recipe()).to(device, memory_format=torch.channels_last)

    def step(images: torch.Tensor) -> None:
        net(images.float()).square().mean().backward()

    return step


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7, help="turns each (default: 7)")
    parser.add_argument("--clips", type=int, default=256, help="clips an epoch (default: 256)")
    parser.add_argument("--batch-size", type=int, default=32, help="default: 32")
    parser.add_argument("--workers", type=int, default=0, help="loader processes (default: 0)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default: 1)")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    spec = MelImageSpec()
    seconds = np.random.default_rng(0).uniform(2.5, spec.seconds, options.clips)
    sounds = [voice(float(s), spec.sample_rate, seed) for seed, s in enumerate(seconds)]
    images = [torch.from_numpy(mel_image(sound, spec)[None]) for sound in sounds]
    windows = torch.from_numpy(np.stack([pad_window(sound, spec) for sound in sounds[:128]]))
    twins = MelImage(spec)(windows)[:, 0].numpy()
    gap = max(
        int(np.abs(twin - image[0].numpy()).max())
        for twin, image in zip(twins, images, strict=False)
    )

    def loader(items: list, gather: Callable | None = None) -> DataLoader:
        return DataLoader(
            items,
            options.batch_size,
            shuffle=True,
            num_workers=options.workers,
            persistent_workers=options.workers > 0,
            pin_memory=torch.cuda.is_available(),
            collate_fn=gather,
            generator=torch.Generator(),
        )

    pictures = loader(images, lambda items: (torch.stack(items),))
    waveforms = loader(sounds, collate)
    found = {}
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        plain = SoundToImage(SoundStrengths(), spec, windows).to(device)
        augmented = SoundToImage(STRENGTHS, spec, windows).to(device)
        found[device] = measure(
            {
                "pictures": (pictures, torch.Tensor.float),
                "waveforms, loader alone": (waveforms, lambda *_: None),
                "waveforms": (waveforms, plain),
                "waveforms, augmented": (waveforms, augmented),
                "network alone": (pictures, learner(device)),
            },
            options.clips,
            device,
            options.rounds,
        )
        for name, rate in found[device].items():
            print(f"{device:<5} {name:<23} {rate:10.1f} samples/s   {1e3 / rate:7.3f} ms each")
    print(f"largest difference between twin and NumPy image: {gap} grey level")
    result = {
        "what": "samples a second of the training input, median",
        "samples_per_second": found,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "strengths": asdict(STRENGTHS),
        "rounds": options.rounds,
        "clips": options.clips,
        "batch_size": options.batch_size,
        "workers": options.workers,
        "threads": options.threads,
        "largest_difference_in_grey_levels": gap,
        "versions": {name: version(name) for name in ("numpy", "torch", "torchaudio")},
        "provenance": provenance(),
    }
    write_whole(options.out, json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
