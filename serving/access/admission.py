"""How much is worked on at once. Calls of each cost have a lane of their own: threads, and a bound on the
calls that wait or run. What is more is refused before it is read.

A refused call costs the caller a wait; a call that waits long costs everybody, because late answers are
thrown away. So the bounds are small: a call that is let in waits about as long as it is worked on.
"""

from __future__ import annotations

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from forecast.errors import OverloadError, UsageError
from serving.access.limits import Quota

SMOOTHING: Final = 0.05
"""Weight of the latest call in the mean time that calls are worked on."""
LONGEST_RETRY_S: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Calls waiting or running, by cost, and what a call and a connection may take.

    quick: reads of some rows. heavy: aggregates and surges. live: calls of the model. streams: exports.
    seconds, stream_seconds: how long a call and a stream may take. unsent_bytes: answers that callers have
    not taken yet. connections: open at once.
    """

    quick: int = 16
    heavy: int = 4
    live: int = 32
    streams: int = 4
    seconds: float = 60.0
    stream_seconds: float = 600.0
    unsent_bytes: int = 256 << 20
    connections: int = 1_000

    def __post_init__(self) -> None:
        for name in ("quick", "heavy", "live", "streams", "seconds", "stream_seconds", "connections"):
            if getattr(self, name) <= 0:
                raise UsageError(f"{name}: expected more than 0, found {getattr(self, name)}")


class Lane:
    """The calls of one cost: threads that work on them and a bound on those that wait or run."""

    def __init__(self, name: str, *, threads: int, bound: int) -> None:
        self.name = name
        self.bound = bound
        self.threads = threads
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._lock = threading.Lock()
        self._calls = 0
        self._mean_s = 0.01

    @property
    def calls(self) -> int:
        """Calls that wait or run now."""
        return self._calls

    def enter(self) -> None:
        """Let a call in; OverloadError when the lane is full."""
        with self._lock:
            if self._calls < self.bound:
                self._calls += 1
                return
            wait = min(LONGEST_RETRY_S, max(0.005, self._mean_s * self.bound / self.threads))
        raise OverloadError(
            f"{self.name} calls", expected=f"at most {self.bound} at once", found="one more", retry_s=wait
        )

    def leave(self, worked_s: float | None = None) -> None:
        """A call has ended after `worked_s` seconds of work; None for one that was not worked on."""
        with self._lock:
            self._calls -= 1
            if worked_s is not None:
                self._mean_s += SMOOTHING * (worked_s - self._mean_s)


class Place:
    """What a call that was let in occupies: a place in its lane and in the quota of its token. Given back
    once, however often `leave` is called.
    """

    def __init__(self, lane: Lane, quota: Quota | None, now: float) -> None:
        if quota is not None:
            quota.enter(now)
        try:
            lane.enter()
        except OverloadError:
            if quota is not None:
                quota.leave()
            raise
        self.lane = lane
        self._quota = quota
        self._lock = threading.Lock()
        self._left = False

    def leave(self, worked_s: float | None = None) -> None:
        """Give it back."""
        with self._lock:
            if self._left:
                return
            self._left = True
        self.lane.leave(worked_s)
        if self._quota is not None:
            self._quota.leave()


class AtOnce(ThreadPoolExecutor):
    """Runs what is submitted at once, in the thread that submits it: a refusal needs no thread of its own."""

    def submit(self, work: Any, /, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        """Run it."""
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done


def make_lanes(bounds: Bounds, threads: int) -> dict[str, Lane]:
    """The lanes of a server by name; `threads` work on quick calls."""
    return {
        lane.name: lane
        for lane in (
            Lane("quick", threads=threads, bound=bounds.quick),
            Lane("heavy", threads=2, bound=bounds.heavy),
            Lane("live", threads=bounds.live, bound=bounds.live),  # they wait for the model together
            Lane("stream", threads=bounds.streams, bound=bounds.streams),  # each holds its thread to its end
            Lane("admin", threads=1, bound=4),
            Lane("health", threads=2, bound=64),
            Lane("watch", threads=2, bound=256),
            Lane("reflection", threads=4, bound=4),
        )
    }
