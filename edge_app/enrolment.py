"""Clips of a person -> their profile."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
import numpy.typing as npt

from edge_app.classifier import Classifier
from edge_app.inference.profile_store import ProfileError
from edge_app.inference.runtime import DeviceError
from ser_edge.audio.base import AudioError
from ser_edge.profiles import MIN_CLIPS, Profile, check_name

WHY_SO_MANY: Final = (
    f"{MIN_CLIPS} are needed, one for each emotion: the profile is the mean of what the model says "
    "of a voice, and with fewer chance decides it"
)


@dataclass(frozen=True)
class ClipLogits:
    """Logits of a person's clips, without a profile.

    Parameters
    ----------
    logits : tuple of ndarray
        Of each clip that counts, ``float64 (classes,)``, before temperature.
    silent : tuple of str
        Clips that say nothing.
    failed : tuple of AudioError or DeviceError
        Of clips that cannot be used.
    """

    logits: tuple[npt.NDArray[np.float64], ...]
    silent: tuple[str, ...]
    failed: tuple[AudioError | DeviceError, ...]

    def counts(self, labels: tuple[str, ...]) -> dict[str, int]:
        """Label -> clips in which it has the highest score; labels without a clip left out."""
        best = [int(values.argmax()) for values in self.logits]
        return {label: best.count(i) for i, label in enumerate(labels) if i in best}


def clip_logits(
    classifier: Classifier,
    names: Iterable[str],
    opened: Callable[[str], str | BinaryIO] = str,
) -> ClipLogits:
    """Listen to a person's clips; one that fails does not stop the rest.

    Parameters
    ----------
    classifier : Classifier
        Its own profile and labels play no part.
    names : iterable of str
        Of sounds; paths, unless ``opened`` says otherwise.
    opened : callable
        Name -> path or binary file object; may raise AudioError.
    """
    logits: list[npt.NDArray[np.float64]] = []
    silent: list[str] = []
    failed: list[AudioError | DeviceError] = []
    for name in names:
        try:
            found = classifier.logits(opened(name))
        except (AudioError, DeviceError) as error:
            failed.append(error)
            continue
        if found is None:
            silent.append(name)
        else:
            logits.append(found)
    return ClipLogits(tuple(logits), tuple(silent), tuple(failed))


def make_profile(name: str, clips: ClipLogits, classifier: Classifier) -> Profile:
    """The profile of a person whose clips were scored by ``classifier``.

    Raises
    ------
    ProfileError
        The name is not fit for one, or too few clips count.
    """
    try:
        check_name(name)
    except ValueError as error:
        raise ProfileError(str(error)) from None
    if len(clips.logits) < MIN_CLIPS:
        raise ProfileError(f"{len(clips.logits)} clips with speech could be read, {WHY_SO_MANY}")
    manifest = classifier.manifest
    return Profile.of_clips(
        name,
        clips.logits,
        model=manifest.name,
        weights_sha256=manifest.weights_sha256,
        labels=manifest.labels,
        temperature=manifest.calibration.temperature,
    )
