"""A pool of processes for work on many clips."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def process_pool(workers: int | None) -> Iterator[Executor]:
    """A pool whose processes share the cores and end with the program.

    Parameters
    ----------
    workers : int or None
        Processes; None for one a core, 0 for none: the jobs run in this one, one by one.

    Yields
    ------
    Executor
        Its processes are spawned, not forked, and use one BLAS thread each. If the block is left by
        an error or a signal, waiting jobs are cancelled; if the program is killed, its processes
        end by themselves.
    """
    with _one_blas_thread(), _pool(workers) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _pool(workers: int | None) -> Executor:
    if workers == 0:
        return ThreadPoolExecutor(1)
    return ProcessPoolExecutor(
        workers or os.cpu_count(),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_end_with_parent,
    )


def _end_with_parent() -> None:
    """Leave Ctrl-C to the parent process, and end when it has ended in any way.

    A process that waits for a job would outlive a killed parent: it holds both ends of the queue.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Let processes started in this block use one BLAS thread each: they share the cores."""
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
