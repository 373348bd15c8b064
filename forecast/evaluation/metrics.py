"""Accuracy of forecasts: a statistic for every series and period, and its aggregation over any of them.

`statistics` compares a forecast with what happened once; `aggregate` sums the parts that a mask selects, so
that segments, peaks and horizon steps are read off the same numbers. Everything is summed in float64.

What is not scored: periods whose demand is missing, and periods with a stock-out of any share, for their
sales are only a lower bound of the demand and a good forecast would be punished for being right.

Letters: S series, H horizon, T history, Q quantile levels, B bins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import SEASON, Floats, Panel
from forecast.errors import InputError
from forecast.forecasts import Forecasts
from forecast.quantiles import DECILES, LEVELS, MEDIAN

Doubles = NDArray[np.float64]
Mask = NDArray[np.bool_]
Pit = tuple[NDArray[np.floating], NDArray[np.floating]]
"""Lower and upper bounds of the probability integral transform, see `pit_bounds`."""
COVERAGES: Final[tuple[float, ...]] = (0.5, 0.8, 0.95)


@dataclass(frozen=True, kw_only=True)
class Scales:
    """Per series, from the history up to the origin; NaN where it has no such pair of periods or never
    changes.

    mse_S: mean squared first difference (RMSSE). mae_S: mean absolute difference over one season (MASE).
    """

    mse_S: Doubles
    mae_S: Doubles


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """A forecast against the truth, period by period, (S, H); NaN where the period is not scored.

    truth: demand. error: mean forecast minus truth. absolute_error: of the median. squared_error: of the
        mean.
    quantile_loss: twice the pinball loss, mean over the deciles. pit_low, pit_high: see `pit_bounds`.
    """

    truth_SH: Floats
    error_SH: Floats
    absolute_error_SH: Floats
    squared_error_SH: Floats
    quantile_loss_SH: Floats
    pit_low_SH: Floats
    pit_high_SH: Floats
    scales: Scales

    @property
    def scored_SH(self) -> Mask:
        """Which periods count."""
        return ~np.isnan(self.truth_SH)

    @property
    def pit(self) -> Pit:
        """Bounds of the probability integral transform, (S, H) each."""
        return self.pit_low_SH, self.pit_high_SH


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Accuracy over some series and periods; NaN where nothing is scored or the truth is all zero.

    n: scored periods. units: their demand. wape: sum of absolute errors of the median over the demand. bias:
    sum of mean forecasts over the demand, minus 1. wql: weighted quantile loss, mean over the deciles. rmsse,
    mase: means over series of the scaled error of the mean and of the median. coverage_*: share of the truth
    inside the central band, a truth that equals several quantiles counted by the part of its probability
    inside.
    """

    n: int
    units: float
    wape: float
    bias: float
    wql: float
    rmsse: float
    mase: float
    coverage_50: float
    coverage_80: float
    coverage_95: float


def scored(truth: Panel, first: int, horizon: int) -> Floats:
    """(S, H) demand of periods first .. first + H - 1 of a panel; NaN where missing, stocked out or beyond
    its end.
    """
    demand_SH = np.full((truth.n_series, horizon), np.nan, np.float32)
    last = min(first + horizon, truth.n_periods)
    demand_SH[:, : last - first] = truth.demand_ST[:, first:last]
    if truth.stocked_out_ST is not None:
        demand_SH[:, : last - first][truth.stocked_out_ST[:, first:last] > 0] = np.nan
    return demand_SH


def scales(panel: Panel) -> Scales:
    """Scales of every series from a panel that ends at the origin; only pairs of observed periods count."""
    demand_ST = panel.demand_ST
    squared_ST = np.diff(demand_ST, axis=1) ** 2
    season = SEASON[panel.period]
    return Scales(
        mse_S=_mean_of_present(squared_ST),
        mae_S=_mean_of_present(np.abs(demand_ST[:, season:] - demand_ST[:, :-season])),
    )


