"""Runs on a real MLflow database that somebody locks, removes, swaps or makes unwritable."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from panels import make_panel
from sqlalchemy import event
from sqlalchemy.orm import Session
from tracking_home import home_with_mlflow

from forecast.cli.main import run as main
from forecast.cli.processes import ended_by_signals
from forecast.errors import BusyError, IntegrityError, NotFoundError, PreconditionError
from forecast.home import Home
from forecast.model.bundle import Bundle
from training.records import EpochRecord
from training.tracking import Run, connect, home_page
from training.usage import Usage

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return home_with_mlflow(tmp_path / "home")


def epoch(step: int) -> EpochRecord:
    return EpochRecord(
        stage="stage 1",
        step=step,
        total_steps=100,
        seconds=float(step),
        fraction=step / 100,
        loss=1 / step,
        learning_rate=0.1,
        origins_per_s=10.0,
        validation={"wql": 2 / step},
        usage=Usage().read(),
    )


@contextmanager
def locked(home: Home) -> Iterator[sqlite3.Connection]:
    """Another connection holds the database for itself alone."""
    with closing(sqlite3.connect(home.mlflow_db, isolation_level=None, check_same_thread=False)) as other:
        other.execute("begin exclusive")
        yield other


def losses(home: Home, run_id: str) -> list[tuple[int, float]]:
    history = connect(home).get_metric_history(run_id, "train/loss")
    return [(one.step, one.value) for one in history]


def test_a_call_waits_until_the_database_is_free(home: Home) -> None:
    with Run(home, "waits") as run, locked(home) as other:
        threading.Timer(0.3, lambda: other.execute("rollback")).start()
        began = time.monotonic()
        run.metrics({"one": 1.0})
        assert time.monotonic() - began > 0.25
    assert connect(home).get_run(run.run_id).data.metrics == {"one": 1.0}


def test_a_database_that_stays_locked_is_named(home: Home) -> None:
    client = connect(home, patience_s=0.2)
    with locked(home), pytest.raises(BusyError) as caught:
        client.search_experiments()
    expected = f"{home.mlflow_db}: expected MLflow's database to be free within 0.2 s"
    assert str(caught.value) == f"{expected}, found database is locked"


def test_epochs_do_not_wait_and_come_through_later(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    with Run(home, "epochs") as run:
        run.epoch(epoch(1))
        with locked(home) as other:
            began = time.monotonic()
            for step in (2, 3, 4):
                run.epoch(epoch(step))
            assert time.monotonic() - began < 1
            other.execute("rollback")
        assert len(losses(home, run.run_id)) == 1
    assert losses(home, run.run_id) == [(step, 1 / step) for step in (1, 2, 3, 4)]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("training goes on, its numbers are kept and written later")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_in_the_middle_of_a_commit_leaves_nothing_locked(
    home: Home, number: signal.Signals
) -> None:
    def interrupt(_session: Session) -> None:
        signal.raise_signal(number)

    with pytest.raises((KeyboardInterrupt, SystemExit)), ended_by_signals(), Run(home, "cut") as run:  # noqa: PT012
        event.listen(Session, "before_commit", interrupt, once=True)
        run.metrics({"one": 1.0})
    found = connect(home).get_run(run.run_id)
    assert (found.info.status, found.data.metrics) == ("KILLED", {"one": 1.0})


def test_a_database_that_is_gone_ends_the_run_and_no_other_one_is_made(home: Home) -> None:
    with pytest.raises(NotFoundError) as caught, Run(home, "gone") as run:  # noqa: PT012
        home.mlflow_db.rename(home.root / "elsewhere.db")
        run.epoch(epoch(1))
    assert str(caught.value).startswith(f"{home.mlflow_db}: expected MLflow's database, found no such file")
    assert not home.mlflow_db.exists()


def test_a_database_that_another_one_took_the_place_of_is_not_written(home: Home) -> None:
    with pytest.raises(NotFoundError, match="another file in its place"), Run(home, "swapped"):  # noqa: PT012
        home.mlflow_db.rename(home.root / "elsewhere.db")
        other = home_with_mlflow(home.root / "other")
        other.mlflow_db.rename(home.mlflow_db)
    with closing(sqlite3.connect(home.mlflow_db)) as database:
        assert database.execute("select count(*) from runs").fetchone() == (0,)


def test_a_journal_that_cannot_be_made_is_a_database_that_cannot_be_written(home: Home) -> None:
    """What a folder without permission does to SQLite, for root too, whom permissions do not stop."""
    client = connect(home)
    Path(f"{home.mlflow_db}-journal").mkdir()
    with pytest.raises(PreconditionError, match=r"mlflow\.db: expected MLflow's database to be writable"):
        client.create_experiment("more")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everything")
def test_a_folder_that_becomes_read_only_is_named(home: Home) -> None:
    folder = home.mlflow_db.parent
    try:
        with pytest.raises(PreconditionError, match="writable"), Run(home, "read-only") as run:  # noqa: PT012
            folder.chmod(0o555)
            run.epoch(epoch(1))
    finally:
        folder.chmod(0o755)


def test_a_damaged_database_is_named(home: Home) -> None:
    client = connect(home)
    with home.mlflow_db.open("r+b") as file:
        file.write(b"\0" * 4096)
    with pytest.raises(IntegrityError, match=r"mlflow\.db: expected MLflow's SQLite database"):
        client.search_experiments()


def test_what_ended_a_run_is_not_hidden_by_the_database(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ZeroDivisionError), Run(home, "fails"):  # noqa: PT012
        home.mlflow_db.unlink()
        _ = 1 / 0
    assert "is not in MLflow" in capsys.readouterr().err


def test_a_run_is_resumed_with_all_it_had(home: Home) -> None:
    table = pl.DataFrame({"day": ["2024-06-18"], "units": [7.0]})
    with pytest.raises(ZeroDivisionError), Run(home, "first", tags={"purpose": "retrain"}) as run:  # noqa: PT012
        run.parameters({"training": {"steps": 3}})
        run.table(table, "data/first")
        _ = 1 / 0
    with Run(home, "second", tags={"job": "k"}, resume=run.run_id) as again:
        again.parameters({"training": {"steps": 4, "seed": 0}})  # what is there stays
        again.table(table, "data/second")
    found = connect(home).get_run(run.run_id)
    assert (found.info.status, found.info.run_name) == ("FINISHED", "second")
    assert found.data.params == {"training.steps": "3", "training.seed": "0"}
    assert (found.data.tags["purpose"], found.data.tags["job"]) == ("retrain", "k")
    tables = json.loads(found.data.tags["mlflow.loggedArtifacts"])
    assert [one["path"] for one in tables] == ["data/first.json", "data/second.json"]
    with pytest.raises(NotFoundError, match="run: expected a run of this home, found nonsense"):
        Run(home, "third", resume="nonsense")


def test_a_run_tells_what_it_saw_and_what_it_took(home: Home) -> None:
    panel = make_panel(np.ones((3, 30)), price_SP=np.ones((3, 40)), statics={"city": ["a", "b", "b"]})
    with Run(home, "parent") as parent, Run(home, "child", parent=parent) as run:
        run.data(panel, source="demand", context="backtest")
        run.epoch(epoch(1))
    found = connect(home).get_run(run.run_id)
    assert found.data.tags["mlflow.parentRunId"] == parent.run_id
    assert found.data.tags["cutoff"] == "2024-01-30"
    (used,) = found.inputs.dataset_inputs
    assert used.tags[0].value == "backtest"
    columns = [column["name"] for column in json.loads(used.dataset.schema)["mlflow_colspec"]]
    assert columns == ["item", "location", "platform", "time", "demand", "city", "price"]
    assert {"system/process_cpu_percentage", "system/process_memory_megabytes"} <= set(found.data.metrics)
    assert found.data.metrics["system/process_memory_megabytes"] > 10


def test_the_pages_begin_with_the_homes_own_runs(home: Home) -> None:
    assert home_page(home, 5000) == "http://127.0.0.1:5000/#/experiments?workflowType=machine_learning"
    with Run(home, "first") as run:
        place = run.experiment_id
    assert home_page(home, 5000) == (
        f"http://127.0.0.1:5000/#/experiments/{place}/runs?workflowType=machine_learning"
    )


def test_a_model_is_not_lost_when_the_database_goes_while_it_is_trained(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    days = np.arange("2024-01-01", "2024-03-31", dtype="datetime64[D]")
    rows = [f"item{s},{day},{3 + s}" for s in range(2) for day in days]
    table = tmp_path / "demand.csv"
    table.write_text("\n".join(["item,time,demand", *rows]) + "\n")
    place = ["--home", str(home.root)]
    assert main(["data", "import", "table", str(table), "--period", "day", *place]) == 0
    log = Run.epoch

    def epoch_and_trouble(run: Run, record: EpochRecord) -> None:
        if home.mlflow_db.exists():
            home.mlflow_db.rename(tmp_path / "moved.db")
        log(run, record)

    monkeypatch.setattr(Run, "epoch", epoch_and_trouble)
    capsys.readouterr()
    few = ["--horizon", "7", "--steps", "3", "--device", "cpu", "--backtest-origins", "0"]
    assert main(["train", *place, *few]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"error: {home.mlflow_db}: expected MLflow's database, found no such file")
    (folder,) = home.bundles_dir.iterdir()
    assert Bundle.load(folder).bundle_id == folder.name
    assert not home.mlflow_db.exists()
