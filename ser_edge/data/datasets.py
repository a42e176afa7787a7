"""Rendered mel images and recordings -> tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset, Sampler
from tqdm import tqdm

from ser_edge.audio.decode import load
from ser_edge.audio.files import files_below, sound_suffixes
from ser_edge.audio.windows import cut_windows
from ser_edge.config.recipe import Recipe
from ser_edge.corpora.own import recording_name
from ser_edge.data.audio_augment import SoundToImage
from ser_edge.data.render import MelImageRow
from ser_edge.emotions import emotion_index
from ser_edge.mel.image import UInt8, pad_window
from ser_edge.mel.spec import MelImageSpec

Int16 = npt.NDArray[np.int16]

EVAL_BATCH: Final = 64
"""Windows a batch when they are scored."""

INT16_PEAK: Final = 32767.0
"""Sounds wait in memory as 16-bit samples, half of what floats need."""


@dataclass(frozen=True)
class Clip:
    """One utterance and its windows: ``images uint8 (windows, n_mels, frames)``."""

    rows: tuple[MelImageRow, ...]
    images: UInt8

    @property
    def emotion(self) -> int:
        """Index of the label."""
        return emotion_index(self.rows[0].emotion)

    @property
    def utterance(self) -> str:
        return self.rows[0].utterance

    @property
    def speaker(self) -> str:
        return self.rows[0].speaker


def load_clips(folder: Path, rows: Sequence[MelImageRow], spec: MelImageSpec) -> list[Clip]:
    """Read the mel images of a rendering.

    Parameters
    ----------
    folder : Path
        Where the rendering lies.
    rows : sequence of MelImageRow
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
        An image is missing or not a mel image of that specification.
    """

    def read(row: MelImageRow) -> UInt8:
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

    groups: dict[tuple[str, str], list[MelImageRow]] = {}
    for row in rows:
        groups.setdefault((row.corpus, row.utterance), []).append(row)
    with ThreadPoolExecutor() as pool:
        clips = []
        for key in sorted(groups):
            group = sorted(groups[key], key=lambda row: row.window)
            clips.append(Clip(tuple(group), np.stack(list(pool.map(read, group)))))
    return clips


def find_sounds(folders: Sequence[Path]) -> dict[str, Path]:
    """Sound files by the utterances that they may be: by stem or by path.

    Parameters
    ----------
    folders : sequence of Path
        Searched through; ``DC_a01`` may be ``DC/a01.wav``.

    Returns
    -------
    dict
        Name -> file; of equal names the first.

    Raises
    ------
    ValueError
        There is no such folder.
    """
    found: dict[str, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(f"{folder}: there is no such folder")
        for path in files_below(folder, sound_suffixes()):
            inside = f"{path.parent.name}_{path.stem}"  # SAVEE by speaker
            for name in (path.stem, inside, recording_name(path, folder)):
                found.setdefault(name, path)
    return found


def load_sounds(
    folders: Sequence[Path], clips: Sequence[Clip], spec: MelImageSpec, *, progress: bool = False
) -> list[Int16]:
    """Read the recordings that the mel images of clips were made of.

    Parameters
    ----------
    folders : sequence of Path
        As :func:`find_sounds` takes them.
    clips : sequence of Clip
    spec : MelImageSpec
        Its sample rate is the one read to.
    progress : bool
        Show a bar.

    Returns
    -------
    list of ndarray
        ``int16 (samples,)`` for each clip.

    Raises
    ------
    ValueError
        A folder or a recording is missing or cannot be read; the message names it.
    """
    found = find_sounds(folders)
    missing = [clip.utterance for clip in clips if clip.utterance not in found]
    if missing:
        raise ValueError(
            f"{', '.join(map(str, folders)) or 'no folder of sounds'}: no recording of "
            f"{len(missing)} of {len(clips)} clips, the first {missing[0]}"
        )

    def read(clip: Clip) -> Int16:
        waveform = load(found[clip.utterance], spec.sample_rate)
        return np.rint(waveform.clip(-1, 1) * INT16_PEAK).astype(np.int16)

    with ThreadPoolExecutor() as pool:
        return list(
            tqdm(
                pool.map(read, clips),
                total=len(clips),
                desc="reading sounds",
                unit="clip",
                disable=not progress,
            )
        )


_COPIES_AT_ONCE: Final = 16
_BABBLE_CLIPS: Final = 128

Key: TypeAlias = tuple[int, int]
"""Epoch and number of a clip: all that a training item's random choices depend on."""


