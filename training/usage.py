"""What a run takes of the machine: sampled once an epoch, from files of the system, without a thread of its
own.

Names are those that MLflow's page for system metrics groups by.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Final

MEGABYTE: Final = 1e6


class Usage:
    """A meter: each reading tells of the time since the one before."""

    def __init__(self) -> None:
        self._wall_s, self._cpu_s = time.perf_counter(), _cpu_seconds()
        self._machine = _machine_ticks()

    def read(self) -> dict[str, float]:
        """Name -> value; what this system does not tell is left out."""
        wall_s, cpu_s, machine = time.perf_counter(), _cpu_seconds(), _machine_ticks()
        passed_s = max(wall_s - self._wall_s, 1e-9)
        found = {
            "system/process_cpu_percentage": 100 * (cpu_s - self._cpu_s) / passed_s,
            **_memory(),
            **_gpu(),
        }
        busy, total = (now - before for now, before in zip(machine, self._machine, strict=True))
        if total > 0:
            found["system/cpu_utilization_percentage"] = 100 * busy / total
        self._wall_s, self._cpu_s, self._machine = wall_s, cpu_s, machine
        return found


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _machine_ticks() -> tuple[int, int]:
    """Ticks that all processors were busy, and all ticks."""
    try:
        with Path("/proc/stat").open("rb") as file:
            ticks = [int(word) for word in file.readline().split()[1:9]]
    except OSError:
        return 0, 0
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)  # without idle and iowait


def _memory() -> dict[str, float]:
    try:
        pages = int(Path("/proc/self/statm").read_bytes().split()[1])
        lines = Path("/proc/meminfo").read_bytes().splitlines()[:3]
    except OSError:
        return {}
    total_kb, _free, available_kb = (int(line.split()[1]) for line in lines)
    return {
        "system/process_memory_megabytes": pages * os.sysconf("SC_PAGE_SIZE") / MEGABYTE,
        "system/system_memory_usage_percentage": 100 * (1 - available_kb / total_kb),
    }


def _gpu() -> dict[str, float]:
    """Of the first GPU, if this process computes on one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return {}
    free, total = torch.cuda.mem_get_info()
    return {
        "system/gpu_0_memory_usage_megabytes": (total - free) / MEGABYTE,
        "system/gpu_0_memory_usage_percentage": 100 * (1 - free / total),
        "system/gpu_0_process_memory_megabytes": torch.cuda.max_memory_allocated() / MEGABYTE,
    }
