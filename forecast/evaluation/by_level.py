"""How large the errors of sums are: of everything, of locations, of groups, of single series.

Letters: S series, H horizon, R rows of all origins (origin by origin, S each), N nodes of a level.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from forecast.demand.panel import Floats, Panel
from forecast.evaluation.backtest import BacktestReport
from forecast.evaluation.m5_hierarchy import group_sum
from forecast.evaluation.scenario_scores import Index, levels_of


def error_by_level(report: BacktestReport, panel: Panel) -> pl.DataFrame:
    """Columns level, forecaster, nodes, wape, bias: of the mean forecasts' sums over what is scored.

    `panel` is the one that was backtested. wape: sum of absolute errors of the nodes over their demand; bias:
    sum of the forecasts over the demand, minus 1. NaN where nothing was sold.
    """
    rows = []
    for level, node_S in levels_of(panel).items():
        n_nodes = int(node_S.max()) + 1 if len(node_S) else 0
        for name, statistics in report.statistics.items():
            error_NX = _sums(statistics.error_SH, node_S, n_nodes, len(report.origins))
            truth_NX = _sums(statistics.truth_SH, node_S, n_nodes, len(report.origins))
            units = float(truth_NX.sum())
            rows.append(
                {
                    "level": level,
                    "forecaster": name,
                    "nodes": n_nodes,
                    "wape": float(np.abs(error_NX).sum()) / units if units > 0 else float("nan"),
                    "bias": float(error_NX.sum()) / units if units > 0 else float("nan"),
                }
            )
    return pl.DataFrame(rows)


def _sums(values_RH: Floats, node_S: Index, n_nodes: int, n_origins: int) -> np.ndarray:
    """(N, O·H) sums over the series of each node, origin by origin; what is not scored counts as 0."""
    known_RH = np.nan_to_num(values_RH, nan=0.0)
    parts = np.split(known_RH, n_origins)
    return np.concatenate([group_sum(part, node_S, n_nodes) for part in parts], axis=1)
