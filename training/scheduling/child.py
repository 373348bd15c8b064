"""A job as a process: the command that a user would type, what it says and how it ends."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import IO, Any, Final

from forecast.cli.main import KEPT
from forecast.cli.output import say
from forecast.cli.processes import started
from forecast.home import Home
from training.scheduling.history import MISSING, History, Outcome, RunRecord, stamp
from training.scheduling.plan import Action, Firing

BUSY: Final = "error: job: expected no other"
"""How a command begins that found the lock of all jobs held."""
PROGRAM: Final = (sys.executable, "-m", "forecast.cli.main")
LINES: Final = 100
"""Lines of a child that are kept, the last ones."""
WIDTH: Final = 500
"""Characters of such a line."""
Clock = Callable[[], datetime]


@dataclass(frozen=True, kw_only=True)
class Worker:
    """Carries out firings, one at a time, and writes down what came of each."""

    home: Home
    history: History
    clock: Clock
    program: tuple[str, ...] = PROGRAM

    def command(self, action: Action) -> list[str]:
        """What a user would type."""
        return [*self.program, action, "--home", str(self.home.root), "--json"]

    def carry_out(self, firing: Firing) -> RunRecord:
        """Run the job of a firing to its end. When this is interrupted, so is the job, and that is noted."""
        record, clock = self._begin(firing), time.monotonic()
        lines: deque[str] = deque(maxlen=LINES)
        process: subprocess.Popen[str] | None = None
        try:
            with (
                tempfile.TemporaryFile("w+", encoding="utf-8") as output,
                _process(self.command(firing.action), output) as process,
            ):
                for line in _said(process):
                    lines.append(line)
                    say(f"{firing.action}: {line}")
                status = process.wait()
                output.seek(0)
                result = _object(output.read())
            outcome, reason = judged(firing.action, status, result, lines[-1] if lines else "")
            record = replace(record, outcome=outcome, exit=status, reason=reason, result=result)
        except BaseException:  # whatever it was, the run is over and is passed on
            status = MISSING if process is None or process.returncode is None else process.returncode
            record = replace(record, outcome="interrupted", exit=status, reason="the schedule was stopped")
            raise
        finally:
            seconds = round(time.monotonic() - clock, 3)
            record = replace(record, ended=stamp(self.clock()), seconds=seconds, lines=tuple(lines))
            self.history.add(record)
        say(f"{firing.action}: {record.outcome}" + (f": {record.reason}" if record.reason else ""))
        return record

    def miss(self, firing: Firing, reason: str) -> RunRecord:
        """Write down a firing that is not carried out any more."""
        now = stamp(self.clock())
        record = replace(self._record(firing), outcome="missed", ended=now, reason=reason)
        self.history.add(record)
        say(f"{firing.action}: missed: {reason}")
        return record

    def _begin(self, firing: Firing) -> RunRecord:
        record = self._record(firing)
        self.history.add(record)
        say(f"{firing.action}: begins ({firing.why})")
        return record

    def _record(self, firing: Firing) -> RunRecord:
        now = self.clock()
        return RunRecord(
            id=f"{now:%Y%m%dT%H%M%S.%f}-{firing.action}",
            action=firing.action,
            why=firing.why,
            planned=stamp(firing.at),
            started=stamp(now),
        )


def judged(action: Action, status: int, result: dict[str, Any], last: str) -> tuple[Outcome, str]:
    """What a job's exit status, its JSON and its last line mean: the outcome, and why in one line."""
    reason = str(result.get("reason", ""))
    if status == 0 and action == "publish":
        return "published", str(result.get("snapshot", ""))
    if status == 0:
        return ("nothing" if result.get("status") == "nothing" else "promoted"), reason
    if status == KEPT:
        return "kept", reason
    message = last or (f"ended by signal {-status}" if status < 0 else f"exit status {status}")
    if last.startswith(BUSY):
        return "skipped", last.removeprefix("error: ")
    return "failed", message.removeprefix("error: ")


@contextmanager
def _process(command: list[str], output: IO[str]) -> Iterator[subprocess.Popen[str]]:
    with started(command, stdout=output, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            if process.poll() is not None and process.stderr is not None:
                process.stderr.close()


def _said(process: subprocess.Popen[str]) -> Iterator[str]:
    """What a process says on stderr, line by line, until it closes it."""
    for line in process.stderr or ():
        if text := line.rstrip():
            yield text[:WIDTH]


def _object(text: str) -> dict[str, Any]:
    """The JSON object that a job printed; empty where it printed none."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
