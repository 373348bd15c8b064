"""The least data there can be, through the real commands: each works, or ends with a line that names the
field."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from forecast.cli.main import run
from forecast.home import Home
from forecast.snapshot.pointer import Pointer
from forecast.snapshot.reader import Snapshot

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

FEW = ["--horizon", "7", "--steps", "3", "--device", "cpu", "--json"]


def imported(root: Path, n_series: int, n_periods: int, units: int = 3) -> Home:
    """A home with so many series of so many days, all of the same demand."""
    days = [date(2024, 1, 1) + timedelta(t) for t in range(n_periods)]
    rows = [f"item{s},{day},{units}" for s in range(n_series) for day in days]
    (root / "t.csv").write_text("\n".join(["item,time,demand", *rows]) + "\n")
    line = ["data", "import", "table", str(root / "t.csv"), "--period", "day"]
    assert run([*line, "--home", str(root / "home")]) == 0
    return Home(root / "home")


def only_line(capsys: pytest.CaptureFixture[str]) -> str:
    """What is on stderr, one line, with nothing on stdout."""
    shown = capsys.readouterr()
    assert (shown.out, shown.err.count("\n")) == ("", 1)
    return shown.err


@pytest.mark.parametrize(("n_series", "n_periods"), [(1, 1), (5, 1), (1, 90), (2, 2)])
def test_one_series_or_one_period_is_trained_on_and_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], n_series: int, n_periods: int
) -> None:
    home = imported(tmp_path, n_series, n_periods)
    capsys.readouterr()
    assert run(["train", "--home", str(home.root), *FEW, "--backtest-origins", "0"]) == 0
    assert json.loads(capsys.readouterr().out)["series"] == n_series
    assert run(["publish", "--home", str(home.root), "--device", "cpu", "--json"]) == 0
    snapshot = Snapshot.open(home.snapshots_dir / Pointer.read(home).snapshot)
    assert snapshot.mean_SH.shape == (n_series, 7)
    assert np.isfinite(snapshot.mean_SH).all()
    assert (snapshot.mean_SH > 0).all()


def test_one_series_is_backtested_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = imported(tmp_path, 1, 90)
    capsys.readouterr()
    assert run(["train", "--home", str(home.root), *FEW, "--backtest-origins", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["backtest"]["series"] == 1


def test_one_period_is_too_short_for_a_backtest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = imported(tmp_path, 3, 1)
    capsys.readouterr()
    assert run(["train", "--home", str(home.root), *FEW]) == 1
    assert only_line(capsys).startswith(
        "error: history: expected at least 21 periods for the backtest (fewer"
    )


def test_no_series_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = ["--home", str(tmp_path / "home"), "--device", "cpu"]
    assert run(["train", *home]) == 1
    assert only_line(capsys).startswith("error: demand store: expected imported demand, found none in ")
    assert run(["publish", *home]) == 1
    assert only_line(capsys).startswith("error: champion: expected a registered model; `surgecast train`")


def test_series_that_never_sold_anything(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = imported(tmp_path, 2, 40, units=0)
    capsys.readouterr()
    assert run(["train", "--home", str(home.root), *FEW, "--backtest-origins", "0"]) == 1
    assert only_line(capsys) == "error: demand: expected at least one period with demand, found none\n"
