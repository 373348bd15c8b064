"""What is counted, and where: cells of memory that a process writes and another may read.

Each process adds to numbers in a small piece of shared memory, at places that follow from the table of
families alone. Whoever shows the metrics adds up the pieces of all processes. The numbers of a process that
died stay where they are and its successor counts on, so that no total ever falls.
"""

from __future__ import annotations

import mmap
import os
import threading
from bisect import bisect_left
from dataclasses import dataclass
from functools import cache
from typing import Final, Literal

from google.rpc import code_pb2
from surgecast.v1 import forecast_pb2, model_pb2

from forecast.errors import PreconditionError

Kind = Literal["counter", "gauge", "histogram"]
CODES: Final[tuple[str, ...]] = tuple(code_pb2.Code.Name(number) for number in range(17))
"""Names of the status codes; the place of each is its number."""
SERVICES: Final = (forecast_pb2.DESCRIPTOR, model_pb2.DESCRIPTOR)
"""Files of the interface whose services are counted."""
SECONDS: Final = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.02, 0.035, 0.06, 0.1),
    *(0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Upper ends of the classes of durations: fine where the promises lie (10 ms, 60 ms, 150 ms)."""
_SUM: Final = len(SECONDS) + 1
BATCHES: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0)
"""Upper ends of the classes of batches, in series."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """A metric. `children`: every combination of its labels' values, known ahead; ends: of a histogram."""

    name: str
    text: str
    kind: Kind
    labels: tuple[str, ...] = ()
    children: tuple[tuple[str, ...], ...] = ((),)
    ends: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """Cells of a child: a number, or a histogram's classes and its sum."""
        return len(self.ends) + 2 if self.kind == "histogram" else 1


@cache
def method_names() -> tuple[str, ...]:
    """`Service/Method` of every method of the interface."""
    services = [service for file in SERVICES for service in file.services_by_name.values()]
    return tuple(f"{service.name}/{method.name}" for service in services for method in service.methods)


@cache
def families() -> tuple[Family, ...]:
    """Every metric that processes count."""
    methods = tuple((name,) for name in method_names())
    by_code = tuple((name, code) for name in method_names() for code in CODES)
    return (
        Family(
            name="surgecast_calls",
            text="Calls that ended, by status code.",
            kind="counter",
            labels=("method", "code"),
            children=by_code,
        ),
        Family(
            name="surgecast_call_seconds",
            text="Seconds from a call's arrival to its end; calls that were turned away are not in it.",
            kind="histogram",
            labels=("method",),
            children=methods,
            ends=SECONDS,
        ),
        Family(
            name="surgecast_queue_seconds",
            text="Seconds that a call waited for a thread.",
            kind="histogram",
            labels=("method",),
            children=methods,
            ends=SECONDS,
        ),
        Family(
            name="surgecast_calls_in_flight",
            text="Calls that are being answered.",
            kind="gauge",
            labels=("method",),
            children=methods,
        ),
        Family(
            name="surgecast_live_batch_series",
            text="Series that the live model answered for at once.",
            kind="histogram",
            ends=BATCHES,
        ),
        Family(name="surgecast_swaps", text="Snapshots swapped in, in all processes.", kind="counter"),
        Family(
            name="surgecast_refused_swaps",
            text="Snapshots refused, in all processes.",
            kind="counter",
        ),
        Family(
            name="surgecast_worker_restarts",
            text="Processes that died and were started again.",
            kind="counter",
        ),
    )


@cache
def places() -> dict[tuple[str, tuple[str, ...]], int]:
    """The first cell of each metric and label values."""
    found, at = {}, 0
    for family in families():
        for child in family.children:
            found[family.name, child] = at
            at += family.width
    return found


@cache
def _ends() -> dict[str, tuple[float, ...]]:
    return {family.name: family.ends for family in families()}


@cache
def size() -> int:
    """Bytes of the cells of a process."""
    return 8 * sum(family.width * len(family.children) for family in families())


@dataclass(frozen=True, kw_only=True)
class MethodCells:
    """Where a method is counted."""

    name: str
    calls: int
    latency: int
    queue: int
    in_flight: int

    @classmethod
    def of(cls, name: str) -> MethodCells:
        """The cells of `Service/Method`."""
        found = places()
        return cls(
            name=name,
            calls=found["surgecast_calls", (name, CODES[0])],
            latency=found["surgecast_call_seconds", (name,)],
            queue=found["surgecast_queue_seconds", (name,)],
            in_flight=found["surgecast_calls_in_flight", (name,)],
        )


class Tally:
    """The numbers of one process. The threads of the process may all add to it."""

    def __init__(self, file: int = -1) -> None:
        """In memory of its own, or (`file`, a descriptor from `shared_file`) shared with other processes."""
        self.cells = memoryview(mmap.mmap(file, size())).cast("d")
        self._lock = threading.Lock()

    def add(self, name: str, amount: float = 1.0) -> None:
        """Count something that has no labels."""
        at = places()[name, ()]
        with self._lock:
            self.cells[at] += amount

    def observe(self, name: str, value: float) -> None:
        """Put a value into a histogram that has no labels."""
        at, ends = places()[name, ()], _ends()[name]
        with self._lock:
            self.cells[at + bisect_left(ends, value)] += 1
            self.cells[at + len(ends) + 1] += value

    def begin(self, method: MethodCells) -> None:
        """A call is being answered."""
        with self._lock:
            self.cells[method.in_flight] += 1

    def end(self, method: MethodCells, code: int, seconds: float, waited: float) -> None:
        """A call has ended, `seconds` after it came and having `waited` for a thread."""
        cells = self.cells
        took, stood = bisect_left(SECONDS, seconds), bisect_left(SECONDS, waited)
        with self._lock:
            cells[method.in_flight] -= 1
            cells[method.calls + code] += 1
            cells[method.latency + took] += 1
            cells[method.latency + _SUM] += seconds
            cells[method.queue + stood] += 1
            cells[method.queue + _SUM] += waited

    def refuse(self, method: MethodCells, code: int) -> None:
        """A call was turned away: it was not answered, so its time says nothing of how long answers take."""
        with self._lock:
            self.cells[method.calls + code] += 1

    def forget_present(self) -> None:
        """The process is gone: nothing of it is in flight."""
        for family in families():
            for child in family.children if family.kind == "gauge" else ():
                self.cells[places()[family.name, child]] = 0.0


def shared_file() -> int:
    """A descriptor of memory that holds the cells of a process; it goes with its users.

    PreconditionError where the machine does not have it: taken later, a write that finds none would end the
    process.
    """
    file = os.memfd_create("surgecast-counts")
    try:
        os.posix_fallocate(file, 0, size())
    except OSError as error:
        os.close(file)
        found = error.strerror or str(error)
        raise PreconditionError("counts", expected=f"{size():,} bytes of memory", found=found) from error
    return file
