"""A small home whose forecasts were published on two days, and demand that came true after."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
from panels import random_forecasts

from forecast.cli.main import run
from forecast.demand.events.calendars import load_events
from forecast.demand.panel import Panel
from forecast.demand.panel_build import load_panel
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.forecasts import Forecasts
from forecast.home import Home
from forecast.settings import load_settings
from forecast.snapshot import move_pointer, write_snapshot

START = date(2023, 8, 1)
HORIZON = 14
FIRST = np.datetime64("2023-11-03")
"""Origin of the first snapshot: a week and a day before Singles' Day."""
SECOND = np.datetime64("2023-11-10")
LAST = np.datetime64("2023-11-19")
"""The last day of the store: the first snapshot is known whole, the second for nine days."""
N_PERIODS = 120


def make_table(root: Path, **changes: object) -> pl.DataFrame:
    """Simulated order totals of 12 series on two platforms from START on, with stock-outs, some rows
    missing."""
    settings = {"n_series": 12, "n_periods": N_PERIODS, "horizon": 0, "start": START, "n_locations": 3}
    config = SimulationConfig(**{**settings, "stock_outs": 0.02, **changes})
    write_table(simulate(config).panel, root / "all.parquet")
    table = pl.read_parquet(root / "all.parquet").select(
        "item", "location", "platform", "time", "demand", "stocked_out"
    )
    return table.filter(pl.int_range(pl.len()) % 97 != 0)


def import_days(
    home: Home, table: pl.DataFrame, last: np.datetime64, first: np.datetime64 | None = None
) -> None:
    """Import the rows of a table from `first` to `last`."""
    rows = table.filter(pl.col("time") < (last + 1).astype("M8[us]").item())
    if first is not None:
        rows = rows.filter(pl.col("time") >= first.astype("M8[us]").item())
    path = home.root.parent / f"up-to-{last}-{rows.height}.parquet"
    rows.write_parquet(path)
    assert run(["data", "import", "table", str(path), "--period", "day", "--home", str(home.root)]) == 0


def make_home(root: Path) -> Home:
    """A home with events of China and nothing else."""
    home = Home(root / "home")
    home.root.mkdir(parents=True)
    home.settings_file.write_text('[events]\ncalendars = ["china"]\n')
    return home


def publish_at(
    home: Home, cutoff: np.datetime64, *, seed: int = 0, bundle: str = "b1", factor: float = 1.0
) -> str:
    """Publish random forecasts around the level of each series, times a factor."""
    panel = load_panel(home, cutoff=cutoff, horizon=HORIZON)
    return publish_forecasts(home, panel, forecasts_of(panel, seed, factor), bundle)


def forecasts_of(panel: Panel, seed: int, factor: float = 1.0) -> Forecasts:
    """Random forecasts: quantiles of a mean of 4 units, moved to the level of each series."""
    wild = random_forecasts(panel, HORIZON, seed=seed)
    level_S = np.nanmean(panel.demand_ST[:, -28:], axis=1).astype(np.float32) * factor / 4
    return replace(
        wild,
        mean_SH=wild.mean_SH * level_S[:, None],
        quantiles_SHQ=wild.quantiles_SHQ * level_S[:, None, None],
    )


def publish_forecasts(home: Home, panel: Panel, forecasts: Forecasts, bundle: str = "b1") -> str:
    """Write a snapshot of forecasts and let it serve."""
    first = panel.start.astype("M8[D]").item()
    events = load_events(home, load_settings(home), first, (SECOND + 60).item())
    snapshot = write_snapshot(home, forecasts, panel, bundle_id=bundle, model_version="1", events=events)
    move_pointer(home, snapshot)
    return snapshot


def make_monitored(root: Path) -> tuple[Home, pl.DataFrame, str, str]:
    """The home, its whole table, and the snapshots of FIRST and SECOND."""
    home, table = make_home(root), make_table(root)
    import_days(home, table, FIRST)
    first = publish_at(home, FIRST, seed=1)
    import_days(home, table, SECOND, FIRST + 1)
    second = publish_at(home, SECOND, seed=2)
    import_days(home, table, LAST, SECOND + 1)
    return home, table, first, second


def monitor(home: Home, *arguments: str) -> int:
    """The exit status of `surgecast monitor` with these arguments."""
    return run(["monitor", "--home", str(home.root), *arguments])
