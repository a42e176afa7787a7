"""Ray Data scores the shards that have no file yet, on this machine or on a cluster.

A shard is a row of the dataset and a task of an actor. An actor or a machine that dies loses the
shard that it was at; Ray gives it to another. Nothing else is kept in Ray: a shard is done when its
file is there, so that a driver that was killed is resumed too, and no shard is in the result twice.
(Ray's own checkpoints keep a list of finished ids beside the data, and filter by it.)
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from edge_app.archive.plan import Plan, Planned
from edge_app.archive.scoring import ClassifierSpec, Scorer, Tally, part_name, tally_of
from edge_app.archive.storage import Folder, one_line
from edge_app.inference.devices import DeviceError
from edge_app.threads import cores
from ser_edge.files import UNFINISHED

OBJECT_STORE_BYTES: Final = 128 * 2**20
"""Of a Ray that is started here. It holds numbers of shards and no more."""

EXIT_EARLY: Final = 3
"""Exit status of a run that ended early, in place of that for clips with an error."""

_INIT_DEATHS: Final = 3  # workers killed while they compile the network, before one gets through
_READERS: Final = 16  # threads that read the files of earlier runs
_LOCK: Final = ".lock"

_PROBLEMS: Final = (DeviceError, OSError, ValueError)
_COLUMNS: Final = ("shard", "clips", "failed", "problem")

_Task: TypeAlias = tuple[str, Planned, ClassifierSpec]
"""What a :class:`Scorer` takes."""


class ArchiveError(RuntimeError):
    """The run has ended early; the same command resumes it."""


@dataclass(frozen=True)
class Cluster:
    """Where to run.

    Parameters
    ----------
    address : str, optional
        Of a Ray cluster: ``auto``, ``host:6379``, ``ray://host:10001``. Without it, Ray is started
        on this machine and ends with the program.
    actors : int, optional
        Classifiers at once, at the most; without it, as many as processors allow.

    Raises
    ------
    ValueError
        No actor.
    """

    address: str | None = None
    actors: int | None = None

    def __post_init__(self) -> None:
        if self.actors is not None and self.actors < 1:
            raise ValueError(f"actors are {self.actors}, allowed: 1 or more")


@dataclass(frozen=True)
class Outcome:
    """What is in the result: ``clips``, of which ``failed`` have an error, ``found`` before."""

    clips: int
    failed: int
    found: int


def score(
    folder: Folder,
    planned: Planned,
    spec: ClassifierSpec,
    cluster: Cluster,
    *,
    again: bool = False,
    progress: bool = True,
) -> Outcome:
    """Score what is left of a plan.

    Parameters
    ----------
    folder : Folder
        It holds the plan, and gets the result.
    planned : Planned
    spec : ClassifierSpec
    cluster : Cluster
    again : bool
        Also score shards with an error once more.
    progress : bool
        Show a bar in a terminal.

    Returns
    -------
    Outcome
        All clips are in it, those of earlier runs too.

    Raises
    ------
    ArchiveError
        A worker could not begin, the device failed for good, or the folder cannot be written.
    OSError
        The folder cannot be read.
    """
    from tqdm import tqdm

    sizes = Plan(folder).sizes
    _sweep(folder)
    done = _tallies(folder, sizes, planned.sha256)
    if again:
        for tally in [tally for tally in done.values() if tally.failed]:
            folder.delete(part_name(tally.shard))
            del done[tally.shard]
    found = sum(tally.clips for tally in done.values())
    failed = sum(tally.failed for tally in done.values())
    left = [shard for shard in range(len(sizes)) if shard not in done]
    with tqdm(
        total=planned.clips,
        initial=found,
        unit="clip",
        disable=None if progress else True,  # None: in a terminal alone
    ) as bar:
        bar.set_postfix(errors=failed)
        task = (folder.where, planned, spec)
        for tally in _scored(left, task, cluster, bar.set_description) if left else ():
            bar.set_description("scoring", refresh=False)
            failed += tally.failed
            bar.set_postfix(errors=failed, refresh=False)
            bar.update(tally.clips)
    done = _tallies(folder, sizes, planned.sha256)  # from the files
    if len(done) < len(sizes):
        raise ArchiveError(f"{len(sizes) - len(done)} of {len(sizes)} shards have no file")
    return Outcome(planned.clips, sum(tally.failed for tally in done.values()), found)


@contextmanager
def only_one(folder: Folder) -> Iterator[None]:
    """Keep other programs on this machine from the same folder.

    Raises
    ------
    ValueError
        One is running there.
    """
    if folder.path is None:
        yield
        return
    Path(folder.path).mkdir(parents=True, exist_ok=True)
    with open(Path(folder.path, _LOCK), "ab") as lock:
        try:
            _lock(lock.fileno())
        except (BlockingIOError, PermissionError):
            raise ValueError(f"{folder.where}: another run is writing there") from None
        yield


def _lock(descriptor: int) -> None:
    """Lock a file until it is closed; BlockingIOError or PermissionError where another holds it."""
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


class RayScorer:
    """A :class:`Scorer` as Ray Data calls it: a batch of numbers of shards -> their tallies.

    An error is a value as well, ``problem``: Ray's own errors are pages long.
    """

    def __init__(self, *task: Any) -> None:
        self._problem = ""
        try:
            self._scorer = Scorer(*task)
        except _PROBLEMS as error:
            self._problem = one_line(error)

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        batched: dict[str, list[Any]] = {name: [] for name in _COLUMNS}
        for shard in map(int, batch["shard"]):
            tally, problem = Tally(shard, 0, 0), self._problem
            if not problem:
                try:
                    tally = self._scorer.score(shard)
                except _PROBLEMS as error:
                    problem = one_line(error)
            for name, value in (*asdict(tally).items(), ("problem", problem)):
                batched[name].append(value)
        return batched


def _scored(
    left: Sequence[int], task: _Task, cluster: Cluster, describe: Callable[[str], None]
) -> Iterator[Tally]:
    """Tallies of shards, as they are done; ``describe`` takes what is done meanwhile."""
    describe("starting Ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it reports to nobody
    import ray
    import ray.data

    threads = task[-1].threads
    started_here = {
        "num_cpus": threads * cluster.actors if cluster.actors else cores(),
        "object_store_memory": OBJECT_STORE_BYTES,
        "include_dashboard": False,
    }
    try:
        ray.init(
            address=cluster.address or "local",
            logging_level=logging.ERROR,
            log_to_driver=False,
            **({} if cluster.address else started_here),
        )
    except Exception as error:  # it raises Exception itself, where a machine is slow
        where = f"at {cluster.address}" if cluster.address else "on this machine"
        raise ArchiveError(f"Ray {where} is not available: {one_line(error)}") from None
    describe("starting workers")
    try:
        yield from _through_ray(ray, left, task, cluster.actors, threads)
    except ray.exceptions.RayError as error:
        cause = str(error).strip() or type(error).__name__
        raise ArchiveError(f"Ray gave up: {cause.splitlines()[-1]}") from None
    finally:
        ray.shutdown()


def _through_ray(
    ray: Any, left: Sequence[int], task: _Task, actors: int | None, threads: int
) -> Iterator[Tally]:
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False  # ours counts clips
    context.print_on_execution_start = False
    context.max_consecutive_actor_init_deaths = _INIT_DEATHS
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    shards = ray.data.from_items(
        [{"shard": shard} for shard in left], override_num_blocks=len(left)
    )
    tallies = shards.map_batches(
        RayScorer,
        fn_constructor_args=task,
        batch_size=1,
        num_cpus=threads,
        # One is enough to begin with, and more come as processors do: machines may join later.
        compute=ray.data.ActorPoolStrategy(
            min_size=1, max_size=min(actors or len(left), len(left))
        ),
    )
    for batch in tallies.iter_batches(batch_size=None, prefetch_batches=0, batch_format="numpy"):
        for *values, problem in zip(*(batch[name] for name in _COLUMNS), strict=True):
            if problem:
                raise ArchiveError(str(problem))
            yield Tally(*map(int, values))


def _tallies(folder: Folder, sizes: Sequence[int], plan_sha256: str) -> dict[int, Tally]:
    """What earlier runs left: shard -> its tally."""
    there = set(folder.names())
    shards = [shard for shard in range(len(sizes)) if part_name(shard) in there]
    with ThreadPoolExecutor(_READERS) as readers:
        tallies = readers.map(
            lambda shard: tally_of(folder, shard, plan_sha256, sizes[shard]), shards
        )
        return {tally.shard: tally for tally in tallies if tally is not None}


def _sweep(folder: Folder) -> None:
    """Take away what workers left that were killed while they wrote."""
    for name in folder.names():
        if name.startswith(".") and name.endswith(UNFINISHED):
            folder.delete(name)
