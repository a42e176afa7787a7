"""TensorBoard, MLflow, Weights & Biases: one class each over Lightning's loggers.

Curves come from Lightning. What is added here is the same for all: the recipe, the run time, the
GPU's memory, and at the end figures, confusion matrices and the run's files. A resumed run is the
same run there: their names for it are in ``tracking.json`` of its folder.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol, TypeAlias

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from ser_edge.config.base import BaseRecipe
from ser_edge.config.tracking import MLFLOW, TENSORBOARD, WANDB, Tracking, TrackingError
from ser_edge.files import write_whole
from ser_edge.runs.record import Epoch, first_line
from ser_edge.training.confusion_image import confusion_image

IDS: Final = "tracking.json"
"""In a run's folder: what the trackers call it."""

_MLFLOW_STORE: Final = "sqlite:///mlflow.db"
_MIB: Final = 2**20
_REPORTED: Final = ("uar", "accuracy", "macro_f1", "nll", "ece", "clips")


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers show it: ``values`` are the recipe's and the fold, by name."""

    out: Path
    name: str
    values: Mapping[str, str | int | float | bool]
    tracking: Tracking


class Tracker(Protocol):
    """One tracker of one run. Nothing is written before :meth:`begin`."""

    @property
    def logger(self) -> Logger: ...

    def begin(self, known: str | None) -> str | None:
        """Begin a run, or resume the one called ``known``; its name there, if it has one."""

    def finish(
        self, figures: Mapping[str, float], images: Mapping[str, Any], files: Sequence[Path]
    ) -> None:
        """Write the results of the run; images are Pillow's."""

    def fail(self) -> None:
        """The training failed."""


class _TensorBoard:
    """The run's folder itself: files lie there already, and no name is needed to resume."""

    def __init__(self, run: TrackedRun) -> None:
        self._run = run
        self.logger = TensorBoardLogger(
            str(run.out), name="", version="tensorboard", default_hp_metric=False
        )

    def begin(self, known: str | None) -> str | None:
        return None

    def finish(
        self, figures: Mapping[str, float], images: Mapping[str, Any], files: Sequence[Path]
    ) -> None:
        self.logger.log_hyperparams(dict(self._run.values), dict(figures))
        for name, image in images.items():
            self.logger.experiment.add_image(name, np.asarray(image), dataformats="HWC")
        self.logger.finalize("success")

    def fail(self) -> None:
        self.logger.finalize("failed")


class _MlflowLogger(MLFlowLogger):
    """Lightning's, whose errors are one sentence."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        with _mlflow_errors():
            super().log_metrics(metrics, step)

    def finalize(self, status: str = "success") -> None:
        with _mlflow_errors():
            super().finalize(status)


class _Mlflow:
    """A store or a server of MLflow's."""

    def __init__(self, run: TrackedRun) -> None:
        _needs(MLFLOW)
        self._run = run
        uri = run.tracking.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI", "") or _MLFLOW_STORE
        logging.getLogger("alembic").setLevel(logging.WARNING)  # a store's tables, one by one
        logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)
        with _mlflow_errors():
            self.logger = _MlflowLogger(run.tracking.project, run.name, uri)

    def begin(self, known: str | None) -> str | None:
        if known is not None:
            self.logger._run_id = known
        with _mlflow_errors():
            name = self.logger.run_id
            client = self.logger.experiment
            if known is not None:
                client.update_run(known, status="RUNNING")
            self.logger.log_hyperparams(dict(self._run.values))
        return name

    def finish(
        self, figures: Mapping[str, float], images: Mapping[str, Any], files: Sequence[Path]
    ) -> None:
        name, client = self.logger.run_id, self.logger.experiment
        with _mlflow_errors():
            for key, value in figures.items():
                client.log_metric(name, key, value)
            for key, image in images.items():
                client.log_image(name, image, f"{key}.png")
            for path in files:
                client.log_artifact(name, str(path))
            client.set_terminated(name, "FINISHED")

    def fail(self) -> None:
        """Lightning has done so already."""


class _Wandb:
    """A server of Weights & Biases, or a folder ``wandb`` in the run's, to be sent later."""

    def __init__(self, run: TrackedRun) -> None:
        _needs(WANDB)
        import wandb

        self._run = run
        self.logger = WandbLogger(
            run.name,
            save_dir=run.out,
            project=run.tracking.project,
            mode=os.environ.get("WANDB_MODE", run.tracking.wandb_mode),
            # What a run prints is in its log; paths of the code are private.
            settings=wandb.Settings(silent=True, console="off", disable_git=True),
        )
        self.logger._wandb_init.pop("anonymous")  # an option that W&B has removed

    def begin(self, known: str | None) -> str | None:
        import wandb

        if wandb.run is not None:  # an earlier run of this process that failed after its fit
            wandb.finish(exit_code=1)
        self.logger._wandb_init["id"] = known
        try:
            name = str(self.logger.experiment.id)
        except Exception as error:  # of its own kinds, and of its service's
            raise TrackingError(
                f"W&B: {first_line(error)} (wandb login, or WANDB_MODE=offline)"
            ) from None
        self.logger.log_hyperparams(dict(self._run.values))
        return name

    def finish(
        self, figures: Mapping[str, float], images: Mapping[str, Any], files: Sequence[Path]
    ) -> None:
        import wandb

        run = self.logger.experiment
        run.log({name: wandb.Image(image) for name, image in images.items()})
        run.summary.update(dict(figures))
        artifact = wandb.Artifact(f"run-{run.id}", type="run")
        for path in files:
            artifact.add_file(str(path))
        run.log_artifact(artifact)
        run.finish(exit_code=0)

    def fail(self) -> None:
        import wandb

        if wandb.run is not None:
            wandb.finish(exit_code=1)


