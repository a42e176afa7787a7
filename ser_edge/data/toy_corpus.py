"""A corpus of machine voices, made by rule from two pairs of clips and named as RAVDESS names its
own, so that rendering, training and exporting can be tried where RAVDESS is not.

Its emotions are manners of a machine voice (faster, shaking, gliding up, ...): what a network
learns of them says nothing about anybody's voice, and no figure on them is worth quoting. Each
made-up actor has a pitch and an articulation of their own, so that there is something to be learnt
of an actor, too: a division of clips at random leaks here as it does with people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import soundfile

from ser_edge.audio.decode import load
from ser_edge.data.splits import EMOBOX_TEST_ACTORS, FINAL_TEST_FOLD
from ser_edge.emotions import EMOTIONS
from ser_edge.files import whole_file

Float32 = npt.NDArray[np.float32]

RATE: Final = 16_000
REPETITIONS: Final = 2
ACTORS: Final = tuple(a for a in range(1, 25) if a not in EMOBOX_TEST_ACTORS[FINAL_TEST_FOLD])
"""RAVDESS's, except those that are held out."""

_SECONDS: Final = 3.5
_VOICES: Final = 0.22
"""Actors' voices lie up to this far apart, as a natural logarithm of the pitch, either way."""

_WOBBLE: Final = 0.05
"""The same of one clip beside the next of its actor and emotion."""


@dataclass(frozen=True)
class Manner:
    """What is done to a clip.

    Parameters
    ----------
    speed : float
        Tempo and pitch together, a factor.
    glide : float
        By how much the speed has grown at the clip's end, as a share.
    shake, depth : float
        How often a second the loudness goes up and down, and by which share.
    tilt : float
        Dark to bright, -0.9 to 0.9: the coefficient of a filter of one tap.
    """

    speed: float = 1.0
    glide: float = 0.0
    shake: float = 0.0
    depth: float = 0.0
    tilt: float = 0.0


MANNERS: Final[Mapping[str, Manner]] = MappingProxyType(
    {
        "neutral": Manner(),
        "calm": Manner(speed=0.9, tilt=-0.5),
        "happy": Manner(speed=1.12, glide=0.15, shake=3.0, depth=0.3),
        "sad": Manner(speed=0.85, glide=-0.2, tilt=-0.3),
        "angry": Manner(speed=1.08, tilt=0.7),
        "fearful": Manner(speed=1.15, shake=11.0, depth=0.6),
        "disgust": Manner(speed=0.95, glide=-0.1, shake=6.0, depth=0.7, tilt=0.3),
        "surprised": Manner(speed=1.05, glide=0.35),
    }
)


def make_toy_corpus(
    out: Path,
    men: Sequence[Path],
    women: Sequence[Path],
    actors: Sequence[int] = ACTORS,
    seed: int = 1,
) -> int:
    """Write ``Actor_NN/03-01-EE-01-SS-RR-NN.wav`` for every actor, emotion and sentence, twice.

    Parameters
    ----------
    out : Path
        Folder of the corpus; what lies there under the same names is written anew.
    men, women : sequence of Path
        Two clips each, the two sentences: of actors with odd and with even numbers.
    actors : sequence of int
        As RAVDESS numbers them, 1 to 24.
    seed : int
        Of all that is drawn: the same gives the same bytes.

    Returns
    -------
    int
        Number of clips.

    Raises
    ------
    ValueError
        Not two clips each, or no such actor.
    AudioError
        A clip cannot be read.
    """
    for name, clips in (("men", men), ("women", women)):
        if len(clips) != 2:
            raise ValueError(f"{name} are {len(clips)} clips, allowed: 2, one a sentence")
    unknown = [actor for actor in actors if not 1 <= actor <= 24]
    if unknown:
        raise ValueError(f"actor is {unknown[0]}, allowed: 1 to 24")
    voices = {False: [_sound(p) for p in women], True: [_sound(p) for p in men]}
    made = 0
    for actor in actors:
        folder = out / f"Actor_{actor:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        drawn = np.random.default_rng([seed, actor])
        pitch = float(np.exp(drawn.uniform(-_VOICES, _VOICES)))
        # How much of a manner this actor puts on, and how they sound without any.
        acting, tilt = drawn.uniform(0.6, 1.2), drawn.uniform(-0.25, 0.25)
        for number, emotion in enumerate(EMOTIONS, 1):
            for sentence, voice in enumerate(voices[actor % 2 == 1], 1):
                for repetition in range(1, REPETITIONS + 1):
                    wobble = float(np.exp(drawn.uniform(-_WOBBLE, _WOBBLE)))
                    sound = spoken(voice, MANNERS[emotion], pitch * wobble, acting, tilt)
                    noise = 1e-3 * drawn.standard_normal(len(sound))
                    name = f"03-01-{number:02d}-01-{sentence:02d}-{repetition:02d}-{actor:02d}.wav"
                    with whole_file(folder / name) as file:
                        soundfile.write(file, sound + noise, RATE, "PCM_16", format="WAV")
                    made += 1
    return made


def spoken(
    voice: Float32, manner: Manner, pitch: float = 1.0, acting: float = 1.0, tilt: float = 0.0
) -> Float32:
    """A voice in a manner.

    Parameters
    ----------
    voice : ndarray
        ``float32 (n,)`` at :data:`RATE`.
    manner : Manner
    pitch : float
        The actor's own speed, a factor on the manner's.
    acting : float
        How much of the manner is done; 0 is none of it.
    tilt : float
        The actor's own, on top of the manner's.

    Returns
    -------
    ndarray
        ``float32 (m,)``, peak 0.5.
    """
    speed = pitch * manner.speed**acting
    length = round(len(voice) / speed)
    # Where in the voice each sample of the clip comes from: the speed grows linearly by the glide.
    time = np.linspace(0.0, 1.0, length)
    glide = manner.glide * acting
    source = (time + 0.5 * glide * (time**2 - time)) * (len(voice) - 1)
    sound = np.interp(source, np.arange(len(voice)), voice)
    seconds = np.arange(length) / RATE
    sound *= 1 - acting * manner.depth * 0.5 * (1 + np.sin(2 * np.pi * manner.shake * seconds))
    bright = float(np.clip(acting * manner.tilt + tilt, -0.9, 0.9))
    sound = sound - bright * np.concatenate([sound[:1], sound[:-1]])
    peak = np.abs(sound).max(initial=0.0)
    return np.asarray(0.5 * sound / max(float(peak), 1e-9), dtype=np.float32)


def _sound(path: Path) -> Float32:
    return load(path, RATE)[: round(_SECONDS * RATE)]
