"""FreshRetailNet: daily demand scored on the days without a stock-out, and forecasts as its rows.

On a day with a stock-out the sales are a lower bound of the demand. Such days are left out of the accuracy;
how far forecasts fall below their sales, which no demand can, is told apart.

Letters: S series, H horizon.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from forecast.demand.panel import Panel
from forecast.errors import InputError
from forecast.evaluation.metrics import Metrics, aggregate, scales, scored, statistics
from forecast.evaluation.rows import forecast_rows
from forecast.forecasts import Forecasts


@dataclass(frozen=True, kw_only=True)
class FreshRetailScores:
    """in_stock: accuracy on days in stock, the WAPE that of the median. wape_mean: WAPE of the mean.
    n_stocked_out: days with a stock-out of any length. shortfall: on those, units by which mean forecasts
    stay below what was sold, over what was sold (0: never below; NaN: nothing sold).
    """

    in_stock: Metrics
    wape_mean: float
    n_stocked_out: int
    shortfall: float


def score_freshretail(panel: Panel, forecasts: Forecasts) -> FreshRetailScores:
    """Score daily forecasts against the days after their origin in a panel of the same series, row for row.

    Days beyond the panel's end are not scored. Raises InputError when the panel is not daily, records no
    stock-outs, has other series, or ends at or before the origin.
    """
    if panel.period != "day" or panel.stocked_out_ST is None:
        raise InputError("panel", expected="days with stock-outs recorded", found=f"period {panel.period}")
    same = len(panel.keys) == len(forecasts.keys) and bool(
        np.all((panel.keys.item == forecasts.keys.item) & (panel.keys.location == forecasts.keys.location))
    )
    if not same:
        raise InputError("series", expected="those of the panel, row for row", found="others")
    first = panel.index(forecasts.origin) + 1
    if not 1 <= first < panel.n_periods:
        raise InputError("origin", expected="a day before the panel's last", found=str(forecasts.origin))
    truth_SH = scored(panel, first, forecasts.horizon)
    known = panel.until(first)
    days = slice(first, first + forecasts.horizon)
    out_SH = panel.stocked_out_ST[:, days] > 0
    sales_SH = np.nan_to_num(panel.demand_ST[:, days], nan=0.0).astype(np.float64)
    sold = float(sales_SH[out_SH].sum())
    below_SH = np.maximum(sales_SH - forecasts.mean_SH[:, : sales_SH.shape[1]], 0.0)
    found = statistics(truth_SH, forecasts, scales(known))
    in_stock = aggregate(found)
    return FreshRetailScores(
        in_stock=in_stock,
        wape_mean=float(np.nansum(np.abs(found.error_SH), dtype=np.float64)) / in_stock.units
        if in_stock.units > 0
        else float("nan"),
        n_stocked_out=int(out_SH.sum()),
        shortfall=float(below_SH[out_SH].sum()) / sold if sold > 0 else float("nan"),
    )


def freshretail_rows(forecasts: Forecasts) -> pl.DataFrame:
    """Columns store_id, product_id (Int16, as in the source), date, mean, quantiles (17, not decreasing)."""
    return forecast_rows(forecasts).select(
        pl.col("location").cast(pl.Int16).alias("store_id"),
        pl.col("item").cast(pl.Int16).alias("product_id"),
        pl.col("time").dt.date().alias("date"),
        "mean",
        "quantiles",
    )
