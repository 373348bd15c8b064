"""The data gate on other periods than days, and by its command."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import typer
from gate_home import SETTINGS, imported, sentences
from typer.testing import CliRunner

from forecast.demand.simulate import SimulationConfig, simulate
from forecast.home import Home
from training.gates.cli import check
from training.gates.data import check_data


def test_hours_that_came_in_another_zone(tmp_path: Path) -> None:
    config = SimulationConfig(n_series=20, n_periods=24 * 40 - 5, period="hour", horizon=0, launched=0.0)
    whole = simulate(config).panel
    demand_ST = whole.demand_ST.copy()
    home, shifted = Home(tmp_path / "home"), Home(tmp_path / "shifted")
    imported(home, whole, "all", period="hour")
    good = check_data(home, SETTINGS, cutoff=whole.origin, today=np.datetime64("2024-01-01"))
    assert good.passed, sentences(good)
    week = 24 * 7
    demand_ST[:, -week:] = demand_ST[:, -week - 8 : -8]
    imported(shifted, replace(whole, demand_ST=demand_ST), "all", period="hour")
    bad = check_data(shifted, SETTINGS, cutoff=whole.origin, today=np.datetime64("2024-01-01"))
    assert "dates, hours: expected" in sentences(bad)
    assert "8 hours too late" in sentences(bad)


def test_weeks(tmp_path: Path) -> None:
    whole = simulate(
        SimulationConfig(n_series=60, n_periods=80, period="week", horizon=0, launched=0.0)
    ).panel
    demand_ST = whole.demand_ST.copy()
    demand_ST[:, -1] *= 10
    home = Home(tmp_path / "home")
    imported(home, whole, "all", period="week")
    settings = SETTINGS.model_copy(update={"days": 2})
    assert check_data(home, settings, cutoff=whole.origin, today=np.datetime64("2025-01-01")).passed
    imported(home, replace(whole, demand_ST=demand_ST), "tenfold", period="week")
    report = check_data(home, settings, cutoff=whole.origin, today=np.datetime64("2025-01-01"))
    assert "as on the last 8 weeks" in sentences(report)


def test_the_command(base: Home) -> None:
    app = typer.Typer()
    app.command()(check)
    runner = CliRunner()
    good = runner.invoke(app, ["--home", str(base.root), "--cutoff", "2023-10-07", "--json"])
    assert good.exit_code == 0, good.output
    facts = json.loads(good.stdout)
    assert (facts["gate"], facts["passed"]) == ("data", True)
    assert len(facts["findings"]) > 15
    old = runner.invoke(app, ["--home", str(base.root)])
    assert old.exit_code == 1
    assert "STOP" in old.stdout
    assert "freshness" in old.stdout
    assert "volume" not in old.stdout
    assert "FAILED; 1 stop" in old.stderr
    assert "volume" in runner.invoke(app, ["--home", str(base.root), "--all"]).stdout
