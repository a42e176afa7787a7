"""Rendered mel images -> tensors."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import Dataset

from ser_edge.emotions import emotion_index
from ser_edge.melimage import MelImageSpec, UInt8
from ser_edge.rendering import Picture


@dataclass(frozen=True)
class Clip:
    """One utterance and its windows: ``images uint8 (windows, n_mels, frames)``."""

    rows: tuple[Picture, ...]
    images: UInt8

    @property
    def emotion(self) -> int:
        """Index of the label."""
        return emotion_index(self.rows[0].emotion)

    @property
    def speaker(self) -> str:
        return self.rows[0].speaker


def load_clips(folder: Path, rows: Sequence[Picture], spec: MelImageSpec) -> list[Clip]:
    """Read the pictures of a rendering.

    Parameters
    ----------
    folder : Path
        Where the rendering lies.
    rows : sequence of Picture
        The rows wanted; all windows of an utterance make one clip.
    spec : MelImageSpec
        Its shape is checked.

    Returns
    -------
    list of Clip
        Sorted by corpus and utterance.

    Raises
    ------
    ValueError
        A picture is missing or not a mel image of that specification.
    """

    def read(row: Picture) -> UInt8:
        try:
            with Image.open(folder / row.image) as image:
                pixels = np.asarray(image)
        except OSError as error:
            raise ValueError(f"{folder / row.image}: {error}") from None
        if pixels.dtype != np.uint8 or pixels.shape != spec.shape:
            raise ValueError(
                f"{folder / row.image}: {pixels.dtype} {pixels.shape}, it should be uint8 "
                f"{spec.shape}"
            )
        return pixels

    groups: dict[tuple[str, str], list[Picture]] = {}
    for row in rows:
        groups.setdefault((row.corpus, row.utterance), []).append(row)
    with ThreadPoolExecutor() as pool:
        clips = []
        for key in sorted(groups):
            group = sorted(groups[key], key=lambda row: row.window)
            clips.append(Clip(tuple(group), np.stack(list(pool.map(read, group)))))
    return clips


class TrainingClips(Dataset[tuple[torch.Tensor, int]]):
    """One item an utterance: a random window of it, as ``uint8 (1, n_mels, frames)``, and label.

    Windows that are hardly speech (the silent tail of a long clip) are drawn accordingly seldom.
    """

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._clips = clips

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        clip = self._clips[index]
        window = 0
        if len(clip.rows) > 1:
            weights = torch.tensor([row.speech + 1e-6 for row in clip.rows])
            window = int(torch.multinomial(weights, 1))
        return torch.from_numpy(clip.images[window][None]), clip.emotion


class AllWindows(Dataset[torch.Tensor]):
    """Every window of every clip in order, as ``uint8 (1, n_mels, frames)``."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._images = [image for clip in clips for image in clip.images]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self._images[index][None])
