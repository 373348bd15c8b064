"""Demand in the form that other libraries take it: long tables, gaps filled, stock-outs left out.

Letters: S series, T history, X and W spans of periods.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Floats, Panel

if TYPE_CHECKING:
    import pandas as pd


def in_stock_demand(panel: Panel) -> Floats:
    """(S, T) demand; NaN where missing or where a stock-out cut it off (a series that was never fully in
    stock keeps its sales).
    """
    if panel.stocked_out_ST is None:
        return panel.demand_ST
    kept_ST = np.where(panel.stocked_out_ST > 0, np.nan, panel.demand_ST)
    never_S1 = np.isnan(kept_ST).all(axis=1, keepdims=True)
    result: Floats = np.where(never_S1, panel.demand_ST, kept_ST).astype(np.float32)
    return result


def first_demand(demand_ST: Floats) -> NDArray[np.intp]:
    """(S,) index of the first period that is not missing; T where there is none."""
    present_ST = np.isfinite(demand_ST)
    first_S: NDArray[np.intp] = np.where(
        present_ST.any(axis=1), present_ST.argmax(axis=1), demand_ST.shape[1]
    )
    return first_S


def long_frame(panel: Panel, demand_SX: Floats, first: int) -> pd.DataFrame:
    """unique_id (row number), ds, y of periods first .. first + X - 1, series by series."""
    import pandas as pd

    n_series, n = demand_SX.shape
    return pd.DataFrame(
        {
            "unique_id": np.repeat(np.arange(n_series), n),
            "ds": np.tile(panel.times(first, n).astype("datetime64[ns]"), n_series),
            "y": demand_SX.ravel(),
        }
    )


def filled(demand_SW: Floats, season: int) -> Floats:
    """Missing values taken from a season before, else (at the start) 0."""
    filled_SW = demand_SW.copy()
    for t in range(demand_SW.shape[1]):
        before = filled_SW[:, t - season] if t >= season else np.zeros(len(filled_SW), np.float32)
        filled_SW[:, t] = np.where(np.isnan(filled_SW[:, t]), before, filled_SW[:, t])
    return filled_SW


def pandas_step(panel: Panel) -> str:
    """The panel's period as pandas names it."""
    return {"hour": "h", "day": "D", "week": "7D"}[panel.period]