class EpochBatches(Sampler[list[Key]]):
    """Full batches of a shuffled epoch; each of several processes gets its part of every batch.

    The order depends on seed and epoch alone, so a resumed run sees what an uninterrupted one
    would.

    Parameters
    ----------
    clips : int
        Number of clips. What does not fill a batch waits for the next shuffle; fewer clips than a
        batch holds are repeated.
    batch_size : int
        Clips a step in all processes together, a multiple of twice their number.
    seed : int
    rank, world : int
        Number of this process, and of all.
    parts : int
        Batches that a step is computed in, each ``batch_size / parts`` clips.

    Raises
    ------
    ValueError
        If the batch cannot be divided.
    """

    def __init__(
        self, clips: int, batch_size: int, seed: int, rank: int = 0, world: int = 1, parts: int = 1
    ) -> None:
        if batch_size % (2 * world):
            raise ValueError(
                f"batch_size is {batch_size}, {world} processes need a multiple of {2 * world}"
            )
        self._clips, self._batch_size, self._seed = clips, batch_size, seed
        self._rank, self._share, self._parts = rank, batch_size // world, parts
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._batches * self._parts

    @property
    def _batches(self) -> int:
        return max(1, self._clips // self._batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        order = np.random.default_rng([self._seed, self._epoch]).permutation(self._clips)
        order = np.resize(order, self._batches * self._batch_size)
        size = self._share // self._parts
        for batch in range(self._rank * self._share, len(order), self._batch_size):
            for first in range(batch, batch + self._share, size):
                yield [(self._epoch, int(i)) for i in order[first : first + size]]


class TrainingClips(Dataset[tuple[torch.Tensor, int, int]]):
    """One item an utterance: mel image, ``uint8 (channels, n_mels, frames)``, number and label.

    Windows that are hardly speech (the silent tail of a long clip) are drawn accordingly seldom.

    Parameters
    ----------
    clips : sequence of Clip
    seed : int
    copies : sequence of ndarray, optional
        For each clip further images of it, ``uint8 (copies, channels, n_mels, frames)``; they
        and the clip itself, which is the same in all channels, are equally likely.
    """

    def __init__(
        self, clips: Sequence[Clip], seed: int, copies: Sequence[UInt8] | None = None
    ) -> None:
        self._clips, self._seed, self._copies = clips, seed, copies

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int, int]:
        clip = self._clips[key[1]]
        random = np.random.default_rng([self._seed, *key])
        channels = 1
        if self._copies is not None:
            copies = self._copies[key[1]]
            channels = copies.shape[1]
            chosen = int(random.integers(len(copies) + 1))
            if chosen < len(copies):
                return torch.from_numpy(copies[chosen]), key[1], clip.emotion
        window = 0
        if len(clip.rows) > 1:
            weights = np.array([row.speech + 1e-6 for row in clip.rows])
            window = int(random.choice(len(weights), p=weights / weights.sum()))
        image = np.repeat(clip.images[window][None], channels, axis=0)
        return torch.from_numpy(image), key[1], clip.emotion


class TrainingSounds(Dataset[tuple[torch.Tensor, int, int, int]]):
    """One item an utterance: ``float32 (samples,)`` of fixed length, its own, number and label.

    A quarter more than a window is given where there is so much, from a random place: a stage that
    hastens the sound still fills its window.
    """

    MARGIN: Final = 1.25

    def __init__(
        self, clips: Sequence[Clip], sounds: Sequence[Int16], spec: MelImageSpec, seed: int
    ) -> None:
        self._clips, self._sounds, self._seed = clips, sounds, seed
        self._samples = round(self.MARGIN * spec.window_samples)

    def __len__(self) -> int:
        return len(self._clips)

    def __getitem__(self, key: Key) -> tuple[torch.Tensor, int, int, int]:
        sound = self._sounds[key[1]]
        random = np.random.default_rng([self._seed, *key])
        first = int(random.integers(max(0, sound.size - self._samples) + 1))
        part = sound[first : first + self._samples]
        waveform = np.zeros(self._samples, dtype=np.float32)
        np.divide(part, INT16_PEAK, out=waveform[: part.size], dtype=np.float32)
        return torch.from_numpy(waveform), part.size, key[1], self._clips[key[1]].emotion


def babble_bank(sounds: TrainingSounds, share: float, spec: MelImageSpec) -> torch.Tensor:
    """Voices to make babble of: the same few training clips in every process.

    Parameters
    ----------
    sounds : TrainingSounds
    share : float
        Of the clips that get babble; without any there are no voices.
    spec : MelImageSpec

    Returns
    -------
    Tensor
        ``float32 (clips, window_samples)``.
    """
    chosen = np.linspace(0, len(sounds) - 1, min(len(sounds), _BABBLE_CLIPS)).astype(int)
    if not share:
        chosen = chosen[:0]
    bank = torch.zeros(len(chosen), spec.window_samples)
    for row, number in zip(bank, chosen, strict=True):
        row[:] = sounds[0, int(number)][0][: spec.window_samples]
    return bank


