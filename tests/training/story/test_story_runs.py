"""What fits, backtests and gates leave in a real MLflow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from panels import make_panel
from tracking_home import home_with_mlflow

from forecast.demand.panel import Panel
from forecast.evaluation.backtest import BacktestReport, backtest
from forecast.evaluation.baselines import baselines
from forecast.evaluation.by_level import error_by_level
from forecast.evaluation.by_origin import by_origin
from forecast.evaluation.surge_calls import surge_calls, surge_table
from forecast.home import Home
from training.gates.findings import Finding, GateReport
from training.story import log_backtest, log_gate
from training.tracking import Run, connect

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

ORIGINS = [92, 99, 106]


@pytest.fixture(scope="module")
def panel() -> Panel:
    generator = np.random.default_rng(2)
    demand = generator.poisson(6, (9, 120)).astype(np.float32)
    demand[:4, np.arange(120) % 5 > 0] = 0
    demand[7, 110] = 90
    demand[2, 95] = np.nan
    places = ["上海", "Hangzhou", "$tore$"] * 3
    return make_panel(demand, locations=places, events={"double-11/day": [110], "double-11/pre": [107, 108]})


@pytest.fixture(scope="module")
def report(panel: Panel) -> BacktestReport:
    made = baselines(n_scenarios=8)
    return backtest(panel, {"surgecast": made["croston"], **made}, ORIGINS, 14)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return home_with_mlflow(tmp_path_factory.mktemp("story") / "home")


@pytest.fixture(scope="module")
def logged(home: Home, panel: Panel, report: BacktestReport) -> str:
    with Run(home, "retrain", tags={"purpose": "retrain"}) as run:
        log_backtest(run, panel, report, ORIGINS, own="surgecast", rivals=["seasonal naive"])
    return run.run_id


@pytest.fixture(scope="module")
def read(home: Home, logged: str) -> Callable[[str], Path]:
    """A file of the run by its path."""
    client = connect(home)
    return lambda path: Path(client.download_artifacts(logged, path))


def test_each_origin_is_a_child_whose_numbers_are_its_own(
    home: Home, logged: str, report: BacktestReport
) -> None:
    client = connect(home)
    parent = client.get_run(logged)
    children = client.search_runs(
        [parent.info.experiment_id],
        f"tags.mlflow.parentRunId = '{logged}'",
        order_by=["attributes.start_time"],
    )
    assert [one.info.run_name for one in children] == [
        "origin 2024-04-01",
        "origin 2024-04-08",
        "origin 2024-04-15",
    ]
    assert {one.data.tags["purpose"] for one in children} == {"backtest"}
    name = "backtest/wql/seasonal_naive"
    found = [one.data.metrics[name] for one in children]
    assert len(set(found)) == 3
    units = [
        one.table().filter((pl.col("slice") == "all") & (pl.col("forecaster") == "croston"))["units"][0]
        for one in by_origin(report)
    ]
    assert parent.data.metrics[name] == pytest.approx(np.average(found, weights=units))
    history = client.get_metric_history(logged, "by-origin/wql/seasonal_naive")
    assert [(one.step, one.value) for one in history] == list(enumerate(found))


def test_pictures_and_tables_tell_of_every_side(home: Home, logged: str, read: Callable[[str], Path]) -> None:
    client = connect(home)
    pictures = {item.path for item in client.list_artifacts(logged, "pictures")}
    names = ["against-seasonal-naive", "backtest", "calibration", "calibration-by-level", "error-by-level"]
    names += ["error-by-step", "forecasts", "surges"]
    assert pictures == {f"pictures/{name}.png" for name in names}
    for path in pictures:
        assert read(path).read_bytes().startswith(b"\x89PNG")
    shown = json.loads(client.get_run(logged).data.tags["mlflow.loggedArtifacts"])
    tables = {Path(one["path"]).stem for one in shown}
    assert tables == {"by-slice", "by-step", "calibration", "surges", "by-level", "against"}
    against = json.loads(read("backtest/against.json").read_text())
    assert against["columns"][:2] == ["slice", "against"]
    assert {row[1] for row in against["data"]} == {"seasonal naive"}


def test_sums_of_parts_are_those_of_the_whole(report: BacktestReport, panel: Panel) -> None:
    levels = error_by_level(report, panel)
    assert levels["level"].unique(maintain_order=True).to_list()[0] == "total"
    own = levels.filter(pl.col("forecaster") == "croston")
    assert own["bias"].to_numpy() == pytest.approx(own["bias"][0])  # sums of sums
    table = report.table().filter((pl.col("slice") == "all") & (pl.col("forecaster") == "croston"))
    assert own["bias"][0] == pytest.approx(table["bias"][0], abs=1e-5)
    assert own["wape"][0] <= own["wape"].to_list()[-1]  # errors of series cancel in sums
    parts = [surge_calls(one, "moving average") for one in by_origin(report)]
    whole = surge_calls(report, "moving average")
    assert sum(one.misses for one in parts) == whole.misses > 0
    assert surge_table(report)["peaks"].unique().to_list() == [whole.hits + whole.misses]
    n_levels = {level: low.shape[0] // 3 for level, (low, _) in report.scenarios["croston"].pits.items()}
    for one in by_origin(report):
        assert {k: low.shape[0] for k, (low, _) in one.scenarios["croston"].pits.items()} == n_levels


def test_a_gate_says_what_stopped_it(home: Home) -> None:
    findings = (
        Finding(check="volume", subject="2024-06-18", passed=False, expected="at least 9", found="0"),
        Finding(
            check="drift", subject="price", passed=False, expected="PSI up to 0.25", found="0.31",
            blocks=False, value=0.31, limit=0.25,
        ),
        Finding(check="drift", subject="demand", passed=True, expected="PSI up to 0.25", found="0.1",
            value=0.1, limit=0.25),
        Finding(check="schema", subject="all", passed=True, expected="5 columns", found="5 columns"),
    )  # fmt: skip
    with Run(home, "stopped") as run:
        log_gate(run, GateReport(gate="data", findings=findings))
    client = connect(home)
    found = client.get_run(run.run_id)
    assert found.data.tags["gate.data"] == "failed"
    assert (found.data.metrics["gate/data/failures"], found.data.metrics["gate/data/warnings"]) == (1, 1)
    text = Path(client.download_artifacts(run.run_id, "gates/data.md")).read_text()
    assert text.index("volume, 2024-06-18: expected at least 9, found 0") < text.index("drift, price")
    assert [item.path for item in client.list_artifacts(run.run_id, "pictures")] == ["pictures/drift.png"]
