"""The runs of experiments as Ray tasks, on this machine or on a cluster.

A task is a process of the training command that writes into a log beside its run's folder. The
folders hold all state: a finished run is not repeated and an unfinished one is resumed, so that the
series may be stopped at any moment. The machines of a cluster must see data, images and runs under
the same paths (a shared folder), and have the same ser-edge installed.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from tqdm import tqdm

from ser_edge.corpora import Problem
from ser_edge.experiments.images import Rendering, make_images
from ser_edge.experiments.plan import AVERAGE, REFIT, START, TEACHERS, PlannedRun
from ser_edge.runs.inference import METRICS
from ser_edge.runs.record import first_line

_OPTIONS: Final = {
    START: "--from",
    TEACHERS: "--teacher",
    AVERAGE: "--average",
    REFIT: "--refit",
}
_POLL_SECONDS: Final = 0.2
_SECONDS_TO_ANSWER: Final = 10.0
_SECONDS_TO_END: Final = 15.0  # of a training that is stopped; then Ray kills it
_OBJECT_STORE_BYTES: Final = 100_000_000  # what tasks hand over is a few lines of text


@dataclass(frozen=True)
class Training:
    """The training command and its folders.

    Parameters
    ----------
    data : Path
        A folder for each corpus.
    images : Path
        Renderings, as :func:`ser_edge.experiments.images.make_images` takes them.
    command : sequence of str
        Arguments of the Python interpreter: a script, or ``-m`` and a module.
    options : sequence of str
        Further options of every run, such as its trackers.
    """

    data: Path
    images: Path
    command: Sequence[str]
    options: Sequence[str] = ()


@dataclass(frozen=True)
class Resources:
    """What the runs may use.

    Parameters
    ----------
    address : str or None
        Of a Ray cluster, ``auto`` or ``host:port``; None starts Ray on this machine.
    jobs : int
        Runs at a time on this machine. On a cluster its CPUs and GPUs decide.
    cpus : int or None
        Of a run. None: this machine's divided by ``jobs``, 1 on a cluster.
    gpus : float or None
        Of a run, below 1 for a share of one. None: this machine's divided by ``jobs``, 0 on a
        cluster.

    Raises
    ------
    ValueError
        A value is out of its range.
    """

    address: str | None = None
    jobs: int = 1
    cpus: int | None = None
    gpus: float | None = None

    def __post_init__(self) -> None:
        for name in ("jobs", "cpus"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}, allowed: 1 or more")
        if self.gpus is not None and (self.gpus < 0 or (self.gpus > 1 and self.gpus % 1)):
            raise ValueError(f"gpus is {self.gpus}, allowed: 0 to 1 or a whole number")
        if self.address is not None and self.jobs != 1:
            raise ValueError("jobs is for this machine: on a cluster give cpus and gpus of a run")


def run(
    runs: Sequence[PlannedRun],
    training: Training,
    resources: Resources,
    *,
    progress: bool = True,
    after_each: Callable[[], object] = lambda: None,
) -> tuple[Problem, ...]:
    """Run what is not finished.

    Parameters
    ----------
    runs : sequence of PlannedRun
        A run stands below those that it depends on.
    training : Training
    resources : Resources
    progress : bool
        Show a bar and a line a run.
    after_each : callable
        Called after each run.

    Returns
    -------
    tuple of Problem
        Runs that failed with the last line of their logs, recordings that could not be rendered.

    Raises
    ------
    ValueError
        Ray or a corpus is missing, or no machine has the CPUs and GPUs; nothing has been run then.
    ConnectionError
        Ray cannot be started or reached.
    """
    waiting = [each for each in runs if not each.finished]
    if not waiting:
        return ()
    if importlib.util.find_spec("ray") is None:
        raise ValueError("Ray is not installed: pip install 'ser-edge[experiments]'")
    folders, problems = make_images(waiting, training.data, training.images, progress=progress)
    _say(progress, f"{len(waiting)} of {len(runs)} runs to do, logs such as {waiting[0].log}")
    _say(progress, f"starting Ray: {resources.address or 'this machine'}")
    bar = tqdm(
        total=len(runs),
        initial=len(runs) - len(waiting),
        desc="experiments",
        unit="run",
        disable=not progress,
    )
    with (
        bar,
        _ray(resources) as (ray, task),
        closing(_results(ray, _submit(task, waiting, folders, training))) as results,
    ):
        for folder, problem in results:
            problems += [] if problem is None else [problem]
            _say(progress, f"{folder}: {'finished' if problem is None else problem.cause}")
            bar.update()
            after_each()
    return tuple(problems)


def command(run: PlannedRun, images: Mapping[Rendering, Path], training: Training) -> list[str]:
    """A planned run -> the arguments of the Python interpreter that trains it."""
    experiment = run.experiment
    spec = experiment.recipe.image
    rendered = {corpus: path for (corpus, of), path in images.items() if of == spec}
    first, *also = (rendered[corpus] for corpus in experiment.corpora)
    words: list[str | Path] = [
        *training.command, first, run.folder, "--config", run.config,
        "--fold", run.fold, "--seed", str(run.seed), "--resume", "--quiet",
    ]  # fmt: skip
    sounds = [training.data / corpus for corpus in experiment.corpora]
    for option, paths in (
        ("--also", also),
        ("--sounds", sounds if experiment.recipe.sound.any else ()),
        *((_OPTIONS[key], paths) for key, paths in run.networks.items()),
        ("--gate-speech", [rendered[corpus] for corpus in experiment.speech]),
    ):
        words += [option, *paths] if paths else []
    return list(map(str, [*words, *training.options]))


@contextmanager
def _ray(resources: Resources) -> Iterator[tuple[Any, Any]]:
    """Ray, and the remote function that trains a run."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    share = 1 if resources.address else max(1, (cores or 1) // resources.jobs)
    cpus = resources.cpus or share
    here = {
        "num_cpus": cpus * resources.jobs,
        "object_store_memory": _OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }
    on_sigterm = signal.getsignal(signal.SIGTERM)
    try:
        _check_reachable(resources.address)
        ray.init(
            address=resources.address or "local",
            logging_level=logging.ERROR,
            log_to_driver=False,
            **({} if resources.address else here),
        )
    except Exception as error:  # Ray raises Exception itself where a machine is slow
        where = f"at {resources.address}" if resources.address else "on this machine"
        raise ConnectionError(f"Ray {where} cannot be used: {first_line(error)}") from None
    try:
        signal.signal(signal.SIGTERM, on_sigterm)  # Ray has set its own
        gpus = resources.gpus
        if gpus is None:
            gpus = (
                0 if resources.address else ray.cluster_resources().get("GPU", 0) / resources.jobs
            )
            gpus = gpus if gpus < 1 else gpus // 1
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        if not any(n.get("CPU", 0) >= cpus and n.get("GPU", 0) >= gpus for n in nodes):
            raise ValueError(f"a run takes {cpus} CPUs and {gpus} GPUs: no machine has them")
        yield ray, ray.remote(_train).options(num_cpus=cpus, num_gpus=gpus)
    finally:
        ray.shutdown()


