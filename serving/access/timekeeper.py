"""Ends calls whose time is over: without a deadline, without a request, or whose answer nobody takes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

import grpc

log = logging.getLogger("surgecast.serving")

RECEIVE_S: Final = 5.0
"""Seconds in which the request of a call must arrive."""
TAKE_S: Final = 30.0
"""Seconds in which a caller must take an answer, or a piece of a stream."""


class Clock:
    """The time that one call may still take: `until` (monotonic, seconds) is moved from stage to stage."""

    def __init__(self, context: grpc.ServicerContext, until: float) -> None:
        self.context = context
        self.until = until


class Timekeeper:
    """Cancels the calls whose time is over, and counts the bytes of answers that were not taken yet.

    Call `start` once and `close` at the end.
    """

    def __init__(self, interval: float = 0.25) -> None:
        self.unsent = 0
        self._interval = interval
        self._lock = threading.Lock()
        self._clocks: set[Clock] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="timekeeper", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def close(self) -> None:
        """Watch no longer."""
        self._stop.set()
        self._thread.join()

    def begin(self, context: grpc.ServicerContext, until: float) -> Clock:
        """Watch a call until `end`."""
        clock = Clock(context, until)
        with self._lock:
            self._clocks.add(clock)
        return clock

    def end(self, clock: Clock) -> None:
        """Watch a call no longer."""
        with self._lock:
            self._clocks.discard(clock)

    def hand_over(self, clock: Clock, n_bytes: int) -> None:
        """A call is answered: watch it until the caller has taken the answer or has gone."""
        clock.until = min(clock.until, time.monotonic() + TAKE_S)
        with self._lock:
            self.unsent += n_bytes
        if not clock.context.add_callback(self._taken(clock, n_bytes)):
            self._taken(clock, n_bytes)()

    def _taken(self, clock: Clock, n_bytes: int) -> Callable[[], None]:
        def taken() -> None:
            with self._lock:
                self.unsent -= n_bytes
                self._clocks.discard(clock)

        return taken

    def _watch(self) -> None:
        while not self._stop.wait(self._interval):
            now = time.monotonic()
            with self._lock:
                over = [clock for clock in self._clocks if clock.until <= now]
                self._clocks.difference_update(over)
            for clock in over:
                log.info("ended a call of %s whose time was over", clock.context.peer())
                clock.context.cancel()
