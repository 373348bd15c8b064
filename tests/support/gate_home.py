"""Stores for the data gate: simulated demand, whole or in parts, in homes of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime

import numpy as np

from forecast.data_gate_settings import DataGateSettings
from forecast.demand.panel import Panel, Period
from forecast.demand.simulate import SimulationConfig, write_table
from forecast.demand.sources.reading import Reading
from forecast.demand.sources.table import TableColumns, table_incoming
from forecast.demand.store import DemandStore
from forecast.home import Home
from training.gates.findings import GateReport

DAYS, TAIL, HORIZON = 400, 28, 14
CONFIG = SimulationConfig(
    n_series=200, n_periods=DAYS, horizon=HORIZON, n_locations=5, start=date(2022, 10, 1), stock_outs=0.001,
    launched=0.0, seed=1,
)  # fmt: skip
SETTINGS = DataGateSettings(least_units=20)
TODAY = np.datetime64("2023-11-05")
Poison = Callable[[Panel], Panel]
Gate = Callable[..., GateReport]


def imported(home: Home, panel: Panel, name: str, *, period: Period = "day") -> None:
    """Add a panel's rows to the store of a home."""
    path = home.root / f"{name}.parquet"
    home.root.mkdir(parents=True, exist_ok=True)
    write_table(panel, path)
    columns = TableColumns(known=tuple(panel.known), static=tuple(panel.statics))
    reading = Reading(timezone="UTC", max_units=1e6, now=datetime(2030, 1, 1))
    DemandStore(home.demand_dir).add(table_incoming([path], columns, reading, period=period))
    path.unlink()


def cut(panel: Panel, first: int, end: int, n_known: int) -> Panel:
    """The periods from `first` to `end`, with known features up to `n_known`."""
    stock = panel.stocked_out_ST
    return replace(
        panel,
        start=panel.time(first),
        demand_ST=panel.demand_ST[:, first:end],
        stocked_out_ST=None if stock is None else stock[:, first:end],
        known={name: values[:, first:n_known] for name, values in panel.known.items()},
    )


def sentences(report: GateReport) -> str:
    return "\n".join(one.sentence() for one in report.failures)
