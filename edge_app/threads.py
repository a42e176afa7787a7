"""Threads that work ahead of their reader: on items, in order, and on an iterator."""

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
    """Raised by work that sees that its result is not wanted any more."""


def cores() -> int:
    """Number of processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_order(
    work: Callable[[Item, threading.Event], Result], items: Iterable[Item], workers: int
) -> Generator[Result, None, None]:
    """Results of ``work(item, stop)`` for all items, in their order, computed ahead by threads.

    At most ``2 * workers`` items are worked on or wait for the reader. If the reader stops early,
    ``stop`` is set, and work should end with :class:`Stopped`.

    Parameters
    ----------
    work : callable
        Its exceptions are raised here, in the order of the items, and end the iteration.
    items : iterable
        Iterated in the reader's thread.
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
                # Daemons: one that hangs in a device or a pipe must not keep the program alive.
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


def read_ahead(source: Iterator[Item], depth: int) -> Iterator[Item]:
    """The items of an iterator; a thread computes up to ``depth`` of them ahead of the reader.

    The first few are computed by the reader, so that a short sound needs no thread.
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
    """Run ``work()`` in a daemon thread: one that hangs keeps neither a pool nor the program.

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
