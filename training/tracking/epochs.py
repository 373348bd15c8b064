"""Numbers of epochs on their way to the database: a database that is not there must not end a fit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from forecast.cli.output import say
from forecast.errors import SurgecastError

if TYPE_CHECKING:
    from mlflow.entities import Metric

FIRST_PAUSE: Final = 2.0
LONGEST_PAUSE: Final = 60.0
Write = Callable[[list["Metric"]], None]


class EpochLog:
    """Metrics in the order they came. What could not be written waits in memory for a later try."""

    def __init__(self, hasty: Write, patient: Write, now: Callable[[], float] = time.monotonic) -> None:
        self._hasty, self._patient, self._now = hasty, patient, now
        self._waiting: list[Metric] = []
        self._next_try = 0.0
        self._pause = FIRST_PAUSE

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, metrics: list[Metric]) -> None:
        """Write at once if the database is free; else later, with growing pauses between tries."""
        self._waiting += metrics
        if self._now() < self._next_try:
            return
        try:
            self._hasty(self._waiting)
        except SurgecastError as error:
            if self._next_try == 0.0:
                say(f"{error}; training goes on, its numbers are kept and written later")
            self._next_try = self._now() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
        else:
            self._waiting = []
            self._next_try, self._pause = 0.0, FIRST_PAUSE

    def flush(self) -> None:
        """Write what waits, patiently. Raises what the database says where it cannot be written."""
        if self._waiting:
            self._patient(self._waiting)
            self._waiting = []
