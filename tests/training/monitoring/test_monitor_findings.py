"""When published forecasts give reason to act, and what is done then."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from monitored_home import LAST, SECOND, import_days, make_monitored, monitor, publish_at

from forecast.cli.main import KEPT
from forecast.errors import SurgecastError
from forecast.home import Home
from forecast.monitor_settings import MonitorSettings
from training.gates.findings import Finding
from training.jobs import MODEL_NAME
from training.monitoring.judge import judge
from training.monitoring.promise import WQL, Promise, promise_of
from training.monitoring.table import SCHEMA, with_metrics
from training.monitoring.tally import SUMS
from training.monitoring.trigger import ATTEMPTS, command, read_asked
from training.monitoring.watch import Wanted, once
from training.registry import MODEL
from training.tracking import Run

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")
SETTINGS = MonitorSettings()
LAST_S = np.datetime64("2024-03-01", "s")
GOOD = {
    "n": 1000.0,
    "units": 1000.0,
    "error": 50.0,
    "absolute_error": 500.0,
    "quantile_loss": 400.0,
    "inside_50": 510.0,
    "inside_80": 790.0,
    "inside_95": 960.0,
    "naive_absolute_error": 700.0,
    "naive_quantile_loss": 600.0,
}
PROMISE = Promise(bundle="b1", trained_until=np.datetime64("2024-02-10", "s"), wql=0.38)


def scores_of(*rows: dict[str, object]) -> pl.DataFrame:
    """A table of scores; each row may change what is said of a good one."""
    about = {
        "snapshot": "s",
        "bundle": "b1",
        "created": "2024-02-12T00:00:00+00:00",
        "period": "day",
        "origin": np.datetime64("2024-02-11", "us").item(),
        "last": np.datetime64("2024-02-25", "us").item(),
        "horizon": 14,
        "periods": 14,
        "series": 100,
        "gone": 0,
        "data_version": "1",
        "basis": "",
        "dimension": "all",
        "value": "all",
    }
    names = [name for name in SCHEMA if name in about or name in SUMS]
    made = [{**about, **GOOD, **row} for row in rows or ({},)]
    return with_metrics(pl.DataFrame(made, schema={name: SCHEMA[name] for name in names}))


def judged(scores: pl.DataFrame, promise: Promise = PROMISE) -> tuple[Finding, ...]:
    return judge(scores, promise, period="day", last=LAST_S, settings=SETTINGS)


def crossed(found: tuple[Finding, ...]) -> list[tuple[str, str]]:
    return [(one.check, one.subject) for one in found if one.blocks and not one.passed]


def test_good_forecasts_cross_nothing() -> None:
    found = judged(scores_of())
    assert crossed(found) == []
    assert {one.check for one in found} == {"wql", "bias", "coverage", "fva", "training"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"quantile_loss": 0.38 * 1.25 * 1000 + 1}, ("wql", "all")),
        ({"error": 210.0}, ("bias", "all")),
        ({"error": -210.0}, ("bias", "all")),
        ({"inside_50": 390.0}, ("coverage", "50 %")),
        ({"inside_80": 910.0}, ("coverage", "80 %")),
        ({"inside_95": 840.0}, ("coverage", "95 %")),
        ({"naive_quantile_loss": 390.0}, ("fva", "all")),
    ],
)
def test_each_threshold(changes: dict[str, object], expected: tuple[str, str]) -> None:
    found = judged(scores_of(changes))
    assert crossed(found) == [expected]
    (one,) = (one for one in found if not one.passed)
    assert one.value is not None
    assert "expected" in one.sentence()


def test_a_model_that_has_not_seen_the_last_weeks() -> None:
    old = replace(PROMISE, trained_until=LAST_S - np.timedelta64(36, "D"))
    assert crossed(judged(scores_of(), old)) == [("training", "all")]
    unknown = replace(PROMISE, trained_until=None, wql=None)
    assert {one.check for one in judged(scores_of(), unknown)} == {"bias", "coverage", "fva"}


def test_a_former_models_forecasts_are_not_the_present_ones_fault() -> None:
    bad = {"bundle": "b0", "snapshot": "old", "quantile_loss": 900.0}
    assert crossed(judged(scores_of(bad, {}))) == []
    assert crossed(judged(scores_of(bad | {"bundle": "b1"}, {}))) == [("wql", "all"), ("fva", "all")]


def test_too_little_evidence_is_said_and_stops_nothing() -> None:
    few = scores_of({"quantile_loss": 900.0, "last": np.datetime64("2024-02-17", "us").item()})
    found = judged(few)
    assert crossed(found) == []
    (one,) = (one for one in found if not one.passed)
    assert (one.check, one.value, one.blocks) == ("evidence", 6, False)


def test_forecasts_of_long_ago_do_not_count() -> None:
    old = {"origin": np.datetime64("2024-01-20", "us").item(), "quantile_loss": 900.0}
    assert [one.check for one in judged(scores_of(old)) if not one.passed] == ["evidence"]


def test_a_part_worse_than_naive_is_a_warning() -> None:
    part = {"dimension": "segment", "value": "peak", "naive_quantile_loss": 300.0}
    found = [one for one in judged(scores_of({}, part)) if not one.passed]
    assert [(one.check, one.subject, one.blocks) for one in found] == [("fva", "segment peak", False)]


# ------------------------------------------------------------------------------ the command


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Recent forecasts are three times too high, and their run in MLflow promised a WQL of 0.4."""
    home, *_ = make_monitored(tmp_path_factory.mktemp("monitor"))
    publish_at(home, SECOND, seed=3, bundle="b2", factor=3.0)
    with Run(home, "train") as run:
        run.metrics({WQL: 0.4})
        run.client.create_registered_model(MODEL)
        run.client.create_model_version(MODEL, source="none", run_id=run.run_id, tags={"bundle_id": "b2"})
    return home


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    shutil.copytree(made.root, tmp_path / "home")
    return Home(tmp_path / "home")