TRACKERS: Final[Mapping[str, Callable[[TrackedRun], Tracker]]] = MappingProxyType(
    {TENSORBOARD: _TensorBoard, MLFLOW: _Mlflow, WANDB: _Wandb}
)
"""Name -> what makes the tracker of a run."""


class Recorder(Callback):
    """All trackers of a run.

    Parameters
    ----------
    tracking : Tracking
    out : Path
        Folder of the run.
    recipe : BaseRecipe
    fold : str

    Raises
    ------
    ValueError
        A tracker's library is not installed; the message names the extra.
    """

    def __init__(self, tracking: Tracking, out: Path, recipe: BaseRecipe, fold: str) -> None:
        values = {**recipe.flat(), "fold": fold}
        run = TrackedRun(out, f"{recipe.name}-fold-{fold}-seed-{recipe.seed}", values, tracking)
        self._out = out
        self._trackers = {name: TRACKERS[name](run) for name in tracking.track}
        self._epoch_began = 0.0

    @property
    def loggers(self) -> list[Logger]:
        """For Lightning's trainer."""
        return [tracker.logger for tracker in self._trackers.values()]

    def begin(self) -> None:
        """Begin or resume the run with all trackers; in the leading process alone.

        Before the fit: Lightning's first act there is to make its loggers begin.

        Raises
        ------
        TrackingError
            A tracker cannot be reached.
        ValueError
            :data:`IDS` is damaged.
        """
        ids = _read_ids(self._out / IDS)
        for name, tracker in self._trackers.items():
            given = tracker.begin(ids.get(name))
            if given is not None and ids.get(name) != given:
                ids[name] = given
                write_whole(self._out / IDS, json.dumps(ids, indent=2) + "\n")

    def on_train_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        # A kill loses what was not written yet: W&B writes every 15 seconds, and Lightning logs an
        # epoch after its checkpoint. So the curves up to here are logged again; the same values.
        for entry in pl_module.history if trainer.current_epoch else ():
            curves = [name for name in entry if name.startswith(("train_", "validation_"))]
            found = {name.replace("_", "/", 1): entry[name] for name in curves}
            steps = trainer.global_step // trainer.current_epoch
            self._log({"epoch": entry["epoch"], **found}, (entry["epoch"] + 1) * steps)

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        self._epoch_began = time.monotonic()
        if pl_module.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(pl_module.device)

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        found = {
            "time/epoch_seconds": time.monotonic() - self._epoch_began,
            "time/run_seconds": pl_module.seconds,
            **gpu_memory(pl_module.device),
        }
        self._log(found, trainer.global_step)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: Any, exception: BaseException
    ) -> None:
        if trainer.is_global_zero:
            for tracker in self._trackers.values():
                tracker.fail()

    def _log(self, values: Mapping[str, float], steps: int) -> None:
        for logger in self.loggers:  # Lightning, too, counts from 0
            logger.log_metrics(dict(values), steps - 1)

    def finish(self, figures: Mapping[str, Any], seconds: float, files: Sequence[Path]) -> None:
        """Write the results of the run to all trackers.

        Parameters
        ----------
        figures : dict
            As :func:`ser_edge.metrics.classification.figures` gives them, by part.
        seconds : float
            Of the fit.
        files : sequence of Path

        Raises
        ------
        TrackingError
            A tracker cannot be reached. The others have the results.
        """
        results = {"result/seconds": seconds}
        for part, found in figures.items():
            results |= {f"result/{part}_{n}": found[n] for n in _REPORTED}
        images = {
            f"confusion-{part}": confusion_image(found["confusion"], part)
            for part, found in figures.items()
        }
        problems = []
        for tracker in self._trackers.values():
            try:
                tracker.finish(results, images, files)
            except TrackingError as error:
                problems.append(str(error))
        if problems:
            raise TrackingError("; ".join(problems))


Watch: TypeAlias = "Callable[[Epoch], None]"


class EpochCallback(Callback):
    """Calls ``watch`` with the figures of each epoch; of several processes the first alone."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def on_train_epoch_end(self, trainer: lightning.Trainer, pl_module: Any) -> None:
        if not trainer.is_global_zero:
            return
        found = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self._watch(
            Epoch(
                trainer.current_epoch,
                train_loss=found.get("train/loss"),
                validation_uar=found.get("validation/uar"),
                validation_nll=found.get("validation/nll"),
                lr=float(trainer.optimizers[0].param_groups[0]["lr"]),
            )
        )


def gpu_memory(device: torch.device) -> dict[str, float]:
    """Highest memory of an epoch in MiB: held by tensors, and taken by torch; none on a CPU."""
    if device.type != "cuda":
        return {}
    return {
        "gpu/allocated_mib": torch.cuda.max_memory_allocated(device) / _MIB,
        "gpu/reserved_mib": torch.cuda.max_memory_reserved(device) / _MIB,
    }


def _read_ids(path: Path) -> dict[str, str]:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: {error}; without it trackers begin a new run") from None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise ValueError(f"{path}: it should name a run for each tracker; remove it to begin anew")
    return found


def _needs(name: str) -> None:
    from importlib.util import find_spec

    if find_spec(name) is None:
        raise ValueError(f"{name} is not installed: pip install 'ser-edge[{name}]'")


@contextmanager
def _mlflow_errors() -> Iterator[None]:
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        raise TrackingError(f"MLflow: {first_line(error)}") from None
