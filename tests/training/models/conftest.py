"""Homes with a few versions of one tiny model, on a real MLflow."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from forecast.cli.main import run
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.home import Home
from forecast.model.bundle import Bundle
from training.config import TrainingConfig
from training.fit import fit
from training.gates.findings import Finding, GateReport
from training.jobs import model_config, read_panel
from training.registry import CHALLENGER, bundle_folder, register
from training.tracking import Run

HORIZON = 7
CUTOFF = "2023-04-20"
ORIGINS = ("2023-04-06", "2023-04-13")
KEPT_BACK = Finding(
    check="peaks",
    subject="peak",
    passed=False,
    expected="not surely more than 2 % worse than champion",
    found="WQL +9.0 % (+4.0 to +14.0 %)",
    value=0.09,
    limit=0.02,
)
HELD = replace(KEPT_BACK, check="wql", subject="all", passed=True, found="WQL -1.0 % (-2.0 to -0.1 %)")


def scores(wql: float) -> pl.DataFrame:
    """A table as a backtest leaves it."""
    kept = {"n": 84, "wape": wql, "bias": 0.01, "coverage_50": 0.5, "coverage_80": 0.8, "coverage_95": 0.95}
    rows = [
        {"slice": name, "forecaster": who, **kept, "units": units, "wql": value * times}
        for name, units, times in (("all", 400.0, 1.0), ("peak", 100.0, 1.5))
        for who, value in (("surgecast", wql), ("seasonal naive", 0.6))
    ]
    return pl.DataFrame(rows)


def add_version(
    home: Home, bundle: Bundle, *, wql: float, gate: GateReport | None = None, aliases: tuple[str, ...] = ()
) -> str:
    """Save and register a bundle with what a job logs of it; the version's number."""
    folder = bundle_folder(home, bundle.bundle_id)
    bundle.save(folder)
    with Run(home, f"train {bundle.facts['seed']}", tags={"purpose": "train"}) as job:
        job.parameters({"training": {"seed": bundle.facts["seed"], "steps": 2}})
        job.metrics({"backtest/wql/surgecast": wql})
        job.table(scores(wql), "backtest/by-slice")
        for origin in ORIGINS:
            with Run(home, f"origin {origin}", tags={"origin": origin}, parent=job) as child:
                child.table(scores(wql), "backtest/by-slice")
        if gate is not None:
            job.tag({"gate.promotion": "passed" if gate.passed else "failed"})
            job.table(gate.frame(), "gates/promotion")
        job.client.log_text(job.run_id, f"# Card of {bundle.bundle_id}\n", "model-card.md")
        return register(job, bundle, folder, aliases=aliases).version


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Bundle]:
    """Simulated demand of 24 series, and a model of it."""
    root = tmp_path_factory.mktemp("models")
    home = Home(root / "home")
    table = root / "demand.parquet"
    write_table(simulate(SimulationConfig(n_series=24, n_periods=120, horizon=30)).panel, table)
    names = ["--known", "price,discount", "--static", "category"]
    assert run(["data", "import", "table", str(table), "--home", str(home.root), *names]) == 0
    past = read_panel(home, cutoff=None, horizon=HORIZON).until(96)
    training = TrainingConfig(steps=2, device="cpu")
    return home, fit(past, model=model_config(past, HORIZON, training), training=training)


def variant(bundle: Bundle, seed: int, **facts: str) -> Bundle:
    """The same model with other facts, and so another bundle."""
    return replace(bundle, facts={**bundle.facts, "seed": seed, **facts})


@pytest.fixture(scope="session")
def made(trained: tuple[Home, Bundle]) -> Home:
    """Version 1 was champion and served; 2 is champion and serves; 3 was kept back at peaks. One bundle is
    of no version."""
    home, bundle = trained
    passed = GateReport(gate="promotion", findings=(HELD,))
    failed = GateReport(gate="promotion", findings=(HELD, KEPT_BACK))
    publish = ["publish", "--home", str(home.root), "--cutoff", CUTOFF, "--device", "cpu"]
    for seed in (1, 2):
        add_version(home, variant(bundle, seed), wql=0.5 - seed / 100, gate=passed, aliases=("champion",))
        assert run(publish) == 0
    add_version(home, variant(bundle, 3), wql=0.45, gate=failed, aliases=(CHALLENGER,))
    variant(bundle, 99).save(home.bundles_dir / variant(bundle, 99).bundle_id)
    return home


@pytest.fixture
def home(made: Home, tmp_path: Path) -> Home:
    """A copy of that home to change."""
    shutil.copytree(made.root, tmp_path / "home")
    return Home(tmp_path / "home")
