"""Which trackers record a training; nothing here needs torch, nor any of them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

import yaml

TENSORBOARD: Final = "tensorboard"
MLFLOW: Final = "mlflow"
WANDB: Final = "wandb"
NAMES: Final = (TENSORBOARD, MLFLOW, WANDB)
MODES: Final = ("online", "offline")


class TrackingError(RuntimeError):
    """A tracker cannot be reached or rejects the run; the message says which and why."""


@dataclass(frozen=True)
class Tracking:
    """Which trackers record a training, and where.

    Not part of a recipe: no figure depends on it, and a resumed run may have other trackers.

    Parameters
    ----------
    track : tuple of str
        Of :data:`NAMES`; empty for none.
    project : str
        MLflow's experiment and W&B's project.
    mlflow_uri : str
        MLflow's store or server; empty for ``MLFLOW_TRACKING_URI`` or, without that,
        ``sqlite:///mlflow.db`` here, which is where ``mlflow ui`` looks.
    wandb_mode : {"online", "offline"}
        ``offline`` writes to the run's folder alone, for ``wandb sync``. ``WANDB_MODE`` goes first.

    Raises
    ------
    ValueError
        If a value is not one of these.
    """

    track: tuple[str, ...] = (TENSORBOARD,)
    project: str = "ser-edge"
    mlflow_uri: str = ""
    wandb_mode: str = "online"

    def __post_init__(self) -> None:
        unknown = [name for name in self.track if name not in NAMES]
        if unknown:
            raise ValueError(f"track has {unknown[0]!r}, allowed: {', '.join(NAMES)}")
        if len(set(self.track)) < len(self.track):
            raise ValueError(f"track is {list(self.track)}, it should name nothing twice")
        if not self.project.strip():
            raise ValueError("project is empty, it should be a name")
        if self.wandb_mode not in MODES:
            raise ValueError(f"wandb_mode is {self.wandb_mode!r}, allowed: {', '.join(MODES)}")

    @classmethod
    def read(cls, path: Path) -> Tracking:
        """Read a file such as ``configs/tracking.yaml``; what it lacks keeps its default.

        Raises
        ------
        ValueError
            The file is missing or no YAML, or a value is impossible; the message names it.
        """
        known = [entry.name for entry in fields(cls)]
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
            if not isinstance(values, dict):
                raise ValueError(f"it should be a mapping of {', '.join(known)}")
            unknown = sorted(set(map(str, values)) - set(known))
            if unknown:
                raise ValueError(f"unknown {', '.join(unknown)}; known: {', '.join(known)}")
            return cls(**{name: _typed(name, value) for name, value in values.items()})
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from None


def add_tracking_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--tracking`` and ``--track``."""
    group = parser.add_argument_group("tracking (docs/how-to/tracking.md)")
    group.add_argument(
        "--tracking",
        type=Path,
        metavar="YAML",
        help="file that says which trackers record the training (such as configs/tracking.yaml)",
    )
    group.add_argument(
        "--track",
        nargs="*",
        metavar="NAME",
        help=f"{', '.join(NAMES)}, some of them or none; overrides the file "
        f"(default: {TENSORBOARD})",
    )


def tracking_of(options: argparse.Namespace) -> Tracking:
    """The tracking of a parsed command line.

    Raises
    ------
    ValueError
        As :class:`Tracking` and :meth:`Tracking.read`.
    """
    found = Tracking.read(options.tracking) if options.tracking else Tracking()
    return found if options.track is None else replace(found, track=tuple(options.track))


def words_of(options: argparse.Namespace) -> list[str]:
    """The options again, for a script that calls another."""
    words = ["--tracking", str(options.tracking)] if options.tracking else []
    return words if options.track is None else [*words, "--track", *options.track]


def _typed(name: str, value: Any) -> Any:
    if name == "track":
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise ValueError(f"track is {value!r}, it should be a list of names")
        return tuple(value)
    if not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, it should be text")
    return value
