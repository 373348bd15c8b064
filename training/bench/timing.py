"""Laps of a training loop, and peaks of memory in fresh processes.

GB are 10^9 bytes. A fresh process has no peak but its own, and imports nothing that a part before it needed.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from forecast.errors import SurgecastError

if TYPE_CHECKING:
    import torch

GB: Final = 1e9


class Lap(NamedTuple):
    """One repeat of a training loop: steps, pairs of origin and step ahead in them, seconds."""

    steps: int
    pairs: int
    seconds: float


class LapClock:
    """Cuts a training loop into laps of at least `seconds`, after `warm_up` steps that do not count.

    The device is waited for at both ends of a lap, so that a lap holds all work of its steps and no other.
    """

    def __init__(self, device: torch.device, *, repeats: int, seconds: float, warm_up: int) -> None:
        self.laps: list[Lap] = []
        self._device = device
        self._repeats, self._seconds, self._warm_up = repeats, seconds, warm_up
        self._steps = self._pairs = 0
        self._since: float | None = None

    def step(self, pairs: int) -> bool:
        """Count a step that is done (or queued on the device); whether all laps are there."""
        self._steps += 1
        self._pairs += pairs
        if self._since is None:
            if self._steps >= self._warm_up:
                self._restart()
            return False
        if time.perf_counter() - self._since < self._seconds:
            return False
        wait(self._device)
        self.laps.append(Lap(self._steps, self._pairs, time.perf_counter() - self._since))
        self._restart()
        return len(self.laps) >= self._repeats

    def _restart(self) -> None:
        wait(self._device)
        self._steps = self._pairs = 0
        self._since = time.perf_counter()


class Stopwatch:
    """Seconds since it was made, all work of the device done."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        wait(device)
        self._started = time.perf_counter()

    def seconds(self) -> float:
        """Until now."""
        wait(self._device)
        return time.perf_counter() - self._started


def wait(device: torch.device) -> None:
    """Until the device has done all that was asked of it."""
    if device.type == "cuda":
        import torch  # here, so that a process that measures memory without it stays small

        torch.cuda.synchronize(device)


def peak_gb() -> float:
    """The most memory that this process has had resident, GB.

    Linux's VmHWM belongs to the program that runs; `ru_maxrss`, taken elsewhere, begins with what the parent
    had when it started this process.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024 / GB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / GB


def run_fresh(module: str, arguments: Sequence[str]) -> dict[str, float]:
    """Run `python -m module arguments` and return the JSON object of numbers that it prints last.

    Raises SurgecastError where it fails, with its last words.
    """
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or [f"exit status {done.returncode} (out of memory?)"]
        raise SurgecastError(f"{module}: {words[-1]}")
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found
