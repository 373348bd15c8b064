"""Signals as bytes in a pipe, to be waited for beside other things."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
INTERRUPTED: Final = 130
"""Exit status after SIGINT."""


class Signals:
    """Signals that came and were not taken yet."""

    def __init__(self, reader: int, numbers: Sequence[int]) -> None:
        self._reader = reader
        self._numbers = numbers

    def wait(self, timeout: float | None = None, files: Sequence[int] = ()) -> tuple[int | None, list[int]]:
        """The next signal, or None where it did not come within `timeout` seconds or a file (a descriptor)
        could be read before; and the files that can be.
        """
        readable, _, _ = select.select([self._reader, *files], [], [], timeout)
        number = None
        if self._reader in readable:
            readable.remove(self._reader)
            number = os.read(self._reader, 1)[0]
        return number if number in self._numbers else None, readable


@contextmanager
def caught(*numbers: signal.Signals) -> Iterator[Signals]:
    """Catch signals, those that a background shell left ignored too.

    The interpreter writes each signal's number to a pipe from whatever thread it reached. No handler takes a
    lock, which the interrupted main thread could be holding itself.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    former = {number: signal.signal(number, lambda _number, _frame: None) for number in numbers}
    former_fd = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield Signals(reader, numbers)
    finally:
        signal.set_wakeup_fd(former_fd)
        for number, handler in former.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)
