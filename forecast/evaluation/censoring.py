"""Days sold out on purpose: days in stock whose later hours are hidden, so that the demand behind is known.

Two ways for goods to run out, half of the chosen days each: at a random hour, or when a stock of a random
part of the series' usual demand is sold.

Letters: S series, T days, 24 hours.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Floats, Panel
from forecast.errors import InputError

OPENING: Final = 6
CLOSING: Final = 22
STOCK: Final = (0.3, 1.2)
"""Range of a stock, in usual days' demand."""


@dataclass(frozen=True, kw_only=True)
class Censored:
    """panel: with the chosen days cut. chosen_ST: days at risk. cut_ST: those of them that did run out."""

    panel: Panel
    chosen_ST: NDArray[np.bool_]
    cut_ST: NDArray[np.bool_]


def censor(
    panel: Panel, hours_STH: Floats, profile_SH: Floats, *, share: float, rng: np.random.Generator
) -> Censored:
    """Choose a `share` of the days in stock at random and let them sell out.

    hours_STH: (S, T, 24) sales by hour, summing to the demand. profile_SH: (S, 24) usual share of a day's
    demand in each hour, which weighs the hours that are lost. Raises InputError where shapes differ.
    """
    s, t = panel.demand_ST.shape
    if hours_STH.shape != (s, t, 24) or profile_SH.shape != (s, 24):
        raise InputError("hours", expected=f"({s}, {t}, 24)", found=str(hours_STH.shape))
    in_stock_ST = np.isfinite(panel.demand_ST)
    if panel.stocked_out_ST is not None:
        in_stock_ST &= ~(panel.stocked_out_ST > 0)
    chosen_ST = in_stock_ST & (rng.random((s, t)) < share)
    row_N, day_N = np.nonzero(chosen_ST)
    hours_NH = hours_STH[row_N, day_N].astype(np.float64)
    days_S = np.maximum(in_stock_ST.sum(1), 1)
    usual_S = np.where(in_stock_ST, np.nan_to_num(panel.demand_ST), 0).sum(1) / days_S
    by_hour_N = rng.random(len(row_N)) < 0.5
    end_N = np.where(
        by_hour_N,
        rng.integers(OPENING + 1, CLOSING, len(row_N)),
        _empty_hour(hours_NH, usual_S[row_N] * rng.uniform(*STOCK, len(row_N))),
    )
    cut_N = end_N < CLOSING
    hidden_NH = np.arange(24) >= end_N[:, None]
    sales_N = np.where(hidden_NH, 0, hours_NH).sum(1)
    lost_N = np.where(hidden_NH, profile_SH[row_N], 0).sum(1)
    row_N, day_N = row_N[cut_N], day_N[cut_N]
    demand_ST = panel.demand_ST.copy()
    demand_ST[row_N, day_N] = sales_N[cut_N]
    stocked_out_ST = np.zeros((s, t), np.float32)
    if panel.stocked_out_ST is not None:
        stocked_out_ST = panel.stocked_out_ST.copy()
    stocked_out_ST[row_N, day_N] = np.clip(lost_N[cut_N], 0.005, 1)
    cut_ST = np.zeros((s, t), np.bool_)
    cut_ST[row_N, day_N] = True
    cut = replace(panel, demand_ST=demand_ST, stocked_out_ST=stocked_out_ST)
    return Censored(panel=cut, chosen_ST=chosen_ST, cut_ST=cut_ST)


def _empty_hour(hours_NH: NDArray[np.float64], stock_N: NDArray[np.float64]) -> NDArray[np.intp]:
    """(N,) first hour without stock, after that in which sales reach the stock; 24 where none does."""
    empty_NH = hours_NH.cumsum(1) >= np.maximum(stock_N, 1e-6)[:, None]
    found: NDArray[np.intp] = np.where(empty_NH.any(1), empty_NH.argmax(1) + 1, 24)
    return np.maximum(found, OPENING + 1)
