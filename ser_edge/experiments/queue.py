"""The queue of the experiments' runs: pictures first, then some trainings at a time.

Each run is a process of ``ser-edge train`` that writes into a log beside its folder. A finished
run is not run again and an unfinished one goes on, so the queue may be killed at any moment. The
process holds a lock on its log: what a killed queue left running is waited for, not run twice.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from tqdm import tqdm

from ser_edge.corpora import CORPORA, Problem
from ser_edge.data.render import read_index, render
from ser_edge.experiments.plan import Job
from ser_edge.mel.image import MelImageSpec
from ser_edge.runs.inference import METRICS

Rendering: TypeAlias = tuple[str, MelImageSpec]
"""A corpus as one specification shows it."""

_LOOK_EVERY: Final = 0.2
_TIME_TO_END: Final = 10.0


@dataclass(frozen=True)
class Places:
    """Where things lie.

    Parameters
    ----------
    data : Path
        A folder a corpus.
    images : Path
        Renderings: ``<corpus>``, taken where it is of the right specification, else
        ``<corpus>-<digest>``.
    train : tuple of str
        Python's arguments that run a training.
    options : tuple of str
        That it gets in every run, such as what is to follow it.
    """

    data: Path
    images: Path
    train: tuple[str, ...]
    options: tuple[str, ...] = ()


@dataclass
class _Running:
    """The processes of a queue, and what became of others."""

    processes: dict[subprocess.Popen[bytes], Job] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def run(
    jobs: Sequence[Job],
    places: Places,
    *,
    at_once: int = 1,
    progress: bool = True,
    after_each: Callable[[], object] = lambda: None,
) -> tuple[Problem, ...]:
    """Run what is not finished.

    Parameters
    ----------
    jobs : sequence of Job
        In order; a job that starts from another waits for it.
    places : Places
    at_once : int
        Trainings at a time; they share the cores evenly.
    progress : bool
        Show bars and a line a run.
    after_each : callable
        Called after each run that finished.

    Returns
    -------
    tuple of Problem
        Runs that failed with the last line of their logs, recordings that could not be rendered.

    Raises
    ------
    ValueError
        A corpus is needed and not there; nothing has been run then.
    """
    waiting = [job for job in jobs if not job.done]
    pictures, problems = make_pictures(waiting, places, progress=progress)
    running = _Running(problems=list(problems))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": str(max(1, (cores or 1) // at_once)),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    with tqdm(
        total=len(jobs),
        initial=len(jobs) - len(waiting),
        desc="experiments",
        unit="run",
        disable=not progress,
    ) as bar:
        try:
            while waiting or running.processes:
                _start(waiting, running, at_once, pictures, places, environment, progress)
                time.sleep(_LOOK_EVERY)
                finished = _gather(running)
                finished += [job for job in waiting if job.done]  # left running by a killed queue
                waiting = _possible([job for job in waiting if not job.done], running.problems)
                for _ in finished:
                    after_each()
                new = len(jobs) - len(waiting) - len(running.processes) - bar.n
                if new:  # a log file would else get a line every look
                    bar.update(new)
        finally:
            _stop(running.processes)
    return tuple(running.problems)


def make_pictures(
    jobs: Iterable[Job], places: Places, *, progress: bool = True
) -> tuple[dict[Rendering, Path], list[Problem]]:
    """Render what runs need and is not rendered yet.

    Returns
    -------
    dict
        Rendering -> its folder.
    list of Problem
        Recordings that could not be rendered.

    Raises
    ------
    ValueError
        A corpus is needed, for pictures or waveforms, and not there; nothing is rendered then.
    """
    wanted: dict[Rendering, Path] = {}
    missing: list[Rendering] = []
    for job in jobs:
        for corpus in (*job.experiment.corpora, *job.experiment.speech):
            rendering = (corpus, job.experiment.recipe.image)
            if rendering not in wanted:
                wanted[rendering] = _folder(rendering, places.images)
                if not _rendered(wanted[rendering], rendering[1]):
                    missing.append(rendering)
            heard = job.experiment.recipe.sound.any and corpus in job.experiment.corpora
            if (heard or rendering in missing) and not (places.data / corpus).is_dir():
                raise ValueError(f"{places.data / corpus}: {job} needs it, there is no such folder")
    problems: list[Problem] = []
    for corpus, spec in missing:
        scan = CORPORA[corpus].scan(places.data / corpus)
        if not scan.utterances:
            raise ValueError(f"{places.data / corpus}: no {corpus} recording in it")
        _say(progress, f"{wanted[corpus, spec]}: rendering {corpus}")
        report = render(scan.utterances, wanted[corpus, spec], spec, progress=progress)
        problems += report.problems
    return wanted, problems


def command(job: Job, pictures: Mapping[Rendering, Path], places: Places) -> list[str]:
    """The command line of a run."""
    experiment = job.experiment
    images, *also = (pictures[corpus, experiment.recipe.image] for corpus in experiment.corpora)
    words: list[str | Path] = [
        sys.executable, *places.train, images, job.folder, "--config", job.config,
        "--fold", job.fold, "--seed", str(job.seed), "--resume", "--quiet",
    ]  # fmt: skip
    if also:
        words += ["--also", *also]
    if experiment.recipe.sound.any:
        words += ["--sounds", *(places.data / corpus for corpus in experiment.corpora)]
    if job.start is not None:
        words += ["--from", job.start]
    if job.teachers:
        words += ["--teacher", *job.teachers]
    if job.average:
        words += ["--average", *job.average]
    if experiment.speech:
        rendered = (pictures[corpus, experiment.recipe.image] for corpus in experiment.speech)
        words += ["--gate-speech", *rendered]
    if job.refit is not None:
        words += ["--refit", job.refit]
    words += places.options
    return list(map(str, words))


def _start(
    waiting: list[Job],
    running: _Running,
    at_once: int,
    pictures: Mapping[Rendering, Path],
    places: Places,
    environment: Mapping[str, str],
    progress: bool,
) -> None:
    """Start the next runs, as many as there is room for."""
    elsewhere = 0
    for job in list(waiting):
        if len(running.processes) + elsewhere >= at_once:
            return
        if not all((needed / METRICS).is_file() for needed in job.needs):
            continue
        job.log.parent.mkdir(parents=True, exist_ok=True)
        with open(job.log, "ab") as log:
            try:
                fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                elsewhere += 1
                continue
            if job.done:  # between the last look and the lock
                continue
            _say(progress, f"{job}: training")
            process = subprocess.Popen(
                command(job, pictures, places),
                stdin=subprocess.DEVNULL,
                stdout=log,  # holds the lock as long as the process lives
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,  # Ctrl-C is ours; we pass it on
            )
        running.processes[process] = job
        waiting.remove(job)


def _gather(running: _Running) -> list[Job]:
    """Take away the processes that have ended; gives the runs that finished."""
    finished = []
    for process, job in list(running.processes.items()):
        status = process.poll()
        if status is None:
            continue
        del running.processes[process]
        if status == 0 and job.done:
            finished.append(job)
        else:
            running.problems.append(Problem(job.folder, _cause(job, status)))
    return finished


def _cause(job: Job, status: int) -> str:
    lines = [line for line in job.log.read_text(errors="replace").splitlines() if line.strip()]
    ended = f"exit status {status}" if status >= 0 else f"ended by signal {-status}"
    return f"{ended}: {lines[-1].strip() if lines else 'it said nothing'}; all of it: {job.log}"


def _possible(waiting: Sequence[Job], problems: list[Problem]) -> list[Job]:
    """The runs that need none that failed; adds a problem for each of the others."""
    possible = []
    for job in waiting:  # what is needed stands earlier
        failed = {problem.path for problem in problems}.intersection(job.needs)
        if failed:
            problems.append(Problem(job.folder, f"not run: {min(failed)} failed, which it needs"))
        else:
            possible.append(job)
    return possible


def _stop(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End processes and what they started: politely, then not."""
    left = list(processes)
    for process in left:
        _signal(process, signal.SIGTERM)
    until = time.monotonic() + _TIME_TO_END
    for process in left:
        try:
            process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            _signal(process, signal.SIGKILL)
            process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)


def _folder(rendering: Rendering, images: Path) -> Path:
    corpus, spec = rendering
    if _rendered(images / corpus, spec):
        return images / corpus
    return images / f"{corpus}-{hashlib.sha256(spec.to_json().encode()).hexdigest()[:8]}"


def _rendered(folder: Path, spec: MelImageSpec) -> bool:
    """Whether a whole rendering of a specification lies there; its index is written last."""
    try:
        return read_index(folder)[0] == spec
    except ValueError:
        return False


def _say(progress: bool, line: str) -> None:
    if progress:
        tqdm.write(line, file=sys.stderr)
