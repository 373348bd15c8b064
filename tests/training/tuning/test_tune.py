"""`surgecast tune` with real fits of a few steps, a real study and a real MLflow on SQLite."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import typer
from mlflow.entities import Run as MlflowRun
from optuna.trial import TrialState
from poison import poisoned
from typer.testing import CliRunner

import training.tuning.trial
from forecast.cli.main import run
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.errors import InputError, IntegrityError, NotFoundError, SurgecastError, UsageError
from forecast.home import Home
from forecast.model.config import ModelConfig
from forecast.retrain_settings import RetrainSettings
from forecast.settings import Settings, TrainingSettings, load_settings
from forecast.tune_settings import TuneSettings
from training.config import TrainingConfig
from training.jobs import BacktestPlan, model_config, origins_of
from training.options import configured
from training.records import EpochRecord
from training.tracking import Run, connect
from training.tuning.cli import tune
from training.tuning.space import SPACE, applied, space_of
from training.tuning.study import open_study
from training.tuning.trial import _follower
from training.tuning.tune import TuneRequest, make_bench, trial_row
from training.tuning.tune import tune as search

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

SETTINGS = """
[training]
horizon = 7
device = "cpu"
channels = 16
hidden = 16

[tune]
trial_steps = 4
origins = 2
held_out = 1
search = ["learning_rate", "cold", "batch"]
"""


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with demand of 6 series and 130 days, and MLflow's database made."""
    root = tmp_path_factory.mktemp("tune")
    table = root / "demand.parquet"
    write_table(simulate(SimulationConfig(n_series=6, n_periods=130, horizon=14)).panel, table)
    home = root / "home"
    assert run(["data", "import", "table", str(table), "--home", str(home)]) == 0
    (home / "surgecast.toml").write_text(SETTINGS)
    connect(Home(home)).search_experiments()
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Home:
    shutil.copytree(template, tmp_path / "home")
    return Home(tmp_path / "home")


def ask(home: Home, *line: str) -> dict[str, Any]:
    """What `surgecast tune --json` prints; raises what it fails with."""
    app = typer.Typer()
    app.command()(tune)
    result = CliRunner().invoke(app, ["--home", str(home.root), "--json", *line], catch_exceptions=False)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def runs(home: Home, *, parent: str | None = None) -> list[MlflowRun]:
    client = connect(home)
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = list(client.search_runs(experiments, order_by=["attributes.start_time"]))
    return [one for one in found if one.data.tags.get("mlflow.parentRunId") == parent]


def fails(monkeypatch: pytest.MonkeyPatch, which: Callable[[int], BaseException | None]) -> None:
    """Let the fits of some trials end with an error."""
    true = training.tuning.trial.fit_shown
    count = -1

    def fit(*args: Any) -> Any:
        nonlocal count
        count += 1
        error = which(count)
        if error is not None:
            raise error
        return true(*args)

    monkeypatch.setattr("training.tuning.trial.fit_shown", fit)


