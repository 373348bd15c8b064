"""A small home with demand, calendars, a model of random weights and its published snapshot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from forecast.cli.main import run
from forecast.demand.panel import Panel
from forecast.demand.panel_build import load_panel
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import Forecaster
from forecast.model.schema import FeatureSchema
from forecast.snapshot import move_pointer, write_snapshot

CUTOFF = np.datetime64("2023-11-04")
"""A week before Singles' Day, with the one before in the history."""
HORIZON = 14
KNOWN = ("price", "discount")


def make_home(root: Path, *tables: Path) -> Home:
    """Simulated demand of 12 series from 2022-10-01, and further tables, imported; events of China."""
    from datetime import date

    home = Home(root / "home")
    home.root.mkdir(parents=True)
    home.settings_file.write_text('[events]\ncalendars = ["china"]\n')
    config = SimulationConfig(
        n_series=12, n_periods=400, horizon=30, start=date(2022, 10, 1), n_locations=3, stock_outs=0.02
    )
    write_table(simulate(config).panel, root / "old.parquet")
    for path in (root / "old.parquet", *tables):
        names = ["--known", ",".join(KNOWN), "--static", "category"]
        line = ["data", "import", "table", str(path), "--period", "day", *names]
        assert run([*line, "--home", str(home.root)]) == 0
    return home


def panel_of(home: Home) -> Panel:
    """The panel at the cutoff."""
    return load_panel(home, cutoff=CUTOFF, horizon=HORIZON)


def wild_bundle(panel: Panel, seed: int = 0) -> Bundle:
    """A bundle of random weights, so that every input shows in the output."""
    config = ModelConfig(
        period=panel.period, horizon=HORIZON, origins=5, channels=8, hidden=16, members=2, scenarios=20
    )
    schema = FeatureSchema.fit(panel, config.horizon)
    torch.manual_seed(seed)
    network = Ensemble(config, schema)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    ranks = np.random.default_rng(seed).random((panel.n_series, HORIZON, 20)).argsort(axis=2)
    return Bundle(
        config=config,
        schema=schema,
        weights=network.state_dict(),
        ranks_SHK=ranks.astype(np.uint8),
        keys=panel.keys,
        facts={},
    )


def publish_bundle(home: Home, bundle: Bundle, version: str = "1") -> str:
    """Score the home's demand with a bundle, and let the snapshot serve."""
    bundle.save(home.bundles_dir / bundle.bundle_id)
    panel = panel_of(home)
    forecasts = Forecaster(bundle, "cpu")(panel, HORIZON)
    snapshot = write_snapshot(home, forecasts, panel, bundle_id=bundle.bundle_id, model_version=version)
    move_pointer(home, snapshot)
    return snapshot
