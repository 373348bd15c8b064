"""What a process holds, from Linux's `/proc`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

MB: Final = 1e6
WINDOW_S: Final = 0.4
IDLE: Final = 0.1
"""Share of a core below which a process counts as idle."""
SETTLE_S: Final = 60.0


def memory_mb(pid: int) -> float:
    """Private memory that is resident, MB: not the mapped files, whose pages the system takes back."""
    return _status(pid, "RssAnon")


def resident_mb(pid: int) -> float:
    """All memory that is resident, MB, the touched pages of mapped files included."""
    return _status(pid, "VmRSS")


def settle(pid: int) -> bool:
    """Wait until a process has little to do, so that what it prepares beside its first answers (a live model)
    does not slow down what is measured; whether that came in `SETTLE_S`."""
    end = time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        before = _cpu_s(pid)
        time.sleep(WINDOW_S)
        if _cpu_s(pid) - before < IDLE * WINDOW_S:
            return True
    return False


def _cpu_s(pid: int) -> float:
    """Processor time of all its threads, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(pid: int, name: str) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (value,) = (line.split()[1] for line in lines if line.startswith(f"{name}:"))
    return int(value) * 1024 / MB


def descriptors(pid: int) -> int:
    """Open files, sockets and the like."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads(pid: int) -> int:
    """Threads."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))