def statistics(truth_SH: Floats, forecasts: Forecasts, scales: Scales) -> Statistics:
    """Compare forecasts with the truth (NaN = not scored, see `scored`). Raises InputError when shapes
    differ.
    """
    if truth_SH.shape != forecasts.mean_SH.shape:
        raise InputError("truth", expected=str(forecasts.mean_SH.shape), found=str(truth_SH.shape))
    truth = truth_SH.astype(np.float64)
    error_SH = forecasts.mean_SH.astype(np.float64) - truth
    loss_SH = np.zeros_like(truth)
    for q in DECILES:
        loss_SH += pinball(truth, forecasts.quantiles_SHQ[:, :, q], LEVELS[q])
    pit_low_SH, pit_high_SH = pit_bounds(truth, forecasts.quantiles_SHQ)
    return Statistics(
        truth_SH=truth_SH.astype(np.float32),
        error_SH=error_SH.astype(np.float32),
        absolute_error_SH=np.abs(forecasts.quantiles_SHQ[:, :, MEDIAN] - truth).astype(np.float32),
        squared_error_SH=(error_SH**2).astype(np.float32),
        quantile_loss_SH=(2.0 * loss_SH / len(DECILES)).astype(np.float32),
        pit_low_SH=pit_low_SH.astype(np.float32),
        pit_high_SH=pit_high_SH.astype(np.float32),
        scales=scales,
    )


def concatenate(parts: Sequence[Statistics]) -> Statistics:
    """Statistics of several origins (or groups of series) one under the other."""

    def stack(name: str) -> Floats:
        return np.concatenate([getattr(part, name) for part in parts])

    arrays = {item.name: stack(item.name) for item in fields(Statistics) if item.name != "scales"}
    mse_S, mae_S = (
        np.concatenate([getattr(part.scales, name) for part in parts]) for name in ("mse_S", "mae_S")
    )
    return Statistics(**arrays, scales=Scales(mse_S=mse_S, mae_S=mae_S))


def aggregate(statistics: Statistics, where_SH: Mask | None = None) -> Metrics:
    """Metrics over the scored periods that `where_SH` (broadcast to (S, H)) selects; all of them by
    default.
    """
    chosen_SH = statistics.scored_SH if where_SH is None else statistics.scored_SH & where_SH
    units = float(np.sum(np.abs(statistics.truth_SH), where=chosen_SH, dtype=np.float64))

    def relative(values_SH: Floats) -> float:
        return (
            float(np.sum(values_SH, where=chosen_SH, dtype=np.float64)) / units if units > 0 else float("nan")
        )

    inside = [
        coverage((statistics.pit_low_SH[chosen_SH], statistics.pit_high_SH[chosen_SH]), c) for c in COVERAGES
    ]
    return Metrics(
        n=int(chosen_SH.sum()),
        units=units,
        wape=relative(statistics.absolute_error_SH),
        bias=relative(statistics.error_SH),
        wql=relative(statistics.quantile_loss_SH),
        rmsse=_mean_scaled(
            np.sqrt(_row_means(statistics.squared_error_SH, chosen_SH)), np.sqrt(statistics.scales.mse_S)
        ),
        mase=_mean_scaled(_row_means(statistics.absolute_error_SH, chosen_SH), statistics.scales.mae_S),
        coverage_50=inside[0],
        coverage_80=inside[1],
        coverage_95=inside[2],
    )


def pinball(truth: Doubles, quantile: NDArray[np.floating], level: float) -> Doubles:
    """Pinball (quantile) loss: level x (y - q) above the quantile, (1 - level) x (q - y) below."""
    error = truth - quantile.astype(np.float64)
    result: Doubles = np.maximum(level * error, (level - 1.0) * error)
    return result


