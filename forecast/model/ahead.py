"""Work in threads beside the one that waits for it: the next item ahead of time, and many jobs in order.

Torch and numpy leave the interpreter while they compute, so that threads do share the processor's cores.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from queue import SimpleQueue
from typing import Final, TypeVar

Item = TypeVar("Item")
Lane = TypeVar("Lane")
Job = TypeVar("Job")
Result = TypeVar("Result")

AHEAD: Final = 2
"""Jobs a lane that may be under way or done and not taken yet."""


def one_ahead(items: Iterator[Item]) -> Generator[Item]:
    """The items, the next one being made in a thread while one is used."""
    with ThreadPoolExecutor(1) as pool:
        coming: Future[list[Item]] = pool.submit(_next, items)
        while found := coming.result():
            coming = pool.submit(_next, items)
            yield found.pop()


def _next(items: Iterator[Item]) -> list[Item]:
    """The next item, or nothing at the end."""
    return list(islice(items, 1))


def in_order(
    jobs: Iterable[Job],
    work: Callable[[Lane, Job], Result],
    lanes: Sequence[Lane],
    begin: Callable[[], None] = lambda: None,
) -> Generator[Result]:
    """The results of all jobs, in their order; each lane works in a thread that `begin` is called in first.

    An error of a job is raised in its turn; then, and when the results are no longer asked for, the jobs that
    have not begun are dropped.
    """
    free: SimpleQueue[Lane] = SimpleQueue()
    for lane in lanes:
        free.put(lane)

    def run(job: Job) -> Result:
        lane = free.get()
        try:
            return work(lane, job)
        finally:
            free.put(lane)

    with ThreadPoolExecutor(len(lanes), initializer=begin) as pool:
        coming: deque[Future[Result]] = deque()
        try:
            for job in jobs:
                coming.append(pool.submit(run, job))
                if len(coming) >= AHEAD * len(lanes):
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
