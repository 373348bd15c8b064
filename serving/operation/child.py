"""A process that a supervisor keeps."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from time import monotonic
from typing import Final

from forecast.errors import SurgecastError, UsageError
from forecast.home import Home
from serving.operation.config import LogFormat
from serving.operation.metrics import Tally, shared_file
from serving.operation.state import ServingState
from serving.operation.worker import ORDER, Order
from serving.server import ServerConfig

log = logging.getLogger("surgecast.serving")

SOUND_S: Final = 10.0
"""A process that lived so long is started again at once when it dies."""
FIRST_WAIT_S: Final = 0.5
LONGEST_WAIT_S: Final = 10.0
"""Waits before a process that keeps dying is started again: doubled each time, within these."""


class Child:
    """One process, started again and again under one number; its counts go on.

    state: what it serves; None while it does not. dead: not running. kept: whether it is started again when
    it dies, and not the end of all. due: when to start it again, in seconds on the monotonic clock. report:
    descriptor of what it says.
    """

    def __init__(self, number: int, home: Home, config: ServerConfig, log_format: LogFormat) -> None:
        file = shared_file()
        self.number = number
        self.tally = Tally(file)
        self.state: ServingState | None = None
        self.dead = True
        self.kept = False
        self.due = 0.0
        self.report = -1
        self._file = file
        self._order = ORDER.dump_json(
            Order(home=home.root, config=config, log_format=log_format, number=number, tally=file)
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._failures = 0
        self._rest = b""
        self._error = ("", 1)

    def start(self) -> None:
        """Start a fresh process: a fork of one with gRPC's threads would hang."""
        self._process = process = subprocess.Popen(
            [sys.executable, "-P", "-m", "serving.operation.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(self._file,),
            bufsize=0,
            process_group=0,  # Ctrl-C reaches the supervisor alone, which tells the others
        )
        if process.stdin is None or process.stdout is None:
            raise SurgecastError("a process without pipes")
        self._began = monotonic()
        self.report = process.stdout.fileno()
        self.dead = False
        self._rest, self._error = b"", ("", 1)
        try:
            process.stdin.write(self._order + b"\n")
        except BrokenPipeError:
            log.error("worker %d died at once", self.number)  # the end of its report says the rest

    def read(self) -> None:
        """Take what it reports, or its end."""
        content = os.read(self.report, 1 << 16)
        if not content:
            self._bury()
            return
        *lines, self._rest = (self._rest + content).split(b"\n")
        for line in lines:
            facts = json.loads(line)
            if "error" in facts:
                self._error = (facts["error"], facts["status"])
            else:
                self.state = ServingState(**facts)

    def failure(self) -> SurgecastError:
        """Why it could not start."""
        text, status = self._error
        if not text:
            return SurgecastError(f"worker {self.number}: expected it to serve, found that it died")
        return UsageError(text) if status == UsageError.exit_status else SurgecastError(text)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to it, if it runs."""
        if self._process is not None and not self.dead:
            self._process.send_signal(number)

    def wait(self, timeout: float) -> None:
        """Wait for its end; kill it after `timeout` seconds."""
        process = self._process
        if process is None or self.dead:
            return
        try:
            process.wait(timeout)
        except subprocess.TimeoutExpired:
            log.error("worker %d did not end in time: killed", self.number)
            process.kill()
            process.wait()
        self._close(process)

    def _bury(self) -> None:
        """It has ended by itself: find out how, and when to try again."""
        process = self._process
        if process is None:
            raise SurgecastError("no process to bury")
        status = process.wait()
        lived = monotonic() - self._began
        self._failures = 1 if lived >= SOUND_S else self._failures + 1
        delay = 0.0 if self._failures == 1 else min(FIRST_WAIT_S * 2 ** (self._failures - 2), LONGEST_WAIT_S)
        self.due = monotonic() + delay
        how = signal.Signals(-status).name if status < 0 else f"status {status}"
        why = f": {self._error[0]}" if self._error[0] else ""
        again = f"; to start again in {delay:.1f} s" if self.kept else ""
        log.error("worker %d ended by itself after %.1f s (%s)%s%s", self.number, lived, how, why, again)
        self._close(process)

    def _close(self, process: subprocess.Popen[bytes]) -> None:
        self.dead = True
        self.state = None
        self.tally.forget_present()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