def pit_bounds(truth: Doubles, quantiles: NDArray[np.floating]) -> tuple[Doubles, Doubles]:
    """Probability that the forecast gives to less than the truth, and to at most the truth; (...) and (...,
    Q).

    For counts the two differ and the probability integral transform is uniform between them (Czado, Gneiting
    and Held, "Predictive model assessment for count data", Biometrics 2009). Between quantiles the
    distribution function is linear; a truth that equals quantiles reaches half-way to the neighbouring
    levels. NaN truth gives NaN.
    """
    levels = np.array([0.0, *LEVELS, 1.0])
    below = (quantiles < truth[..., None]).sum(axis=-1)
    up_to = (quantiles <= truth[..., None]).sum(axis=-1)
    outer = np.concatenate([quantiles[..., :1], quantiles, quantiles[..., -1:]], axis=-1)
    left = np.take_along_axis(outer, below[..., None], axis=-1)[..., 0].astype(np.float64)
    right = np.take_along_axis(outer, np.minimum(below + 1, len(LEVELS) + 1)[..., None], axis=-1)[..., 0]
    gap = right - left
    share = np.divide(truth - left, gap, out=np.zeros_like(truth), where=gap > 0)
    between = levels[below] + share * (levels[np.minimum(below + 1, len(levels) - 1)] - levels[below])
    tied = up_to > below
    middle = np.concatenate([[0.0], (levels[1:-2] + levels[2:-1]) / 2, [1.0]])
    outside = (below == 0) | (below == len(LEVELS))
    low = np.where(tied, middle[below], np.where(outside, levels[below], between))
    high = np.where(tied, middle[up_to], np.where(outside, levels[below + 1], between))
    missing = np.isnan(truth)
    return np.where(missing, np.nan, low), np.where(missing, np.nan, high)


def coverage(pit: Pit, central: float) -> float:
    """Share of truths within the central band (0.8: levels 0.1 to 0.9), ties by their part inside; NaN when
    empty.
    """
    if pit[0].size == 0:
        return float("nan")
    edge = (1 - central) / 2
    return float((_reached(pit, 1 - edge) - _reached(pit, edge)).mean())


def pit_histogram(pit: Pit, n_bins: int = 20) -> Doubles:
    """(B,) density of the probability integral transform; all ones when calibrated. NaN bounds are
    left out.
    """
    present = ~np.isnan(pit[0])
    if not present.any():
        return np.full(n_bins, np.nan)
    edges = np.linspace(0, 1, n_bins + 1)
    cumulative = np.array([_reached((pit[0][present], pit[1][present]), edge).mean() for edge in edges])
    return np.diff(cumulative) * n_bins


def _reached(pit: Pit, level: float) -> Doubles:
    """Probability that a uniform value between the bounds is at most `level`; a point counts below
    or at it.
    """
    pit_low, pit_high = (bound.astype(np.float64) for bound in pit)
    width = pit_high - pit_low
    part = np.divide(level - pit_low, width, out=(pit_low <= level).astype(np.float64), where=width > 0)
    if level <= 0:
        return np.zeros_like(part)
    return np.clip(part, 0.0, 1.0)


def _mean_of_present(values_SX: NDArray[np.floating]) -> Doubles:
    """(S,) mean over what is not NaN; NaN when nothing is there or the mean is 0."""
    n_S = (~np.isnan(values_SX)).sum(axis=1)
    sum_S = np.nansum(values_SX, axis=1, dtype=np.float64)
    mean_S: Doubles = np.divide(sum_S, n_S, out=np.full(len(n_S), np.nan), where=sum_S > 0)
    return mean_S


def _row_means(values_SH: Floats, chosen_SH: Mask) -> Doubles:
    n_S = chosen_SH.sum(axis=1)
    sum_S = np.sum(values_SH, axis=1, where=chosen_SH, dtype=np.float64)
    mean_S: Doubles = np.divide(sum_S, n_S, out=np.full(len(n_S), np.nan), where=n_S > 0)
    return mean_S


def _mean_scaled(error_S: Doubles, scale_S: Doubles) -> float:
    """Mean over the series that have both an error and a scale."""
    ratio_S = error_S / scale_S
    present_S = ~np.isnan(ratio_S)
    return float(ratio_S[present_S].mean()) if present_S.any() else float("nan")
