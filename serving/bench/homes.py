"""The home that is served: made by the product's own commands, or a copy of one that is left alone.

The copy has the snapshots as hard links (or copies, from another disk) and links to what else a server
reads, so that the bench can move its pointer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from forecast.cli.output import say
from forecast.cli.processes import started
from forecast.home import Home
from forecast.snapshot import Pointer, Snapshot, move_pointer
from forecast.snapshot.format import MANIFEST, Manifest, read_manifest
from serving.bench.driver import wait

HORIZON: Final = 28
PERIODS: Final = 400
"""Observed days of simulated demand."""
EARLIER: Final = np.timedelta64(7, "D")
"""How much earlier the second snapshot of a made home ends."""
COMMAND_S: Final = 1_800.0
"""How long a command may take."""
LINKED: Final = ("surgecast.toml", "demand", "events", "bundles")
"""What of a home the server of its copy reads."""


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A home that the bench may do with as it likes: the snapshot that serves, and another one to swap with
    (None where there is none)."""

    home: Home
    snapshot: str
    other: str | None

    def open(self, name: str) -> Snapshot:
        """One of its snapshots, unchecked: the server checks it."""
        return Snapshot.open(self.home.snapshots_dir / name, verify=False)


def stage_of(home: Home, folder: Path) -> Stage:
    """A copy in `folder` of a home with a published snapshot. Raises NotFoundError without one."""
    pointer = Pointer.read(home)
    serving = read_manifest(home.snapshots_dir / pointer.snapshot / MANIFEST)
    other = _other(home, serving, pointer.previous)
    copy = Home(folder)
    copy.snapshots_dir.mkdir(parents=True)
    for name in LINKED:
        if (home.root / name).exists():
            (folder / name).symlink_to((home.root / name).absolute())
    for snapshot in (pointer.snapshot, other):
        if snapshot is not None:
            source, target = (place.snapshots_dir / snapshot for place in (home, copy))
            shutil.copytree(source, target, copy_function=_link)
    move_pointer(copy, pointer.snapshot)
    return Stage(home=copy, snapshot=pointer.snapshot, other=other)


def _other(home: Home, serving: Manifest, previous: str | None) -> str | None:
    """Another snapshot of the same shape: the one that served before, else the newest."""
    found = []
    for path in home.snapshots_dir.glob(f"*/{MANIFEST}"):
        manifest = read_manifest(path)
        if manifest.id != serving.id and manifest.horizon == serving.horizon:
            found.append((manifest.id == previous, manifest.created, manifest.id))
    return max(found)[2] if found else None


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links
        shutil.copy2(source, target)


def make_home(folder: Path, *, m5: Path | None, series: int, twice: bool) -> Stage:
    """Import M5, or simulated demand of some series; train a model of one step; publish, from two origins if
    `twice`.

    What the forecasts say does not matter here. Raises SurgecastError with the last words of a command that
    failed.
    """
    home = Home(folder)
    folder.mkdir(parents=True)
    calendars = "" if m5 else '[events]\ncalendars = ["china"]\n'
    home.settings_file.write_text(f"{calendars}[training]\nhorizon = {HORIZON}\n", encoding="utf-8")
    at = ("--home", str(folder))
    if m5 is not None:
        _surgecast(home, "data", "import", "m5", str(m5), *at)
    else:
        table = folder / "demand.parquet"
        size = ("--series", str(series), "--periods", str(PERIODS))
        _surgecast(home, "data", "simulate", str(table), *size)
        columns = ("--period", "day", "--known", "price,discount", "--static", "category,city")
        _surgecast(home, "data", "import", "table", str(table), *columns, *at)
        table.unlink()
    _surgecast(home, "train", "--steps", "1", "--backtest-origins", "0", *at)
    _surgecast(home, "publish", *at)
    snapshot = Pointer.read(home).snapshot
    if not twice:
        return Stage(home=home, snapshot=snapshot, other=None)
    origin = read_manifest(home.snapshots_dir / snapshot / MANIFEST).origin
    _surgecast(home, "publish", "--cutoff", str((origin - EARLIER).astype("M8[D]")), *at)
    other = Pointer.read(home).snapshot
    move_pointer(home, snapshot)
    return Stage(home=home, snapshot=snapshot, other=other)


def _surgecast(home: Home, *arguments: str) -> None:
    say(f"surgecast {' '.join(arguments)}")
    log = home.root / "commands.log"
    with log.open("w") as words:
        command = [sys.executable, "-m", "forecast.cli.main", *arguments]
        with started(command, stdout=subprocess.DEVNULL, stderr=words) as process:
            wait(process, COMMAND_S, f"surgecast {arguments[0]}", log)
