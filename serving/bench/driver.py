"""The processes of the bench: the server that is measured and the generator that asks, each on its core."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from forecast.cli.processes import first_object, started
from forecast.errors import SurgecastError
from forecast.home import Home
from serving.bench.load import Job
from serving.bench.tally import Outcome
from serving.errors import REFUSED

START_S: Final = 120.0
"""How long a server may take to begin."""
PLAIN: Final = {f"SURGECAST_SERVE_{name}": "" for name in ("TLS_CERT", "TLS_KEY", "TLS_CLIENT_CA")}
"""Settings with which a server does not encrypt, whatever its home says."""
GRACE_S: Final = 30.0
"""How much longer than its loops a job may take."""


@dataclass(frozen=True, kw_only=True)
class Cores:
    """The cores that the server and the generator run on; the same one where there is one alone."""

    server: int
    generator: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        """The first and the last that this process may use, which share no core of the hardware where there
        are more than two."""
        cores = sorted(os.sched_getaffinity(0))
        return cls(server=cores[0], generator=cores[-1])

    def told(self) -> str:
        """For people."""
        if self.server == self.generator:
            return f"server and generator share core {self.server}: there is no other"
        return f"server on core {self.server}, generator on core {self.generator}"


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """What is started inside runs on one core."""
    former = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, former)


@dataclass(frozen=True)
class RunningServer:
    """A server of a home, alone on its core."""

    address: str
    pid: int


@contextmanager
def served(home: Home, core: int, log: Path) -> Iterator[RunningServer]:
    """`surgecast serve` on a free port of the loopback while the context is open.

    Raises SurgecastError with its last words when it does not begin to serve.
    """
    command = [sys.executable, "-m", "forecast.cli.main", "serve", "--home", str(home.root)]
    command += ["--host", "127.0.0.1", "--port", "0", "--workers", "1", "--metrics-port", "0", "--json"]
    environment = {**os.environ, **PLAIN, "OMP_NUM_THREADS": "1"}
    with log.open("w") as words, _started_on(core, command, words, environment) as process:
        late = threading.Timer(START_S, process.kill)
        late.start()
        try:
            ready = first_object(process)
        finally:
            late.cancel()
        if ready is None:
            raise SurgecastError(f"surgecast serve: {last_line(log)}")
        yield RunningServer(str(ready["address"]), process.pid)


def wait(process: subprocess.Popen[str], seconds: float, name: str, log: Path) -> None:
    """Wait for a process that should end well; SurgecastError, with its last words, where it does not."""
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired as error:
        raise SurgecastError(f"{name}: expected an end within {seconds:g} s, found none") from error
    if status != 0:
        raise SurgecastError(f"{name}: {last_line(log)}")


def last_line(log: Path) -> str:
    """The last words of a process."""
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else "ended without a word"


@contextmanager
def _started_on(
    core: int, command: Sequence[str], words: IO[str] | None, environment: dict[str, str]
) -> Iterator[subprocess.Popen[str]]:
    """A process on one core, with pipes for its input and output."""
    with ExitStack() as stack:
        with pinned(core):
            context = started(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=words, environment=environment
            )
            process = stack.enter_context(context)
        yield process


class Generator:
    """The generator's process. One job at a time."""

    def __init__(self, orders: IO[str], answers: IO[str]) -> None:
        self._orders, self._answers = orders, answers
        self._seconds = 0.0

    def run(self, job: Job) -> list[Outcome]:
        """Do a job and wait for its outcomes."""
        self.begin(job)
        return self.outcomes()

    def begin(self, job: Job) -> None:
        """Begin a job."""
        self._seconds = job.seconds + job.after_s + job.timeout_s + GRACE_S
        self._order({"do": "load", "job": asdict(job), "refusal": REFUSED})

    def stop(self) -> list[Outcome]:
        """End the job under way and wait for its outcomes."""
        self._order({"do": "stop"})
        return self.outcomes()

    def outcomes(self) -> list[Outcome]:
        """Wait for the outcomes of the job under way; SurgecastError where they do not come in time."""
        ready = select.select([self._answers], [], [], self._seconds)[0]
        line = self._answers.readline() if ready else ""
        if not line:
            found = "its end" if ready else "nothing in time"
            raise SurgecastError(f"generator: expected what became of its calls, found {found}")
        return [Outcome(**one) for one in json.loads(line)]

    def _order(self, order: dict[str, object]) -> None:
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()


GENERATE: Final = (
    *(sys.executable, "-c"),
    "import signal; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    "from serving.bench.generator import main; main()",
)
"""It has nothing to clean up: Ctrl-C ends it without a word, also while it is imported."""


@contextmanager
def generating(core: int) -> Iterator[Generator]:
    """A generator while the context is open."""
    with _started_on(core, GENERATE, None, {**os.environ, "OMP_NUM_THREADS": "1"}) as process:
        if process.stdin is None or process.stdout is None:
            raise TypeError("a process without pipes")
        yield Generator(process.stdin, process.stdout)
