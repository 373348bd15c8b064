"""One fit in several processes of this machine: starts them, passes on their records, ends them all.

The processes are `python -m training.worker`, started by this one and fed from a folder
(`training.handover`), so that it makes no difference whether a command, a script, a notebook or a test called
`fit`. They are sessions of their own, so Ctrl-C reaches this process alone, which ends them. Each holds a
pipe from it and ends when that closes, so that none is left behind however this one ends.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from forecast.errors import IntegrityError, SurgecastError
from forecast.model.bundle import Bundle
from training.handover import Job, follow_records, no_room, read_digest, read_error, write_job
from training.records import EpochRecord

POLL = 0.05
"""Seconds between looks at the processes."""
GRACE = 2.0
"""Seconds that the others get, once one has failed, to say why: the first to end may only have lost the one
that failed."""


def fit_in_processes(job: Job, n: int, on_epoch: Callable[[EpochRecord], None] | None = None) -> Bundle:
    """Fit with n processes, a GPU or a share of the processor each.

    Raises SurgecastError as `fit`; one that names the process where one died, or the folder that has no room
    for what they are fed from; IntegrityError where the processes ended with different weights.
    """
    with _folder() as folder:
        write_job(folder, job)
        with _processes(folder, n) as processes:
            _wait(folder, processes, on_epoch)
        digests = {read_digest(folder, rank) for rank in range(n)}
        if len(digests) > 1:
            expected, found = "the same from every process", f"{len(digests)} different"
            raise IntegrityError("weights", expected=expected, found=found)
        return Bundle.load(folder / "bundle")


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    """A folder of this user's alone, where the system keeps temporary files; gone on leaving."""
    try:
        made = tempfile.TemporaryDirectory(prefix="surgecast-fit-", ignore_cleanup_errors=True)
    except OSError as error:  # tempfile finds none, or the one that TMPDIR names is not there
        raise no_room(Path(error.filename).parent if error.filename else None, error) from error
    with made as name:
        yield Path(name)


@contextlib.contextmanager
def _processes(folder: Path, n: int) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The processes by rank; on leaving, whatever the reason, they have ended."""
    paths = [str(Path(path).absolute()) for path in sys.path]  # an empty one is the current folder
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": str(max(torch.get_num_threads() // n, 1)),
    }
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for rank in range(n):
            with (folder / f"stderr-{rank}.txt").open("wb") as stderr:
                processes.append(
                    subprocess.Popen(
                        [sys.executable, "-P", "-m", "training.worker", str(folder), str(rank), str(n)],
                        stdin=subprocess.PIPE,
                        stdout=stderr,
                        stderr=stderr,
                        env={**environment, "LOCAL_RANK": str(rank)},
                        start_new_session=True,
                    )
                )
        yield processes
    finally:
        for process in processes:
            process.kill()
        for process in processes:
            process.wait()
            assert process.stdin is not None
            process.stdin.close()


def _wait(
    folder: Path,
    processes: list[subprocess.Popen[bytes]],
    on_epoch: Callable[[EpochRecord], None] | None,
) -> None:
    """Pass records on until all processes are done. Raises SurgecastError as soon as one failed."""
    records = follow_records(folder)
    while True:
        statuses = [process.poll() for process in processes]
        for record in iter(lambda: next(records), None):
            if on_epoch is not None:
                on_epoch(record)
        if any(statuses):
            raise _failure(folder, processes)
        if all(status == 0 for status in statuses):
            return
        time.sleep(POLL)


def _failure(folder: Path, processes: list[subprocess.Popen[bytes]]) -> SurgecastError:
    """The error to show: one that was foreseen, else that of a process that was killed, else of the first
    that failed."""
    n = len(processes)
    first = next(rank for rank, process in enumerate(processes) if process.poll())
    until = time.monotonic() + GRACE
    while time.monotonic() < until:
        foreseen = [error for rank in range(n) if (error := read_error(folder, rank)) is not None]
        killed = [rank for rank, process in enumerate(processes) if (process.poll() or 0) < 0]
        if foreseen:
            return foreseen[0]
        if killed:
            first = killed[0]
            break
        time.sleep(POLL)
    status = processes[first].returncode
    said = (folder / f"stderr-{first}.txt").read_text(encoding="utf-8", errors="replace").strip()
    found = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    last = f": {said.splitlines()[-1][:200]}" if said and status > 0 else ""
    error = SurgecastError(f"training process {first + 1} of {n}: expected to finish, found {found}{last}")
    if said:
        error.add_note(said)
    return error
