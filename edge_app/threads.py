"""Work done ahead by threads: items in order, and what an iterator gives next."""

from __future__ import annotations

import os
import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_JOIN_SECONDS: Final = 2.0
_WITHOUT_THREAD: Final = 3


class Stopped(Exception):  # noqa: N818  # no error
    """What work may raise when it sees that nobody waits for it any more."""


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    work: Callable[[Item, threading.Event], Result], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """``work(item, stop)`` of every item, in the items' order, by threads ahead of the reader.

    Results of at most ``2 * workers`` items are under way or kept. Where the reader stops early,
    ``stop`` is set, and work should end with :class:`Stopped`.

    Parameters
    ----------
    work : callable
        What it raises is raised here, in its turn, and ends the whole.
    items : iterable
        Taken one by one, in the reader's thread.
    workers : int
        Threads, 1 or more.

    Yields
    ------
    What ``work`` returns.
    """
    jobs: queue.SimpleQueue[tuple[Item, Future[Result]] | None] = queue.SimpleQueue()
    stop = threading.Event()

    def serve() -> None:
        while (job := jobs.get()) is not None and not stop.is_set():
            item, promise = job
            try:
                promise.set_result(work(item, stop))
            except BaseException as error:
                promise.set_exception(error)

    threads: list[threading.Thread] = []
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            if len(threads) < workers:  # no more threads than items
                # Daemons: one that hangs in a device or a pipe must not keep the program.
                threads.append(threading.Thread(target=serve, name="ahead", daemon=True))
                threads[-1].start()
            promise: Future[Result] = Future()
            jobs.put((item, promise))
            waiting.append(promise)
            while waiting and (len(waiting) >= 2 * workers or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        stop.set()
        for _ in threads:
            jobs.put(None)
        for thread in threads:
            thread.join(_JOIN_SECONDS)


def read_ahead(source: Iterator[Item], depth: int) -> Generator[Item, None, None]:
    """An iterator's items, the next ``depth`` of them made by a thread while one is looked at.

    The first few are made here, so that a short sound needs no thread.
    """
    for _ in range(_WITHOUT_THREAD):
        try:
            item = next(source)
        except StopIteration:
            return
        yield item
    made: queue.Queue[tuple[Item | None, BaseException | None] | None] = queue.Queue(depth)
    stop = threading.Event()

    def put(value: tuple[Item | None, BaseException | None] | None) -> bool:
        while not stop.is_set():
            try:
                made.put(value, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in source:
                if not put((item, None)):
                    return
        except BaseException as error:
            put((None, error))
        else:
            put(None)
        finally:
            close = getattr(source, "close", None)
            if close is not None:  # a generator: its files are closed where it was run
                close()

    thread = threading.Thread(target=make, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (got := made.get()) is not None:
            value, error = got
            if error is not None:
                raise error
            yield value  # type: ignore[misc]  # None only beside an error
    finally:
        stop.set()
        thread.join(_JOIN_SECONDS)


def in_background(work: Callable[[], Result], name: str) -> Future[Result]:
    """``work()`` in a daemon thread of its own: one that hangs keeps no pool and no program.

    Parameters
    ----------
    work : callable
    name : str
        Of the thread.

    Returns
    -------
    Future
        Cancelling it ends no work.
    """
    promise: Future[Result] = Future()
    promise.set_running_or_notify_cancel()

    def run() -> None:
        try:
            promise.set_result(work())
        except BaseException as error:
            promise.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return promise
