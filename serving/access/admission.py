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
from itertools import count
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
IDLE_S: Final = 0.1
"""Seconds in which a request comes right behind its call; later ones keep their calls idle."""
MOST_IDLE: Final = 128
"""Idle calls of a lane: each holds a thread, until the time for its request is over."""
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

    A burst of `burst` calls is let in as well, fewer where they take long, so that a moment's pause refuses
    nobody. When there were more than `bound` for a while, or more than a burst, the lane is overloaded, until
    a second passes without a refusal. While more than `bound` come, one may wait beside those that are worked
    on: with so many that is enough to lose no turn, and all that a longer queue adds is waiting. Every
    `NARROW_S` more are let in for a try, until one is refused.

    A call whose request does not come at once is idle until it does: it holds a thread, but counts as no work
    and has no turn.

    gives_way: after a call, rest while others are being refused and no try waits, three times as long as was
    worked at most. The thread that refuses needs the interpreter's lock too; calls would wait for it unseen,
    before the gate. Where there are rests, nobody need wait beside who is worked on.
    """

    def __init__(
        self, name: str, *, turns: int, bound: int, burst: int | None = None, gives_way: bool = False
    ) -> None:
        self.name = name
        self.bound = bound
        self.burst = bound if burst is None else burst
        self._narrow = min(bound, turns if gives_way else turns + 1)
        self.pool = ThreadPoolExecutor(self.burst + MOST_IDLE, thread_name_prefix=name)
        self._turns = threading.Semaphore(turns)
        self._n_turns = turns
        self._gives_way = gives_way
        self._lock = threading.Lock()
        self._numbers = count()
        self._new: dict[int, float] = {}  # call -> when it was let in, the oldest first
        self._idle: set[int] = set()
        self._ready = 0
        self._mean_s = 0.001
        self._busy_since = 0.0
        self._refused_at = -math.inf
        self._narrow_until = -math.inf
        self._tries = 0

    @property
    def calls(self) -> int:
        """Calls that are idle, wait or run now."""
        return len(self._idle) + self._work

    @property
    def _work(self) -> int:
        return len(self._new) + self._ready

    def enter(self, now: float) -> int:
        """Let a call in at `now` (monotonic, seconds), and number it; OverloadError when the lane is full."""
        with self._lock:
            self._set_idle(now)
            if len(self._idle) >= MOST_IDLE:
                expected = f"at most {MOST_IDLE} whose requests do not come"
                raise OverloadError(f"{self.name} calls", expected=expected, found="one more")
            if self._work == 0:
                self._busy_since = now
            standing = self._work >= self.bound and now - self._busy_since > max(
                STANDING_S, 10 * self._mean_s
            )
            overloaded = standing or now < self._refused_at + OVERLOADED_S
            if not overloaded:
                self._tries = 0
            allowed = self.bound if overloaded else self._burst_now()
            if now < self._narrow_until:
                allowed = self._narrow
            elif self._tries % TRIES:
                allowed = min(2 * self._narrow, self.bound)
            if self._work < allowed:
                number = next(self._numbers)
                self._new[number] = now
                return number
            if now >= self._narrow_until:
                self._narrow_until = now + NARROW_S
                self._tries += 1
            self._refused_at = now
            wait = _rounded_up(self._mean_s * self.bound / self._n_turns)
        raise OverloadError(
            f"{self.name} calls", expected=f"at most {allowed} at once", found="one more", retry_s=wait
        )

    def _set_idle(self, now: float) -> None:
        """Those whose requests should have come by now are idle."""
        while self._new:
            number, since = next(iter(self._new.items()))
            if now - since < IDLE_S:
                break
            del self._new[number]
            self._idle.add(number)

    def _burst_now(self) -> int:
        """How many calls may come at once, as long as they take now."""
        soon = int(self._n_turns * max(BURST_S / max(self._mean_s, 1e-6), BURST_CALLS))
        return min(self.burst, max(self.bound, soon))

    def ready(self, number: int, now: float) -> None:
        """The request of a call is there."""
        with self._lock:
            if self._work == 0:
                self._busy_since = now
            if self._new.pop(number, None) is None:
                self._idle.discard(number)
            self._ready += 1

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and work."""
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

    def _rest(self, now: float, end: float) -> None:
        while now < min(end, self._refused_at + QUIET_S) and self._work <= self._narrow:
            time.sleep(0.0005)
            now = time.monotonic()

    def leave(self, number: int) -> None:
        """A call has ended."""
        with self._lock:
            if self._new.pop(number, None) is not None:
                return
            if number in self._idle:
                self._idle.remove(number)
            else:
                self._ready -= 1


class Place:
    """What a call that was let in occupies: a place in its lane and in the quota of its token. Given back
    once, however often `leave` is called.
    """

    def __init__(self, lane: Lane, quota: Quota | None, now: float) -> None:
        if quota is not None:
            quota.enter(now)
        try:
            self._number = lane.enter(now)
        except OverloadError:
            if quota is not None:
                quota.leave()
            raise
        self.lane = lane
        self._quota = quota
        self._lock = threading.Lock()
        self._ready = self._left = False

    def ready(self) -> None:
        """The call's request is there: from now on it counts as work. Nothing where it has ended."""
        with self._lock:
            if not self._ready and not self._left:
                self._ready = True
                self.lane.ready(self._number, time.monotonic())

    def leave(self) -> None:
        """Give it back."""
        with self._lock:
            if self._left:
                return
            self._left = True
            self.lane.leave(self._number)
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
