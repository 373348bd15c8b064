"""A job that is killed at every step, one after the other, ends as one that nobody disturbed, and servers
never notice. `tests/bench/kills.py` kills at random moments."""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from retraining import CUTOFFS, STEPS, Backup, finish, has_begun, kill_when, line, make_home, state

from forecast.cli.processes import first_object
from forecast.errors import SurgecastError
from forecast.home import Home
from forecast.snapshot.pointer import Pointer
from serving.client import Client
from training.retraining.ledger import ledgers


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("kills"))


@pytest.fixture(scope="module")
def said(home: Home) -> Path:
    return home.root.with_name("said.txt")


@pytest.fixture(scope="module")
def undisturbed(home: Home, said: Path) -> dict[str, object]:
    """How the second job ends; the home is then as after the first again."""
    assert finish(line(home, CUTOFFS[0]), said) == 0, said.read_text()
    backup = Backup(home)
    assert finish(line(home, CUTOFFS[1]), said) == 0, said.read_text()
    expected = state(home)
    backup.restore()
    return expected


def asks(home: Home, query: str) -> bool:
    """Whether MLflow's database answers a question with anything but 0."""
    with closing(sqlite3.connect(home.mlflow_db)) as database:
        return bool(database.execute(query).fetchone()[0])


def moments(home: Home) -> dict[str, Callable[[], bool]]:
    """When to kill, in the order in which they come."""
    second = Pointer.read(home).moves + 1
    at = {f"at {step}": has_begun(home, step) for step in STEPS}
    record, snapshot, promotion = (at.pop(f"at {step}") for step in ("record", "snapshot", "promotion"))
    new = "select count(*) from model_versions where version = 2"
    return {
        **at,
        "at record": record,
        "a run is under way": lambda: asks(home, "select count(*) from runs where status = 'RUNNING'"),
        "the version is there": lambda: asks(home, new),
        "at snapshot": snapshot,
        "a snapshot is being written": lambda: (
            any(home.snapshots_dir.glob(".writing-*/*.npy")) or promotion()
        ),
        "at promotion": promotion,
        "the alias has moved": lambda: asks(
            home, "select count(*) from registered_model_aliases where alias = 'champion' and version = 2"
        ),
        "the pointer has moved": lambda: Pointer.read(home).moves == second,
        "MLflow is told": lambda: any(one.untold for one in ledgers(home)[0]),
    }


class Planner(threading.Thread):
    """Asks a server for a forecast over and over; `failed` holds what went wrong."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.served: set[str] = set()
        self.failed: list[str] = []
        self.stop = threading.Event()
        self._address = address

    def run(self) -> None:
        with Client(self._address) as client:
            key = next(client.list_series(page_size=1)).key
            while not self.stop.wait(0.02):
                try:
                    answer = client.forecast(item=key.item, location=key.location, platform=key.platform)
                    self.served.add(answer.source.snapshot)
                except SurgecastError as error:
                    self.failed.append(str(error))


@pytest.fixture
def planner(home: Home, undisturbed: dict[str, object]) -> Iterator[Planner]:
    command = [sys.executable, "-m", "forecast.cli.main", "serve", "--home", str(home.root), "--json"]
    with subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True) as server:
        ready = first_object(server)
        assert ready is not None
        asking = Planner(ready["address"])
        asking.start()
        yield asking
        asking.stop.set()
        asking.join()
        server.send_signal(signal.SIGTERM)


def test_killed_at_every_step(
    home: Home, said: Path, undisturbed: dict[str, object], planner: Planner
) -> None:
    job = line(home, CUTOFFS[1])
    for name, moment in moments(home).items():
        assert kill_when(job, said, moment), f"{name}: {said.read_text()}"
    assert finish(job, said) == 0, said.read_text()
    assert state(home) == undisturbed
    while Pointer.read(home).snapshot not in planner.served:
        assert planner.is_alive()
    assert planner.failed == []
    assert len(planner.served) == 2
