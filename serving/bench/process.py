"""What a process holds, from Linux's `/proc`."""

from __future__ import annotations

from pathlib import Path

MB = 1e6


def memory_mb(pid: int) -> float:
    """Private memory that is resident, MB: not the mapped files, whose pages the system takes back."""
    return _status(pid, "RssAnon")


def resident_mb(pid: int) -> float:
    """All memory that is resident, MB, the touched pages of mapped files included."""
    return _status(pid, "VmRSS")


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
