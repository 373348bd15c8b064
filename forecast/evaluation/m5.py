"""The M5 competition's scores: WRMSSE of points, WSPL of nine quantiles, WQL of the deciles at the bottom.

Sources: M5 Competitors' Guide (2020); Makridakis, Spiliotis, Assimakopoulos, "M5 accuracy competition" and
"The M5 uncertainty competition", International Journal of Forecasting 38 (2022). WQL as fev-bench's task
m5_1D.

Letters: S series, T days of history, N nodes of one level, H horizon, Q quantile levels, C coverages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from forecast.demand.panel import Floats, Panel
from forecast.errors import InputError
from forecast.evaluation.m5_hierarchy import Doubles, LevelForecasts, M5Hierarchy
from forecast.evaluation.metrics import COVERAGES, coverage, pinball, pit_bounds
from forecast.quantiles import DECILES, LEVELS, M5_NINE

WEIGHT_DAYS: Final[int] = 28
"""Weights are dollar sales of this many last days before the origin."""
NODES_PER_CHUNK: Final[int] = 1_000
"""Nodes whose histories are differenced at once; bounds the memory."""


@dataclass(frozen=True, kw_only=True)
class M5Scores:
    """Scores of one forecast; lower is better for the first three.

    wrmsse, wspl: means over the 12 levels of `wrmsse_by_level`, `wspl_by_level`. wql: at level 12. bias: sum
    of means over sum of units, minus 1. coverage_by_level: 12 rows of the shares of node-days inside the
    central 50, 80 and 95 % bands (nodes weighed equally, ties as in `metrics.coverage`).
    """

    wrmsse: float
    wspl: float
    wql: float
    bias: float
    wrmsse_by_level: tuple[float, ...]
    wspl_by_level: tuple[float, ...]
    coverage_by_level: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class NodeScales:
    """What the errors of one level's nodes are divided by and weighed with, all from days up to the origin.

    weight_N: share of dollar sales. mse_N, mae_N: mean squared and absolute first difference from the first
    non-zero day on; NaN where there is none. A node without a positive scale carries no weight.
    """

    weight_N: Doubles
    mse_N: Doubles
    mae_N: Doubles


@dataclass(frozen=True, kw_only=True)
class M5Scorer:
    """Scores forecasts made at one origin; building it once serves many forecasts."""

    hierarchy: M5Hierarchy
    scales: tuple[NodeScales, ...]

    @classmethod
    def at(cls, panel: Panel) -> M5Scorer:
        """Weights and scales from a panel that ends at the origin.

        Needs the known feature `price` (dollars) and the statics of `M5Hierarchy`. Missing demand counts as
        0. Raises InputError when there is no price or nothing was sold in the last 28 days.
        """
        if "price" not in panel.known:
            raise InputError("known", expected="a feature price", found=", ".join(panel.known) or "none")
        dollars_S = last_dollar_sales(panel)
        if dollars_S.sum() <= 0:
            raise InputError("demand", expected=f"dollar sales in the last {WEIGHT_DAYS} days", found="none")
        hierarchy = M5Hierarchy.from_panel(panel)
        scales = tuple(
            _scales(history_NT, level.total(dollars_S[:, None])[:, 0])
            for level, history_NT in zip(hierarchy.levels, hierarchy.totals(panel.demand_ST), strict=True)
        )
        return cls(hierarchy=hierarchy, scales=scales)

    def score(self, truth_SH: Floats, levels: Sequence[LevelForecasts]) -> M5Scores:
        """All scores of a forecast of the panel's series, aggregated by `m5_hierarchy.aggregate`, against the
        truth (same rows), units.
        """
        if truth_SH.shape != levels[-1].mean_NH.shape:
            raise InputError("truth", expected=str(levels[-1].mean_NH.shape), found=str(truth_SH.shape))
        wrmsse: list[float] = []
        wspl: list[float] = []
        coverage: list[tuple[float, ...]] = []
        for forecast, scales in zip(levels, self.scales, strict=True):
            truth_NH = forecast.level.total(truth_SH)
            wrmsse.append(wrmsse_of_nodes(truth_NH, forecast.mean_NH, scales))
            wspl.append(wspl_of_nodes(truth_NH, forecast.quantiles_NHQ, scales))
            coverage.append(_coverages(truth_NH, forecast.quantiles_NHQ))
        units = float(np.nansum(truth_SH, dtype=np.float64))
        total = levels[0]
        return M5Scores(
            wrmsse=float(np.mean(wrmsse)),
            wspl=float(np.mean(wspl)),
            wql=weighted_quantile_loss(levels[-1].level.total(truth_SH), levels[-1].quantiles_NHQ),
            bias=float(total.mean_NH.sum()) / units - 1.0 if units > 0 else float("nan"),
            wrmsse_by_level=tuple(wrmsse),
            wspl_by_level=tuple(wspl),
            coverage_by_level=tuple(coverage),
        )


def wrmsse_of_nodes(truth_NH: Doubles, mean_NH: Doubles, scales: NodeScales) -> float:
    """Sum over nodes of weight times root mean squared error over the root of the scale."""
    mse_N = ((truth_NH - mean_NH) ** 2).mean(axis=1)
    return _weighted(np.sqrt(_ratio(mse_N, scales.mse_N)), scales.weight_N)


def wspl_of_nodes(truth_NH: Doubles, quantiles_NHQ: Floats, scales: NodeScales) -> float:
    """Sum over nodes of weight times the scaled pinball loss, mean over nine quantiles and horizon."""
    loss_N = np.zeros(len(truth_NH))
    for q in M5_NINE:
        loss_N += pinball(truth_NH, quantiles_NHQ[:, :, q], LEVELS[q]).mean(axis=1)
    return _weighted(_ratio(loss_N / len(M5_NINE), scales.mae_N), scales.weight_N)


def weighted_quantile_loss(truth_NH: Doubles, quantiles_NHQ: Floats) -> float:
    """Two times the summed pinball loss over the summed truth, mean over the deciles; NaN when all truth is
    0.
    """
    denominator = float(np.abs(truth_NH).sum())
    if denominator == 0:
        return float("nan")
    losses = [float(pinball(truth_NH, quantiles_NHQ[:, :, q], LEVELS[q]).sum()) for q in DECILES]
    return 2.0 * float(np.mean(losses)) / denominator


def last_dollar_sales(panel: Panel) -> Doubles:
    """(S,) dollar sales of the panel's last 28 days; days without a price or a demand count nothing."""
    days = slice(max(0, panel.n_periods - WEIGHT_DAYS), panel.n_periods)
    dollars_SX = panel.demand_ST[:, days].astype(np.float64) * panel.known["price"][:, days]
    dollars_S: Doubles = np.nan_to_num(dollars_SX, nan=0.0).sum(axis=1)
    return dollars_S


