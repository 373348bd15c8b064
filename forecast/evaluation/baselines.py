"""Simple forecasters to beat: seasonal naive, moving average, and Croston's idea for intermittent demand.

Each is a forecaster, `(panel that ends at the origin, horizon) -> Forecasts`, and looks at demand and stock
only. Periods with a stock-out count as missing, for their sales understate the demand (a series that was
never fully in stock keeps its sales). Quantiles are empirical, ranks of the scenarios independent between
series and periods. A series without a single observation is forecast to be 0.

Letters: S series, T history, W window, H horizon, K scenarios, Q quantile levels, C cycles (seasons).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import SEASON, Floats, Panel, Period
from forecast.errors import UsageError
from forecast.forecasts import Forecasts
from forecast.quantiles import LEVELS

ForecastFunction = Callable[[Panel, int], Forecasts]
"""A forecaster: the panel as known at the origin and the number of periods ahead."""

NAIVE: Final = "seasonal naive"
"""The name of the baseline that others are held against."""
AVERAGED: Final[dict[Period, tuple[int, int]]] = {"hour": (24, 28), "day": (7, 8), "week": (1, 8)}
"""Moving average: length of its cycle, and how many of the last cycles it averages."""


@dataclass(frozen=True, kw_only=True)
class SeasonalNaive:
    """The last observed value of the same phase of the season (`SEASON`: hour of day, weekday, week of year).

    Steps in the k-th season ahead take the quantiles of past changes over k seasons, among the last
    `n_errors` periods. Histories shorter than a season fall back on the last observed value and changes from
    one period to the next.
    """

    n_errors: int = 91
    n_scenarios: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        _check({"n_scenarios": self.n_scenarios, "n_errors": self.n_errors})

    def __call__(self, panel: Panel, horizon: int) -> Forecasts:
        """Forecast the `horizon` periods after the panel's end."""
        season = SEASON[panel.period] if panel.n_periods > SEASON[panel.period] else 1
        n_seasons = -(-horizon // season)
        history_ST = in_stock(panel, self.n_errors + (n_seasons + 1) * season)
        filled_ST = _forward_fill(history_ST, season)
        latest_S = _forward_fill(history_ST, 1)[:, -1]
        last_SC = np.where(np.isnan(filled_ST[:, -season:]), latest_S[:, None], filled_ST[:, -season:])
        mean_SH = np.nan_to_num(np.tile(last_SC, (1, n_seasons))[:, :horizon], nan=0.0)
        quantiles_SHQ = np.empty((*mean_SH.shape, len(LEVELS)), np.float32)
        spread_SQ = np.zeros((panel.n_series, len(LEVELS)), np.float32)
        for k in range(n_seasons):
            steps = slice(k * season, min((k + 1) * season, horizon))
            lag = (k + 1) * season
            change_SW = (history_ST[:, lag:] - history_ST[:, :-lag])[:, -self.n_errors :]
            change_SQ = row_quantiles(change_SW, np.asarray(LEVELS))
            spread_SQ = np.where(np.isnan(change_SQ), spread_SQ, change_SQ)
            quantiles_SHQ[:, steps] = mean_SH[:, steps, None] + spread_SQ[:, None, :]
        return _forecasts(panel, mean_SH, quantiles_SHQ, self.n_scenarios, self.seed)


@dataclass(frozen=True, kw_only=True)
class MovingAverage:
    """Mean of the last values of the same phase: of 8 weeks by weekday, of 28 days by hour, of 8 weeks.

    Quantiles are those of the past values of the window around the mean of their phase. A phase that the
    window never saw takes the window's mean.
    """

    n_scenarios: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        _check({"n_scenarios": self.n_scenarios})

    def __call__(self, panel: Panel, horizon: int) -> Forecasts:
        """Forecast the `horizon` periods after the panel's end."""
        cycle, n_cycles = AVERAGED[panel.period]
        window_ST = in_stock(panel, cycle * n_cycles)
        window_SCW = window_ST.reshape(panel.n_series, n_cycles, cycle)
        level_S1 = np.nan_to_num(_mean(window_ST, 1), nan=0.0)[:, None]
        phase_SW = _mean(window_SCW, 1)
        phase_SW = np.where(np.isnan(phase_SW), level_S1, phase_SW)
        mean_SH = np.tile(phase_SW, (1, -(-horizon // cycle)))[:, :horizon]
        residual_SW = (window_SCW - phase_SW[:, None, :]).reshape(panel.n_series, -1)
        residual_SQ = np.nan_to_num(row_quantiles(residual_SW, np.asarray(LEVELS)), nan=0.0)
        return _forecasts(
            panel, mean_SH, mean_SH[:, :, None] + residual_SQ[:, None, :], self.n_scenarios, self.seed
        )


@dataclass(frozen=True, kw_only=True)
class Croston:
    """Intermittent demand: its chance and its size, smoothed apart (Teunter, Syntetos and Babai 2011).

    Unlike Croston's own, the chance decays while nothing is sold, so that dead items fade. The mean is chance
    x size for every step; quantiles are those of "no demand, or a past size drawn at random", sizes scaled to
    agree with the smoothed one. `n_history`: how many last periods are read.
    """

    chance_rate: float = 0.05
    size_rate: float = 0.1
    n_history: int = 364
    n_scenarios: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        _check({"n_scenarios": self.n_scenarios, "n_history": self.n_history})
        for name, rate in (("chance_rate", self.chance_rate), ("size_rate", self.size_rate)):
            if not 0 < rate <= 1:
                raise UsageError(f"{name}: expected a number in (0, 1], found {rate}")

    def __call__(self, panel: Panel, horizon: int) -> Forecasts:
        """Forecast the `horizon` periods after the panel's end."""
        history_ST = in_stock(panel, self.n_history)
        sizes_ST = np.where(history_ST > 0, history_ST, np.nan)
        mean_size_S = np.nan_to_num(_mean(sizes_ST, 1), nan=0.0)
        chance_S, size_S = self._smooth(history_ST, mean_size_S)
        quantiles_SQ = _zero_inflated_quantiles(sizes_ST, chance_S)
        scale_S = np.divide(size_S, mean_size_S, out=np.ones_like(size_S), where=mean_size_S > 0)
        mean_SH = np.repeat((chance_S * size_S)[:, None], horizon, axis=1)
        quantiles_SHQ = np.repeat((quantiles_SQ * scale_S[:, None])[:, None, :], horizon, axis=1)
        return _forecasts(panel, mean_SH, quantiles_SHQ, self.n_scenarios, self.seed)

    def _smooth(self, history_ST: Floats, mean_size_S: Floats) -> tuple[Floats, Floats]:
        """Smoothed chance and size at the end, both starting from the window's averages."""
        chance_S = np.nan_to_num(_mean(np.where(np.isnan(history_ST), np.nan, history_ST > 0), 1), nan=0.0)
        size_S = mean_size_S
        for demand_S in np.ascontiguousarray(history_ST.T):
            sold_S = demand_S > 0
            step_S = self.chance_rate * (sold_S - chance_S)
            chance_S = np.where(np.isnan(demand_S), chance_S, chance_S + step_S)
            size_S = np.where(sold_S, size_S + self.size_rate * (demand_S - size_S), size_S)
        return chance_S.astype(np.float32), size_S.astype(np.float32)


def baselines(*, n_scenarios: int = 100, seed: int = 0) -> Mapping[str, ForecastFunction]:
    """The three baselines by the name that tables show."""
    return {
        NAIVE: SeasonalNaive(n_scenarios=n_scenarios, seed=seed),
        "moving average": MovingAverage(n_scenarios=n_scenarios, seed=seed),
        "croston": Croston(n_scenarios=n_scenarios, seed=seed),
    }


def in_stock(panel: Panel, n_periods: int) -> Floats:
    """(S, n_periods) the last demand up to the origin; NaN if missing, stocked out or before the start."""
    demand_SW = panel.demand_ST[:, -n_periods:]
    if panel.stocked_out_ST is not None:
        sellable_SW = np.where(panel.stocked_out_ST[:, -n_periods:] > 0, np.nan, demand_SW)
        never_S1 = np.isnan(sellable_SW).all(axis=1, keepdims=True)
        demand_SW = np.where(never_S1, demand_SW, sellable_SW)
    padded_SW = np.full((panel.n_series, n_periods), np.nan, np.float32)
    padded_SW[:, n_periods - demand_SW.shape[1] :] = demand_SW
    return padded_SW


def row_quantiles(values_SW: NDArray[np.floating], levels_Q: NDArray[np.floating]) -> Floats:
    """(S, Q) quantiles of each row's values that are not NaN; NaN for a row without any.

    `levels_Q` is (Q,), or (S, Q) with levels of each row's own. The r-th of n values stands at (r + 0.5) / n,
    linear between (Hazen), as in `Forecasts.scenarios`.
    """
    sorted_SW = np.sort(values_SW, axis=1)  # NaN last
    n_S1 = (~np.isnan(values_SW)).sum(axis=1, keepdims=True)
    position_SQ = np.clip(levels_Q * n_S1 - 0.5, 0, np.maximum(n_S1 - 1, 0))
    below_SQ = np.floor(position_SQ).astype(np.intp)
    above_SQ = np.minimum(below_SQ + 1, np.maximum(n_S1 - 1, 0))
    low_SQ = np.take_along_axis(sorted_SW, below_SQ, axis=1)
    high_SQ = np.take_along_axis(sorted_SW, above_SQ, axis=1)
    result: Floats = (low_SQ + (position_SQ - below_SQ) * (high_SQ - low_SQ)).astype(np.float32)
    return result


def independent_ranks(n_series: int, horizon: int, n_scenarios: int, seed: int) -> NDArray[np.uint8]:
    """(S, H, K) ranks, each row along K a random permutation of its own."""
    ranks = np.broadcast_to(np.arange(n_scenarios, dtype=np.uint8), (n_series * horizon, n_scenarios))
    permuted = np.random.default_rng(seed).permuted(ranks, axis=1)
    return permuted.reshape(n_series, horizon, n_scenarios)


def _forecasts(
    panel: Panel, mean_SH: NDArray[np.floating], quantiles_SHQ: Floats, n_scenarios: int, seed: int
) -> Forecasts:
    n_series, horizon = mean_SH.shape
    return Forecasts(
        period=panel.period,
        origin=panel.origin,
        keys=panel.keys,
        mean_SH=mean_SH.astype(np.float32),
        quantiles_SHQ=np.maximum(quantiles_SHQ, 0.0).astype(np.float32),
        ranks_SHK=independent_ranks(n_series, horizon, n_scenarios, seed),
    )


def _zero_inflated_quantiles(sizes_SW: Floats, chance_S: Floats) -> Floats:
    """(S, Q) quantiles of: 0 with probability 1 - chance, else a value drawn from the row's sizes."""
    none_S1 = 1.0 - chance_S[:, None]
    inner_SQ = (np.asarray(LEVELS) - none_S1) / np.maximum(chance_S[:, None], 1e-9)
    size_SQ = np.nan_to_num(row_quantiles(sizes_SW, np.clip(inner_SQ, 0, 1)), nan=0.0)
    result: Floats = np.where(inner_SQ > 0, size_SQ, 0.0).astype(np.float32)
    return result


def _forward_fill(history_ST: Floats, season: int) -> Floats:
    """Missing values replaced by the latest one of the same phase; a part of a season at the start is cut."""
    phases_SCW = history_ST[:, history_ST.shape[1] % season :].reshape(len(history_ST), -1, season)
    index_C = np.arange(phases_SCW.shape[1])[None, :, None]
    latest_SCW = np.maximum.accumulate(np.where(np.isnan(phases_SCW), 0, index_C), axis=1)
    filled = np.take_along_axis(phases_SCW, latest_SCW, axis=1)
    return filled.reshape(len(history_ST), -1)


def _mean(values: NDArray[np.floating], axis: int) -> Floats:
    """Mean over an axis of what is not NaN; NaN when nothing is."""
    n = (~np.isnan(values)).sum(axis=axis)
    total = np.nansum(values, axis=axis, dtype=np.float64)
    result: Floats = np.divide(total, n, out=np.full(n.shape, np.nan), where=n > 0).astype(np.float32)
    return result


def _check(counts: Mapping[str, int]) -> None:
    for name, count in counts.items():
        if count < 1 or (name == "n_scenarios" and count > 256):
            raise UsageError(f"{name}: expected at least 1 (n_scenarios at most 256), found {count}")