@torch.no_grad()
def changed_copies(
    sounds: TrainingSounds, to_image: nn.Module, copies: int, seed: int, *, progress: bool = False
) -> list[UInt8]:
    """Change every waveform so many times and keep the mel images.

    To change waveforms costs more than to train a small network on their images; a few copies of
    each, which the augmentation of images multiplies, do.

    Parameters
    ----------
    sounds : TrainingSounds
    to_image : nn.Module
        A batch of waveforms and lengths -> ``float32 (N, channels, n_mels, frames)``.
    copies : int
    seed : int
    progress : bool
        Show a bar.

    Returns
    -------
    list of ndarray
        For each clip ``uint8 (copies, channels, n_mels, frames)``.
    """
    made: list[list[UInt8]] = [[] for _ in range(len(sounds))]
    keys = [(copy, number) for copy in range(copies) for number in range(len(sounds))]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for first in tqdm(
            range(0, len(keys), _COPIES_AT_ONCE), desc="changing sounds", disable=not progress
        ):
            part = keys[first : first + _COPIES_AT_ONCE]
            waveforms, lengths, _, _ = zip(*(sounds[key] for key in part), strict=True)
            changed = to_image(torch.stack(waveforms), torch.tensor(lengths))
            for (_, number), image in zip(part, changed.round().byte().numpy(), strict=True):
                made[number].append(image)
    return [np.stack(images) for images in made]


class AllWindows(Dataset[torch.Tensor]):
    """Every window of every clip in order, as ``uint8 (1, n_mels, frames)``."""

    def __init__(self, clips: Sequence[Clip]) -> None:
        self._images = [image for clip in clips for image in clip.images]

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.from_numpy(self._images[index][None])


class AllSoundWindows(Dataset[torch.Tensor]):
    """The waveforms of the same windows, as ``float32 (window_samples,)``.

    Parameters
    ----------
    clips : sequence of Clip
    sounds : sequence of ndarray
        Of each clip, as :func:`load_sounds` gives them.
    spec : MelImageSpec

    Raises
    ------
    ValueError
        A recording has other windows than its images: it is another one.
    """

    def __init__(self, clips: Sequence[Clip], sounds: Sequence[Int16], spec: MelImageSpec) -> None:
        self._spec, self._sounds = spec, sounds
        self._places: list[tuple[int, int]] = []
        for number, (clip, sound) in enumerate(zip(clips, sounds, strict=True)):
            silence = np.zeros(sound.size, dtype=np.float32)
            starts = [
                w.start for w in cut_windows([silence], spec.window_samples, spec.hop_samples)
            ]
            if len(starts) != len(clip.rows):
                raise ValueError(
                    f"{clip.utterance}: its recording has {len(starts)} windows, its rendering "
                    f"{len(clip.rows)}: it was made of another recording"
                )
            self._places += [(number, start) for start in starts]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> torch.Tensor:
        number, start = self._places[index]
        part = self._sounds[number][start : start + self._spec.window_samples]
        waveform = np.divide(part, INT16_PEAK, dtype=np.float32)
        return torch.from_numpy(pad_window(waveform, self._spec))


@dataclass(frozen=True)
class TrainingData:
    """Tensors of a run.

    Attributes
    ----------
    dataset : Dataset
        Items of training clips, by :data:`Key`.
    windows : mapping
        Windows of the scored clips in order, by part (``validation``, ``test``).
    window_batch : int
        Windows a batch when they are scored.
    """

    dataset: Dataset[Any]
    windows: Mapping[str, Dataset[torch.Tensor]]
    window_batch: int = EVAL_BATCH


def training_set(
    training: Sequence[Clip], folders: Sequence[Path], recipe: Recipe, *, progress: bool
) -> tuple[TrainingClips | TrainingSounds, nn.Module | None]:
    """Training clips -> training set, and what makes mel images of its waveforms if it has any.

    ``folders`` hold the recordings, where the recipe changes waveforms.

    Raises
    ------
    ValueError
        A recording is missing or cannot be read; the message names it.
    """
    if not recipe.sound.any:
        return TrainingClips(training, recipe.seed), None
    waveforms = load_sounds(folders, training, recipe.image, progress=progress)
    dataset = TrainingSounds(training, waveforms, recipe.image, recipe.seed)
    sound = SoundToImage(
        recipe.sound,
        recipe.image,
        babble_bank(dataset, recipe.sound.babble, recipe.image),
        paired=bool(recipe.distill) and recipe.sound.spoilt,
    )
    if not recipe.copies:
        return dataset, sound
    copies = changed_copies(dataset, sound, recipe.copies, recipe.seed, progress=progress)
    return TrainingClips(training, recipe.seed, copies), None
