"""Signals as bytes in a pipe, to be waited for beside other things."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

STOPPING: Final = (signal.SIGTERM, signal.SIGINT)
INTERRUPTED: Final = 130
"""Exit status after SIGINT."""


class Interrupted(BaseException):
    """A signal came. No error: what handles errors must not take it for one."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


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

    def during(self, work: Callable[[], None]) -> int | None:
        """Do some work in the main thread, which a signal ends wherever it is; the signal, None where none
        came.
        """
        try:
            with self._interrupting():
                received, _ = self.wait(0)  # one that came before
                if received is None:
                    work()
        except Interrupted as interrupted:
            return interrupted.number
        return received

    @contextmanager
    def _interrupting(self) -> Iterator[None]:
        def interrupt(number: int, _frame: object) -> None:
            raise Interrupted(number)

        former = {number: signal.signal(number, interrupt) for number in self._numbers}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)


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