def test_a_search_its_runs_its_file_and_how_it_goes_on(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "training loss: expected a number, found nan at step 3; the largest losses there: a at b, c"
    fails(monkeypatch, lambda n: SurgecastError(reason) if n == 1 else None)
    found = ask(home, "--trials", "3")
    assert [(one["trial"], one["state"], one["reason"]) for one in found["trials"]] == [
        (0, "complete", ""),
        (1, "pruned", reason),
        (2, "complete", ""),
    ]
    own = {"learning_rate": 0.003, "cold": 0.04, "batch": 0}
    assert {name: found["trials"][0][name] for name in own} == own
    assert found["best"]["wql"] <= found["before"]["wql"]
    assert found["ended"] == "trials"
    (parent,) = runs(home)
    children = runs(home, parent=parent.info.run_id)
    assert [one.info.run_name for one in children] == ["trial 0", "trial 1", "trial 2"]
    assert {one.info.status for one in [parent, *children]} == {"FINISHED"}
    assert children[1].data.tags["pruned"] == reason
    assert children[2].data.params["training.cold"] == str(found["trials"][2]["cold"])
    assert children[0].data.metrics["backtest/wql/surgecast"] == pytest.approx(found["before"]["wql"])
    best = tomllib.loads((home.root / "tuned.toml").read_text())
    assert best == {"training": found["best"]["training"]}

    more = ask(home, "--trials", "9", "--minutes", "0.02", "--resume")
    assert more["study"] == found["study"]
    assert more["trials"][:3] == found["trials"]
    assert more["ended"] == "minutes"
    assert 3 < len(more["trials"]) < 9
    (home.root / "surgecast.toml").write_text(SETTINGS.replace("origins = 2", "origins = 1"))
    with pytest.raises(
        UsageError, match=r"--resume: expected origins 2, as tune-.* has it, found 1; without"
    ):
        ask(home, "--resume")


def test_the_file_is_one_of_settings(home: Home) -> None:
    (home.root / "tuned.toml").write_text("[training]\nlearning_rate = 0.002\nbatch = 32\nhalf_life = 30\n")
    shutil.copy(home.root / "tuned.toml", home.settings_file)
    training = configured(load_settings(home).training)
    assert training == configured(load_settings(home, file=home.root / "tuned.toml").training)
    assert (training.learning_rate, training.batch, training.half_life) == (0.002, 32, 30)


def test_what_is_reported_is_not_seen() -> None:
    panel = simulate(SimulationConfig(n_series=4, n_periods=200, horizon=14)).panel
    settings = Settings(training=TrainingSettings(horizon=14), tune=TuneSettings(origins=3))
    bench = make_bench(panel, settings)
    reported = origins_of(panel, 14, BacktestPlan())[0]
    assert bench.past.n_periods <= reported
    assert max(bench.origins) + 14 <= bench.past.n_periods
    assert bench.panel.n_periods == min(bench.origins)
    other = make_bench(poisoned(panel, reported), settings)
    assert np.array_equal(bench.past.demand_ST, other.past.demand_ST, equal_nan=True)
    long = settings.model_copy(update={"retrain": RetrainSettings(backtest_origins=6, stride=14)})
    assert make_bench(panel, long).past.n_periods == 200 - 6 * 14
    with pytest.raises(InputError, match="history: expected at least 62 periods for a search"):
        make_bench(panel.until(61), settings)


def test_a_search_whose_trials_all_fail_says_why(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, lambda _: SurgecastError("device: expected more memory, found 1 MiB"))
    with pytest.raises(
        SurgecastError, match="a trial that comes to its end, found device: expected more mem"
    ):
        ask(home)
    assert not (home.root / "tuned.toml").exists()


def test_a_trial_that_was_interrupted_is_tried_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    fails(monkeypatch, lambda n: KeyboardInterrupt() if n == 0 else None)
    settings = load_settings(home, {"tune.trials": 2})
    with pytest.raises(KeyboardInterrupt):
        search(home, TuneRequest(settings=settings, out=home.root / "tuned.toml"))
    (parent,) = runs(home)
    (child,) = runs(home, parent=parent.info.run_id)
    assert [parent.info.status, child.info.status] == ["KILLED", "KILLED"]
    cut = study_of(home).trials[0]
    found = ask(home, "--trials", "1", "--resume")
    assert [trial["trial"] for trial in found["trials"]] == [1]
    assert {name: found["trials"][0][name] for name in cut.params} == cut.params


def study_of(home: Home) -> optuna.Study:
    storage = f"sqlite:///{home.jobs_dir / 'tune.db'}"
    (name,) = optuna.get_all_study_names(storage)
    return optuna.load_study(study_name=name, storage=storage)


def test_a_search_that_was_killed_goes_on(home: Home) -> None:
    code = (
        "import sys, typer; from training.tuning.cli import tune; app = typer.Typer(); app.command()(tune);"
        " app(sys.argv[1:])"
    )
    line = [sys.executable, "-c", code, "--home", str(home.root), "--trials", "50"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(said for said in process.stderr if said.startswith("trial 0 begins: learning_rate 0.003,"))
        process.kill()
    assert [one.state for one in study_of(home).trials] == [TrialState.RUNNING]
    found = ask(home, "--trials", "1", "--resume")
    assert [(one["trial"], one["state"]) for one in found["trials"]] == [(1, "complete")]
    assert [one.info.status for one in runs(home)] == ["KILLED", "FINISHED"]
    assert [one.state for one in study_of(home).trials] == [TrialState.FAIL, TrialState.COMPLETE]


def test_a_fit_behind_the_median_of_the_others_is_given_up(home: Home) -> None:
    space = space_of(["cold"], TrainingSettings())
    study = open_study(home.jobs_dir / "tune.db", {}, space, resume=False, seed=0)

    def epoch(fraction: float, wql: float) -> EpochRecord:
        return EpochRecord(
            stage="stage 1",
            step=1,
            total_steps=10,
            seconds=1.0,
            fraction=fraction,
            loss=1.0,
            learning_rate=0.1,
            origins_per_s=1.0,
            validation={"wql": wql},
        )

    with Run(home, "search") as logged:
        for wql in (0.50, 0.51, 0.52, 0.53):
            trial = study.ask(dict(space))
            _follower(trial, logged)(epoch(0.25, wql))
            study.tell(trial, wql)
        _follower(study.ask(dict(space)), logged)(epoch(0.25, 0.51))
        last = study.ask(dict(space))
        behind = _follower(last, logged)
        with pytest.raises(
            optuna.TrialPruned, match=r"validation wql 0\.6 after 25 % of the fit, worse than"
        ):
            behind(epoch(0.25, 0.6))
    row = trial_row(study.tell(last, state=TrialState.PRUNED))
    assert (row["state"], row["wql"]) == ("pruned", None)  # a validation is no backtest


@pytest.mark.parametrize(
    ("line", "kind", "message"),
    [
        (["--search", "learning_rte"], UsageError, "found 'learning_rte'; did you mean learning_rate?"),
        (["--resume"], NotFoundError, "study: expected one in "),
        (
            ["--minutes", "9", "--trial-minutes", "9.5"],
            UsageError,
            "tune.minutes: expected at least the 9.5 of",
        ),
        (["--minutes", "-1"], UsageError, "tune.minutes: expected greater than 0, found -1.0"),
        (["--out", "/nowhere/best.toml"], UsageError, "out: expected an existing folder, found /nowhere"),
    ],
)
def test_wrong_use_is_one_line(home: Home, line: list[str], kind: type[Exception], message: str) -> None:
    home.settings_file.write_text(SETTINGS.replace("trial_steps = 4", ""))
    with pytest.raises(kind) as caught:
        ask(home, *line)
    assert message in str(caught.value)


def test_a_damaged_database_is_named(home: Home) -> None:
    home.jobs_dir.mkdir()
    (home.jobs_dir / "tune.db").write_text("nothing that SQLite would know" * 99)
    with pytest.raises(IntegrityError, match=r"tune\.db: expected the searches' SQLite database"):
        ask(home)


def test_what_is_searched_are_settings_whose_defaults_are_those_of_a_fit() -> None:
    settings, config = TrainingSettings(), TrainingConfig()
    assert set(SPACE) < set(TrainingSettings.model_fields)
    for name in set(SPACE) - {"batch"}:
        assert getattr(settings, name) == getattr(config, name)
    assert configured(settings) == dataclasses.replace(config, minutes=settings.minutes)
    panel = simulate(SimulationConfig(n_series=2, n_periods=200, horizon=7)).panel
    assert model_config(panel, 7, config) == ModelConfig.for_history("day", horizon=7, n_periods=200)
    wide = configured(applied(settings, {"channels": 32, "hidden": 48}))
    assert (model_config(panel, 7, wide).channels, model_config(panel, 7, wide).hidden) == (32, 48)


def test_the_settings_own_values_are_among_those_searched() -> None:
    own = TrainingSettings(channels=40, learning_rate=0.05, half_life=400)
    space = space_of([], own)
    for name, values in space.items():
        assert values._contains(values.to_internal_repr(getattr(own, name)))
