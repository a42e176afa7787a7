"""A person's profile: a model's bias for one voice, and its correction.

A model is biased, for each voice, towards some emotions: one person gets high scores for sad
whatever they say. The mean of the logits over clips in which the person speaks *with all emotions
in about equal parts* estimates that bias without labels, and a part of it is subtracted from the
logits of later clips. It is the correction of class priors (Saerens et al. 2002, doi
10.1162/089976602753284446) with the person's mean log score as the prior, made smaller where there
are few clips and bounded, so that clips which hold but one emotion do little harm.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

SHRINKAGE: Final = 8.0
"""Of the bias over n clips, n / (n + 8) is subtracted: half of it with 8 clips, 0.79 with 30."""

BOUND: Final = 1.0
"""Nats: before they are made to sum to 1, no score is multiplied or divided by more than e."""

MIN_CLIPS: Final = 8
"""One clip for each emotion; with fewer, chance decides the mean."""

KIND: Final = "ser-edge profile"
VERSION: Final = 1

MAX_NAME: Final = 40
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)
_DEVICES: Final = {"con", "prn", "aux", "nul"} | {
    f"{d}{n}" for d in ("com", "lpt") for n in range(10)
}
"""Names that Windows reserves for devices."""


def check_name(name: str) -> None:
    """Raise ValueError unless a profile may have this name, which becomes that of a file."""
    if len(name) > MAX_NAME or not _NAME.fullmatch(name) or name.lower() in _DEVICES:
        raise ValueError(
            f"a profile's name is {name[: MAX_NAME + 20]!r}, allowed: up to {MAX_NAME} of "
            "A-Z a-z 0-9 _ -, a letter or digit first (and no device of Windows such as con)"
        )


def correction(
    logits: npt.ArrayLike,
    clips: int,
    temperature: float,
    *,
    shrinkage: float = SHRINKAGE,
    bound: float = BOUND,
) -> Float64:
    """What is added to logits, in nats of the scores, that is after division by the temperature.

    Parameters
    ----------
    logits : array_like
        ``(classes,)``, mean over the person's clips.
    clips : int
        How many; 1 or more.
    temperature : float
        Of the model.
    shrinkage : float
        Number of clips at which half of the bias is subtracted; 0 subtracts all of it.
    bound : float
        Nats, of the correction of each class.

    Returns
    -------
    ndarray
        ``float64 (classes,)``, from ``-bound`` to ``bound``; positive where the model
        scores too low.
    """
    bias = np.asarray(logits, dtype=np.float64) / temperature
    bias = bias - bias.mean()
    return np.asarray(np.clip(-bias * clips / (clips + shrinkage), -bound, bound))


@dataclass(frozen=True)
class Profile:
    """What is stored of a person's voice. No sound can be made from it, but it is personal data.

    Parameters
    ----------
    name : str
        What it is called, fit for the name of a file (:func:`check_name`).
    model : str
        Name of the model that it was made with.
    weights_sha256 : str
        Of that model's weights; FP16 and INT8 of the same weights share their profiles.
    labels : tuple of str
        What the logits belong to.
    temperature : float
        Of that model; 0.01 to 100.
    clips : int
        How many contain speech; silent ones do not count.
    mean_logits : tuple of float
        Mean of the clips' logits, before temperature.

    Raises
    ------
    ValueError
        A value that does not fit; the message names it and what is allowed.
    """

    name: str
    model: str
    weights_sha256: str
    labels: tuple[str, ...]
    temperature: float
    clips: int
    mean_logits: tuple[float, ...]

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.clips < 1:
            raise ValueError(f"clips are {self.clips}, allowed: 1 or more")
        if not 0.01 <= self.temperature <= 100:
            raise ValueError(f"temperature is {self.temperature}, allowed: 0.01 to 100")
        if len(self.labels) < 2 or len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels are {' '.join(self.labels)!r}, allowed: different names")
        if len(self.mean_logits) != len(self.labels):
            raise ValueError(
                f"there are {len(self.mean_logits)} mean_logits for {len(self.labels)} labels"
            )
        if not all(math.isfinite(value) for value in self.mean_logits):
            raise ValueError("mean_logits are not all finite numbers")

    @classmethod
    def of_clips(
        cls,
        name: str,
        logits: npt.ArrayLike,
        *,
        model: str,
        weights_sha256: str,
        labels: Sequence[str],
        temperature: float,
    ) -> Profile:
        """The profile of a person whose clips have these logits, ``(clips, classes)``.

        Raises
        ------
        ValueError
            No clip, another number of logits than of labels, or as the class.
        """
        values = np.asarray(logits, dtype=np.float64)
        if values.ndim != 2 or not len(values):
            raise ValueError(f"logits are {values.shape}, they should be (clips, classes)")
        mean = tuple(values.mean(axis=0).tolist())
        return cls(name, model, weights_sha256, tuple(labels), temperature, len(values), mean)

    @property
    def correction(self) -> Float64:
        """What is added in nats of the scores, ``float64 (classes,)``."""
        return correction(self.mean_logits, self.clips, self.temperature)

    def apply(self, logits: npt.ArrayLike) -> Float64:
        """Logits of clips or windows, before temperature to corrected logits.

        Parameters
        ----------
        logits : array_like
            ``(..., classes)``.

        Returns
        -------
        ndarray
            ``float64 (..., classes)``.
        """
        return np.asarray(logits, dtype=np.float64) + self.temperature * self.correction

    def check_model(self, name: str, weights_sha256: str, labels: Sequence[str]) -> None:
        """Raise ValueError unless this profile was made with the weights of a model."""
        if self.weights_sha256 != weights_sha256 or self.labels != tuple(labels):
            of = self.model if self.model != name else f"other weights of {name}"
            raise ValueError(
                f"profile {self.name} was made with {of} (weights {self.weights_sha256[:12]}...) "
                f"and means nothing to {name} (weights {weights_sha256[:12]}...): enrol again "
                f"with -m {name}"
            )

    def to_json(self) -> str:
        """Text that :meth:`from_json` reads."""
        return json.dumps({"kind": KIND, "version": VERSION, **asdict(self)}, indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Profile:
        """Read what :meth:`to_json` wrote.

        Raises
        ------
        ValueError
            No JSON, something else, another version, or a value that does not fit; the message
            says which.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError):
            raise ValueError("it is no JSON") from None
        if not isinstance(values, dict) or values.get("kind") != KIND:
            raise ValueError("it is no profile: edge-app enroll writes profiles")
        if values.get("version") != VERSION:
            raise ValueError(
                f"version is {values.get('version')!r}, this program reads {VERSION}: enrol again"
            )
        return cls(
            name=_text(values, "name"),
            model=_text(values, "model"),
            weights_sha256=_text(values, "weights_sha256"),
            labels=tuple(_texts(values, "labels")),
            temperature=_number(values, "temperature"),
            clips=_whole(values, "clips"),
            mean_logits=tuple(_numbers(values, "mean_logits")),
        )


def _text(values: dict[str, Any], key: str) -> str:
    value = values.get(key)
    if not isinstance(value, str):
        raise ValueError(f"{key} is {value!r:.60}, it should be text")
    return value


def _texts(values: dict[str, Any], key: str) -> list[str]:
    value = values.get(key)
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError(f"{key} is {value!r:.60}, it should be a list of names")
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e9


def _number(values: dict[str, Any], key: str) -> float:
    value = values.get(key)
    if not _is_number(value):
        raise ValueError(f"{key} is {value!r:.60}, it should be a number")
    return float(values[key])


def _whole(values: dict[str, Any], key: str) -> int:
    value = values.get(key)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{key} is {value!r:.60}, it should be a whole number")
    return value


def _numbers(values: dict[str, Any], key: str) -> list[float]:
    value = values.get(key)
    if not isinstance(value, list) or not all(_is_number(item) for item in value):
        raise ValueError(f"{key} is {value!r:.60}, it should be a list of numbers")
    return [float(item) for item in value]