def test_the_promise_is_that_of_the_backtest(home: Home) -> None:
    assert f"backtest/wql/{MODEL_NAME}" == WQL
    assert promise_of(home, "b1") == Promise(bundle="b2", trained_until=None, wql=0.4)
    home.pointer_file.unlink()
    assert promise_of(home, "b1") == Promise(bundle="b1", trained_until=None, wql=None)


def test_check_ends_with_1_where_something_is_crossed(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert monitor(home, "--no-log") == 0
    said = capsys.readouterr().err
    assert "finding: wql: expected at most 0.5, 1.25 times that of its backtest, found" in said
    assert "finding: bias: expected 20% of the demand at most, up or down, found +" in said
    assert monitor(home, "--no-log", "--check", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert {one["check"] for one in found["findings"] if one["blocks"] and not one["passed"]} >= {
        "wql",
        "bias",
    }
    assert found["serving"] == {"bundle": "b2", "trained_until": None, "wql_at_promotion": 0.4}
    lenient = "[monitor]\nmin_periods = 100\n"
    home.settings_file.write_text(home.settings_file.read_text() + lenient)
    assert monitor(home, "--no-log", "--check") == 0


@pytest.fixture
def retrain(
    home: Home, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[str | None, str]]:
    """Monitor, with a retraining that notes that it ran, says something and ends with a status: what became
    of it, and what was said."""
    (tmp_path / "job.py").write_text(
        "import sys\n"
        "open(sys.argv[1], 'a').write('ran\\n')\n"
        "print(sys.argv[3], file=sys.stderr)\n"
        "sys.exit(int(sys.argv[2]))\n"
    )

    def ask(status: int, line: str = "done") -> tuple[str | None, str]:
        job = (sys.executable, str(tmp_path / "job.py"), str(tmp_path / "runs"), str(status), line)
        capfd.readouterr()
        with nullcontext() if status in (0, KEPT) or "no other" in line else pytest.raises(SurgecastError):
            once(home, Wanted(retrain=True, log=False, as_json=True, retraining=job))
        out, err = capfd.readouterr()
        return json.loads(out)["retrain"], err

    return ask


def runs(tmp_path: Path) -> int:
    path = tmp_path / "runs"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.parametrize(("exit_status", "status"), [(0, "done"), (KEPT, "kept")])
def test_a_retraining_is_run_once_for_the_same_findings_and_demand(
    home: Home,
    retrain: Callable[..., tuple[str | None, str]],
    tmp_path: Path,
    exit_status: int,
    status: str,
) -> None:
    found, said = retrain(exit_status, "all is well")
    assert found == status
    assert "retrain: all is well\n" in said
    assert retrain(0)[0] == "remembered"
    assert runs(tmp_path) == 1
    (asked,) = read_asked(home)
    assert (asked.data_version, asked.exit) == ("3", exit_status)
    assert {"wql", "bias"} <= set(asked.checks)

    table = pl.DataFrame(
        {
            "item": ["new"],
            "location": ["store"],
            "platform": ["online"],
            "time": [(LAST + 1).astype("M8[us]").item()],
            "demand": [1.0],
        }
    )
    import_days(home, table, LAST + 1)
    assert retrain(0)[0] == "done"  # other demand: another try
    assert runs(tmp_path) == 2


def test_a_retraining_that_failed_is_tried_again_but_not_for_ever(
    home: Home, retrain: Callable[..., tuple[str | None, str]], tmp_path: Path
) -> None:
    assert [retrain(1)[0] for _ in range(ATTEMPTS)] == ["failed"] * ATTEMPTS
    assert retrain(0)[0] == "remembered"
    assert [one.exit for one in read_asked(home)] == [1] * ATTEMPTS
    assert runs(tmp_path) == ATTEMPTS


def test_where_another_job_is_at_work_nothing_was_tried(
    retrain: Callable[..., tuple[str | None, str]], home: Home, tmp_path: Path
) -> None:
    assert retrain(1, "error: job: expected no other at work in home, found retrain")[0] == "busy"
    assert read_asked(home) == []
    assert retrain(0)[0] == "done"
    assert runs(tmp_path) == 2


def test_without_findings_nothing_is_run(
    home: Home, retrain: Callable[..., tuple[str | None, str]], tmp_path: Path
) -> None:
    shutil.rmtree(home.snapshots_dir / json.loads(home.pointer_file.read_text())["snapshot"])
    home.settings_file.write_text('[events]\ncalendars = ["china"]\n')
    publish_at(home, LAST, bundle="b9")  # a new model: nothing to blame it for
    assert retrain(0)[0] is None
    assert runs(tmp_path) == 0


def test_a_damaged_record_of_retrainings(home: Home, retrain: Callable[..., tuple[str | None, str]]) -> None:
    home.monitoring_dir.mkdir(exist_ok=True)
    (home.monitoring_dir / "retrainings.json").write_text("[")
    assert retrain(0)[0] == "done"
    assert len(read_asked(home)) == 1


def test_what_is_run_is_what_a_user_would_type(home: Home) -> None:
    assert command(home)[1:] == ["-m", "forecast.cli.main", "retrain", "--home", str(home.root)]