def _check_reachable(address: str | None) -> None:
    """Raise OSError where nobody answers at ``host:port``: Ray itself tries for minutes."""
    host, _, port = (address or "").rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host, int(port)), _SECONDS_TO_ANSWER).close()


def _submit(
    task: Any, runs: Sequence[PlannedRun], images: Mapping[Rendering, Path], training: Training
) -> dict[Any, Path]:
    """Runs -> their tasks, each of which waits for those that it depends on."""
    tasks: dict[Path, Any] = {}
    for run in runs:
        paths = [path for folders in run.networks.values() for path in folders]
        needed = [tasks[path] for path in paths if path in tasks]
        words = command(run, images, training)
        tasks[run.folder] = task.remote(run.folder, run.log, words, Path.cwd(), *needed)
    return {task: folder for folder, task in tasks.items()}


def _results(
    ray: Any, tasks: Mapping[Any, Path]
) -> Generator[tuple[Path, Problem | None], None, None]:
    """Folders of runs as they end, with what went wrong; if this is closed early, all are ended."""
    left = dict(tasks)
    try:
        while left:
            (ref, *_), _ = ray.wait(list(left))
            folder = left.pop(ref)
            try:
                yield folder, ray.get(ref)
            except ray.exceptions.RayError as error:  # a machine was lost, or its memory was full
                yield folder, Problem(folder, f"Ray: {str(error).strip().splitlines()[-1]}")
    finally:
        for ref in left:
            ray.cancel(ref)
        if left:
            ray.wait(list(left), num_returns=len(left), timeout=_SECONDS_TO_END)


def _train(
    folder: Path, log: Path, words: Sequence[str], cwd: Path, *needed: Problem | None
) -> Problem | None:
    """Train one run in a process of its own, after those that it needs -> what went wrong."""
    failed = next((problem for problem in needed if problem is not None), None)
    if failed is not None:
        return Problem(folder, f"not run: {failed.path} failed, which it needs")
    (cwd / log).parent.mkdir(parents=True, exist_ok=True)
    with open(cwd / log, "ab") as out:
        _lock(out)
        if (cwd / folder / METRICS).is_file():
            return None
        process = subprocess.Popen(
            [sys.executable, *words],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=out,  # holds the lock as long as the process lives
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},  # Ray sets OMP_NUM_THREADS
        )
        try:
            while process.poll() is None:  # what Ray cancels with interrupts no longer wait
                time.sleep(_POLL_SECONDS)
        finally:
            process.terminate()
            process.wait()
    if process.returncode == 0 and (cwd / folder / METRICS).is_file():
        return None
    status = process.returncode
    ended = f"exit status {status}" if status >= 0 else f"ended by signal {-status}"
    lines = [line for line in (cwd / log).read_text(errors="replace").splitlines() if line.strip()]
    return Problem(folder, f"{ended}: {lines[-1].strip() if lines else 'no output'}; log: {log}")


def _lock(log: IO[bytes]) -> None:
    """Wait until no other process trains into this log, such as one that a killed series left."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    while True:
        try:
            fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_POLL_SECONDS)
        else:
            return


def _say(progress: bool, line: str) -> None:
    if progress:
        tqdm.write(line, file=sys.stderr)
