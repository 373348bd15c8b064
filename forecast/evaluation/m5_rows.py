"""M5 forecasts as rows: one per level, node and day, for all 12 levels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from forecast.evaluation.m5_hierarchy import LevelForecasts
from forecast.evaluation.rows import quantile_lists


def level_rows(levels: Sequence[LevelForecasts], *, first_day: int) -> pl.DataFrame:
    """One row per level (1 to 12), node and day.

    Columns: level (Int8), node (String), day (Int32, M5's number: `first_day` is the cutoff plus 1), mean
    (Float64, so that sums stay coherent), quantiles (List(Float32), the 17 LEVELS, not negative and not
    decreasing).
    """
    return pl.concat([_rows(forecast, first_day) for forecast in levels], rechunk=False)


def _rows(forecast: LevelForecasts, first_day: int) -> pl.DataFrame:
    n_nodes, horizon = forecast.mean_NH.shape
    return pl.DataFrame(
        {
            "level": pl.Series(np.full(n_nodes * horizon, forecast.level.number, np.int8)),
            "node": pl.Series(forecast.level.nodes.repeat(horizon)),
            "day": pl.Series(np.tile(np.arange(first_day, first_day + horizon, dtype=np.int32), n_nodes)),
            "mean": pl.Series(np.maximum(forecast.mean_NH, 0.0).reshape(-1)),
            "quantiles": quantile_lists(forecast.quantiles_NHQ),
        }
    )
