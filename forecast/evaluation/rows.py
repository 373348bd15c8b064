"""Forecasts as table rows: one per series and period."""

from __future__ import annotations

import numpy as np
import polars as pl

from forecast.demand.panel import Floats
from forecast.forecasts import Forecasts
from forecast.quantiles import LEVELS


def forecast_rows(forecasts: Forecasts) -> pl.DataFrame:
    """One row per series and period, series by series.

    Columns: item, location, platform (String), time (Datetime, the period's start), mean (Float32), quantiles
    (List(Float32), the 17 LEVELS, not negative and not decreasing).
    """
    horizon = forecasts.horizon
    keys = forecasts.keys
    return pl.DataFrame(
        {
            "item": pl.Series(keys.item.repeat(horizon)),
            "location": pl.Series(keys.location.repeat(horizon)),
            "platform": pl.Series(keys.platform.repeat(horizon)),
            "time": pl.Series(np.tile(forecasts.times.astype("M8[us]"), len(keys))),
            "mean": pl.Series(np.maximum(forecasts.mean_SH, 0.0).reshape(-1)),
            "quantiles": quantile_lists(forecasts.quantiles_SHQ),
        }
    )


def quantile_lists(quantiles_NHQ: Floats) -> pl.Series:
    """(N, H, Q) quantiles as N x H lists, cut at 0 and made not decreasing."""
    ordered_NHQ = np.maximum.accumulate(np.maximum(quantiles_NHQ, 0.0), axis=2)
    dtype = pl.Array(pl.Float32, len(LEVELS))
    return pl.Series("quantiles", ordered_NHQ.reshape(-1, len(LEVELS)), dtype=dtype).arr.to_list()
