"""A poisoned future: whatever happens after the origin must not change a forecast made at it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from forecast.demand.panel import Panel
from forecast.forecasts import Forecasts


def poisoned(panel: Panel, n_periods: int) -> Panel:
    """The panel with absurd demand, gaps and stock states in every period from `n_periods` on."""
    demand_ST = panel.demand_ST.copy()
    demand_ST[:, n_periods:] = 1e6
    demand_ST[:, n_periods::3] = np.nan
    stock_ST = None
    if panel.stocked_out_ST is not None:
        stock_ST = panel.stocked_out_ST.copy()
        stock_ST[:, n_periods:] = 1.0 - stock_ST[:, n_periods:]
    return replace(panel, demand_ST=demand_ST, stocked_out_ST=stock_ST)


def assert_blind_to_future(
    forecaster: Callable[[Panel, int], Forecasts], panel: Panel, n_periods: int, horizon: int
) -> None:
    """Forecasts from the first `n_periods` are the same, bit for bit, when everything after is changed."""
    plain = forecaster(panel.until(n_periods), horizon)
    changed = poisoned(panel, n_periods)
    assert not np.array_equal(changed.demand_ST, panel.demand_ST, equal_nan=True), (
        "nothing lies after the origin"
    )
    other = forecaster(changed.until(n_periods), horizon)
    for name in ("mean_SH", "quantiles_SHQ", "ranks_SHK"):
        assert np.array_equal(getattr(plain, name), getattr(other, name)), f"{name} saw the future"
