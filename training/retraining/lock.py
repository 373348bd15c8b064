"""One job at a time in a home: a lock that the system frees when its holder dies, and a heartbeat that says
who holds it and what it is doing.

`HOME/jobs/lock` is locked (flock) while a job works; `HOME/jobs/holder.json` is for people alone: it decides
nothing, so that a file which a killed job left behind keeps nobody out.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Final

from forecast.errors import BusyError
from forecast.home import Home

BEAT_SECONDS: Final = 5.0
"""Seconds between two signs of life."""
QUIET_SECONDS: Final = 12 * BEAT_SECONDS
"""Without a sign of life for longer, the holder may hang."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who holds the lock. `since` and `beat`, the last sign of life, are UTC in ISO 8601."""

    what: str
    step: str
    pid: int
    host: str
    since: str
    beat: str

    def sentence(self, now: datetime) -> str:
        """`retrain (step challenger), process 42 on host, since ...: last sign of life 3 s ago`."""
        step = f" (step {self.step})" if self.step else ""
        quiet = max((now - datetime.fromisoformat(self.beat)).total_seconds(), 0.0)
        hint = "; it may hang: end that process" if quiet > QUIET_SECONDS else ""
        place = f"process {self.pid} on {self.host}, since {self.since}"
        return f"{self.what}{step}, {place}, last sign of life {quiet:.0f} s ago{hint}"


class Heartbeat:
    """Signs of life of the job that holds the lock; `step` tells what it is doing."""

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what
        self._step = ""
        self._since = _now()
        self._stop = threading.Event()
        self._write = threading.Lock()
        self._thread = threading.Thread(target=self._live, name="heartbeat", daemon=True)

    def step(self, name: str) -> None:
        """Say what is done now."""
        self._step = name
        self._beat()

    def start(self) -> None:
        """Give the first sign of life, and further ones from a thread."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """The last one: nobody holds the lock."""
        self._stop.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _live(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            self._beat()

    def _beat(self) -> None:
        holder = Holder(
            what=self._what,
            step=self._step,
            pid=os.getpid(),
            host=socket.gethostname(),
            since=self._since,
            beat=_now(),
        )
        temporary = self._path.with_name(f".{self._path.name}-{os.getpid()}")
        with self._write, suppress(OSError):  # a full disk must not end a job that is working
            temporary.write_text(json.dumps(asdict(holder), indent=1), encoding="utf-8")
            temporary.replace(self._path)


@contextmanager
def job_lock(home: Home, *, what: str) -> Iterator[Heartbeat]:
    """Keep all other jobs of the home out while inside. `what`: the name of the job, as `retrain`.

    Raises BusyError that names the holder where there is one.
    """
    home.jobs_dir.mkdir(parents=True, exist_ok=True)
    path = home.jobs_dir / "holder.json"
    with (home.jobs_dir / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            found = _found(path)
            raise BusyError("job", expected=f"no other at work in {home.root}", found=found) from error
        beat = Heartbeat(path, what)
        beat.start()
        try:
            yield beat
        finally:
            beat.stop()
            _free(file)


def read_holder(home: Home) -> Holder | None:
    """Who says to hold the lock; a job that was killed leaves its last word behind."""
    try:
        return Holder(**json.loads((home.jobs_dir / "holder.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _found(path: Path) -> str:
    holder = read_holder(Home(path.parents[1]))
    return "one that has just begun" if holder is None else holder.sentence(datetime.now(UTC))


def _free(file: IO[str]) -> None:
    fcntl.flock(file, fcntl.LOCK_UN)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
