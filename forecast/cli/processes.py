"""Processes that never outlive what they were started for."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import IO, Any, Final, NoReturn

STOP_SECONDS: Final = 15.0
"""How long an interrupted or stopping process may take to end."""


@contextmanager
def started(
    command: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | IO[str] | None,
    stderr: int | IO[str] | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[str]]:
    """A process that never outlives the context.

    It gets a group of its own, so that Ctrl-C at a terminal reaches this program alone, which then passes it
    on once: a command that is interrupted twice cannot clean up.
    """
    with _signals_held() as received:  # one that came while the process starts would lose sight of it
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            text=True,
            process_group=0,
        )
    try:
        for number in received:
            signal.raise_signal(number)
        yield process
    except BaseException:  # whatever happened, the process must end before it is passed on
        _stop(process, signal.SIGINT)
        raise
    _stop(process, signal.SIGTERM)


@contextmanager
def _signals_held() -> Iterator[list[int]]:
    """Signals that arrive inside are not acted on, but listed."""
    received: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    former = {number: signal.signal(number, lambda n, _frame: received.append(n)) for number in numbers}
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def _stop(process: subprocess.Popen[str], number: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def first_object(process: subprocess.Popen[str]) -> dict[str, Any] | None:
    """The JSON object that a process prints over several lines; None when it ends without one."""
    text = ""
    for line in process.stdout or ():
        text += line
        if line.startswith("}"):
            found: dict[str, Any] = json.loads(text)
            return found
    return None


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """SIGTERM and SIGHUP end the program as an exception, so that it takes its processes along."""

    def leave(number: int, _frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    former = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