def _scales(history_NT: Doubles, dollars_N: Doubles) -> NodeScales:
    weight_N = dollars_N / dollars_N.sum()
    parts = [
        _steps(history_NT[first : first + NODES_PER_CHUNK])
        for first in range(0, len(history_NT), NODES_PER_CHUNK)
    ]
    mse_N, mae_N = (np.concatenate(column) for column in zip(*parts, strict=True))
    return NodeScales(weight_N=weight_N, mse_N=mse_N, mae_N=mae_N)


def _steps(history_NT: Doubles) -> tuple[Doubles, Doubles]:
    """Mean squared and mean absolute first difference from the first non-zero day on, (N,) each."""
    started_NT = np.maximum.accumulate(history_NT > 0, axis=1)[:, :-1]
    # A step counts when the day it starts from lies on or after the first sale.
    steps_NT = np.diff(history_NT, axis=1) * started_NT
    n_N = started_NT.sum(axis=1).astype(np.float64)
    return _ratio((steps_NT**2).sum(axis=1), n_N), _ratio(np.abs(steps_NT).sum(axis=1), n_N)


def _ratio(above: Doubles, below: Doubles) -> Doubles:
    """Quotient, NaN where the denominator is not positive."""
    quotient: Doubles = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return quotient


def _weighted(error_N: Doubles, weight_N: Doubles) -> float:
    return float(np.nansum(error_N * weight_N))


def _coverages(truth_NH: Doubles, quantiles_NHQ: Floats) -> tuple[float, ...]:
    pit = pit_bounds(truth_NH, quantiles_NHQ)
    return tuple(coverage(pit, central) for central in COVERAGES)
