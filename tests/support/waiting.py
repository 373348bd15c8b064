"""Waiting for what a process or a thread does in its own time."""

import time
from collections.abc import Callable
from typing import Any


def until(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """What `condition` returns, as soon as that is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "nothing happened in time"
        time.sleep(0.01)  # the interpreter is for those who work
    return found
