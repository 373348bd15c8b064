"""How much is worked on at once. Calls of each cost have a lane of their own: threads, and a bound on the
calls that wait or run. What is more is refused before it is read.

A refused call costs the caller a wait; a call that waits long costs everybody, because late answers are
thrown away. So the bounds are small: a call that is let in waits about as long as it is worked on.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from forecast.errors import OverloadError, UsageError
from serving.access.limits import Quota

SMOOTHING: Final = 0.05
"""Weight of the latest call in the mean time that calls are worked on."""
BURST_S: Final = 0.02
"""Seconds of work that a burst may bring; more where it is fewer than `BURST_CALLS` for each turn."""
BURST_CALLS: Final = 10
STANDING_S: Final = 0.1
"""Seconds that a queue may last until it counts as overload; more where calls take longer."""
OVERLOADED_S: Final = 1.0
"""Seconds without a refusal after which a lane is no longer overloaded."""
NARROW_S: Final = 3.0
"""Seconds for which an overloaded lane lets one call wait, before it tries if more are too many still."""
TRIES: Final = 2
"""Each so many tries have the lane's whole bound; the others twice as many calls as while it is narrow. What
a try lets in waits behind all the others of it, so that tries must be few and small."""
LONGEST_REST_S: Final = 0.01
QUIET_S: Final = 0.002
"""Seconds without a refusal after which the gate has seen to all that came."""
RETRIES_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Waits that callers are told: few, so that refusals can be kept ready."""


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Calls waiting or running, by cost, and what a call and a connection may take. Bursts may be larger.

    quick: reads of some rows. heavy: aggregates and surges. live: calls of the model. streams: exports.
    seconds, stream_seconds: how long a call and a stream may take. unsent_bytes: answers that callers have
    not taken yet. connections: open at once.
    """

    quick: int = 8
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
    """The calls of one cost. `bound` of them may wait or run, `turns` are worked on at once.

    A burst of `burst` calls is let in as well, so that a moment's pause refuses nobody; but of those whose
    requests are there, only as many as can be seen to soon. When there were more than `bound` for a while, or
    more than a burst, the lane is overloaded, until a second passes without a refusal. While more than
    `bound` come, one may wait beside those that are worked on: with so many that is enough to lose no turn,
    and all that a longer queue adds is waiting. Every `NARROW_S` more are let in for a try, until one is
    refused. A call whose request is slow to come holds a thread, but no turn.

    gives_way: after a call, rest while others are being refused and no try waits, three times as long as was
    worked at most. The thread that refuses needs the interpreter's lock too; calls would wait for it unseen,
    before the gate.
    """

    def __init__(
        self, name: str, *, turns: int, bound: int, burst: int | None = None, gives_way: bool = False
    ) -> None:
        self.name = name
        self.bound = bound
        self.burst = bound if burst is None else burst
        self._narrow = min(bound, turns + 1)
        self.pool = ThreadPoolExecutor(self.burst, thread_name_prefix=name)
        self._turns = threading.Semaphore(turns)
        self._n_turns = turns
        self._gives_way = gives_way
        self._lock = threading.Lock()
        self._calls = 0
        self._in_turn = 0
        self._mean_s = 0.001
        self._busy_since = 0.0
        self._refused_at = -math.inf
        self._narrow_until = -math.inf
        self._tries = 0

    @property
    def calls(self) -> int:
        """Calls that wait or run now."""
        return self._calls

    def enter(self, now: float) -> None:
        """Let a call in at `now` (monotonic, seconds); OverloadError when the lane is full."""
        with self._lock:
            if self._calls == 0:
                self._busy_since = now
            standing = self._calls >= self.bound and now - self._busy_since > max(
                STANDING_S, 10 * self._mean_s
            )
            overloaded = standing or now < self._refused_at + OVERLOADED_S
            if not overloaded:
                self._tries = 0
            allowed = self.bound if overloaded else self.burst
            if now < self._narrow_until:
                allowed = self._narrow
            elif self._tries % TRIES:
                allowed = min(2 * self._narrow, self.bound)
            if self._calls < allowed:
                self._calls += 1
                return
            raise self._refusal(now, allowed)

    def _refusal(self, now: float, allowed: int) -> OverloadError:
        """What a caller is told; the lane is overloaded from `now` on. The lock is held."""
        if now >= self._narrow_until:
            self._narrow_until = now + NARROW_S
            self._tries += 1
        self._refused_at = now
        wait = _rounded_up(self._mean_s * self.bound / self._n_turns)
        return OverloadError(
            f"{self.name} calls", expected=f"at most {allowed} at once", found="one more", retry_s=wait
        )

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and work. OverloadError where a burst brought more work than may wait."""
        with self._lock:
            soon = int(self._n_turns * max(BURST_S / max(self._mean_s, 1e-6), BURST_CALLS))
            if self._in_turn >= max(self.bound, soon):
                raise self._refusal(time.monotonic(), max(self.bound, soon))
            self._in_turn += 1
        try:
            with self._turns:
                started = time.monotonic()
                try:
                    yield
                finally:
                    now = time.monotonic()
                    with self._lock:
                        self._mean_s += SMOOTHING * (now - started - self._mean_s)
                    if self._gives_way:
                        self._rest(now, now + min(LONGEST_REST_S, 3 * (now - started)))
        finally:
            with self._lock:
                self._in_turn -= 1

    def _rest(self, now: float, end: float) -> None:
        while now < min(end, self._refused_at + QUIET_S) and self._calls <= self._narrow:
            time.sleep(0.0005)
            now = time.monotonic()

    def leave(self) -> None:
        """A call has ended."""
        with self._lock:
            self._calls -= 1


class Place:
    """What a call that was let in occupies: a place in its lane and in the quota of its token. Given back
    once, however often `leave` is called.
    """

    def __init__(self, lane: Lane, quota: Quota | None, now: float) -> None:
        if quota is not None:
            quota.enter(now)
        try:
            lane.enter(now)
        except OverloadError:
            if quota is not None:
                quota.leave()
            raise
        self.lane = lane
        self._quota = quota
        self._lock = threading.Lock()
        self._left = False

    def leave(self) -> None:
        """Give it back."""
        with self._lock:
            if self._left:
                return
            self._left = True
        self.lane.leave()
        if self._quota is not None:
            self._quota.leave()


class AtOnce(ThreadPoolExecutor):
    """Runs what is submitted at once, in the thread that submits it: a refusal needs no thread of its own."""

    def submit(self, work: Any, /, *arguments: Any) -> Future[Any]:  # type: ignore[override]
        """Run it."""
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done


def make_lanes(bounds: Bounds) -> dict[str, Lane]:
    """The lanes of a server by name."""
    lanes = (
        Lane("quick", turns=1, bound=bounds.quick, burst=8 * bounds.quick, gives_way=True),
        Lane("heavy", turns=2, bound=bounds.heavy, burst=8 * bounds.heavy),
        Lane("live", turns=bounds.live, bound=bounds.live),  # they wait for the model together
        Lane("stream", turns=bounds.streams, bound=bounds.streams),
        Lane("admin", turns=1, bound=4),
        Lane("health", turns=16, bound=16),
        Lane("watch", turns=256, bound=256),
        Lane("reflection", turns=4, bound=4),
    )
    return {lane.name: lane for lane in lanes}


def _rounded_up(seconds: float) -> float:
    return next((wait for wait in RETRIES_S if wait >= seconds), RETRIES_S[-1])
