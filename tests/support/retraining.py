"""Retraining jobs as real processes that start at once, and what a home looks like after them.

Processes are forked off one that has imported everything and done nothing, so that each begins in
milliseconds and dies like any other.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from forecast.cli.main import run
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.home import Home
from forecast.snapshot.pointer import Pointer
from training.retraining.champion import champion_of
from training.retraining.ledger import ledgers

HORIZON = 7
SETTINGS = f"""
[training]
horizon = {HORIZON}
device = "cpu"
[retrain]
steps = 6
backtest_origins = 2
[promotion]
slower = 1000.0
"""
CUTOFFS = ("2023-04-10", "2023-04-17")
"""Of the first champion, and of the job that is disturbed."""
STEPS = ("data", "twin", "challenger", "judgement", "record", "snapshot", "promotion")
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "training.retraining.cli",
        "training.retraining.fits",
        "training.retraining.recording",
        "training.retraining.promoting",
        "lightning.pytorch",
        "mlflow.store.tracking.sqlalchemy_store",
        "mlflow.store.model_registry.sqlalchemy_store",
    ]
)


def make_home(root: Path, settings: str = SETTINGS) -> Home:
    """A home with simulated demand of 20 series and 120 days, known features 30 days ahead."""
    table, home = root / "demand.parquet", Home(root / "home")
    write_table(simulate(SimulationConfig(n_series=20, n_periods=120, horizon=30)).panel, table)
    line = ["data", "import", "table", str(table), "--known", "price,discount", "--static", "category"]
    assert run([*line, "--home", str(home.root)]) == 0
    home.settings_file.write_text(settings)
    return home


def line(home: Home, cutoff: str, *options: str) -> list[str]:
    """A command that makes its challenger champion whatever it is worth."""
    wanted = ["--cutoff", cutoff, "--promote-anyway", "--reason", "a test", *options]
    return ["retrain", "--home", str(home.root), *wanted]


def command(arguments: Sequence[str], said: str) -> None:
    """One command line, its words in a file; the process ends with its status."""
    with Path(said).open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
        sys.exit(run(arguments))


@contextmanager
def job(arguments: Sequence[str], said: Path) -> Iterator[ForkServerProcess]:
    """A process with a command; it does not outlive the context."""
    process = FORKS.Process(target=command, args=(list(arguments), str(said)))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def finish(arguments: Sequence[str], said: Path) -> int:
    """Run a command to its end; its status."""
    with job(arguments, said) as process:
        process.join()
        return int(process.exitcode or 0)


def ledgers_of(home: Home) -> list[dict[str, Any]]:
    """What the readable ledgers say, the oldest first."""
    return [dict(one.facts()) for one in ledgers(home)[0]]


def has_begun(home: Home, step: str) -> Callable[[], bool]:
    """Whether the job at work has begun a step."""

    def begun() -> bool:
        at_work = [one for one in ledgers_of(home) if one["status"] == "running"]
        return any(step in one["steps"] for one in at_work)

    return begun


def kill_when(arguments: Sequence[str], said: Path, true: Callable[[], bool]) -> bool:
    """Start a command and kill it as soon as something holds; whether it was killed before its end."""
    with job(arguments, said) as process:
        while process.is_alive() and not true():
            time.sleep(0.001)
        process.kill()
        process.join()
        return process.exitcode == -9


class Backup:
    """A home as it was, to begin from again; MLflow's absolute paths stay right, for it is the same place."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._copy = home.root.with_name("backup")
        shutil.copytree(home.root, self._copy)

    def restore(self) -> None:
        """Put it back."""
        shutil.rmtree(self.home.root)
        shutil.copytree(self._copy, self.home.root)


def state(home: Home) -> dict[str, object]:
    """All that must be the same however often a job was killed."""
    champion = champion_of(home)
    pointer = Pointer.read(home)
    return {
        "champion": None if champion is None else (champion.version, _lasting(champion.tags)),
        "pointer": (pointer.snapshot, pointer.previous, pointer.moves),
        "files": {
            str(path.relative_to(home.root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for folder in (home.bundles_dir, home.snapshots_dir)
            for path in folder.rglob("*")
            if path.is_file() and path.name != "manifest.json"  # it says when it was made
        },
        "names": sorted(path.name for path in home.root.iterdir() if path.name != "mlflow"),
        "jobs": [(one["key"], one["status"], one["reason"]) for one in ledgers_of(home)],
        "in jobs": sorted(str(path.relative_to(home.jobs_dir)) for path in home.jobs_dir.rglob("*")),
        **_mlflow(home),
    }


def _lasting(tags: Mapping[str, str]) -> dict[str, str]:
    """Without what says when."""
    return {name: value for name, value in tags.items() if name != "promoted"}


def _mlflow(home: Home) -> dict[str, object]:
    with closing(sqlite3.connect(home.mlflow_db)) as database:
        runs = database.execute(
            "select run_uuid, name, status from runs where lifecycle_stage = 'active'"
        ).fetchall()
        versions = database.execute("select version, current_stage from model_versions").fetchall()
        aliases = database.execute("select alias, version from registered_model_aliases").fetchall()
        metrics = database.execute(
            "select run_uuid, count(*) from metrics where key like 'train/loss' or key like 'backtest/%'"
            " group by run_uuid"
        ).fetchall()
    names = {run_id: name for run_id, name, _ in runs}
    folders = {path.name for path in home.mlflow_artifacts.iterdir()}
    return {
        "runs": sorted((name, status) for _, name, status in runs),
        "versions": sorted(versions),
        "aliases": sorted(aliases),
        "metrics": sorted((names[run_id], count) for run_id, count in metrics if run_id in names),
        "artifacts of runs that are gone": sorted(folders - set(names)),
    }
