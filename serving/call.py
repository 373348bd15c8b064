"""What a method may know of its call besides the request."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass

from forecast.errors import BusyError

ASKING: ContextVar[str] = ContextVar("asking", default="")
"""Who asks in this thread, as the gate knows them: of calls that are recorded."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call under way.

    remaining: seconds until the caller stops waiting, infinite where no deadline was set. active: false once
    the caller has gone away or has stopped waiting. caller: who asks, for the record.
    """

    remaining: Callable[[], float]
    active: Callable[[], bool]
    caller: Callable[[], str] = lambda: ""

    def check(self) -> None:
        """BusyError once nobody waits for the answer any more: long work stops."""
        if not self.active() or self.remaining() <= 0:
            raise BusyError("deadline", expected="an answer in time", found="none before the deadline")
