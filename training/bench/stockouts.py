"""Stock-outs made on purpose: does the model find the demand that sales no longer show?

Days of FreshRetailNet that were in stock are cut at some hour, before the cutoff and after it. One model is
told of the stock-outs, natural ones and those made here; another takes sales for demand. Both are compared
with the demand that was hidden.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Floats, Panel
from forecast.demand.sources.freshretail import FILE, read_freshretail_panel
from forecast.demand.sources.freshretail_hours import hourly_profiles, hourly_sales, hours_are_known
from forecast.errors import InputError
from forecast.evaluation.censoring import Censored, censor
from forecast.evaluation.metrics import aggregate, scales, statistics
from forecast.forecasts import Forecasts
from forecast.model.stockouts import recovered_mean
from training.bench.fitting import fit_and_forecast
from training.bench.freshretail import last_day
from training.config import TrainingConfig
from training.features import given_stock

SHARE: Final = 0.25
"""Of the days in stock that are put at risk."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """whole: days as they were, to the end of the horizon. censored: the same with days cut. first: index
    of the first day after the cutoff."""

    whole: Panel
    censored: Censored
    first: int


def bench_stockouts(
    folder: Path, *, cutoff: date, horizon: int, n_series: int, training: TrainingConfig
) -> dict[str, float]:
    """Fit with and without regard to stock-outs; returns the biases by name.

    forecast_bias, ignoring_bias: mean forecasts over the demand of the chosen days after the cutoff, minus 1,
    of the two models; forecast_wql, ignoring_wql likewise. recovered_bias: of the days that were cut, demand
    recovered from the forecast and the sales that were left; sales_bias: of those sales. Raises InputError
    where the data has no hours or ends before the horizon does.
    """
    started = time.monotonic()
    trial = prepare(folder, cutoff=cutoff, horizon=horizon, n_series=n_series, seed=training.seed)
    seen = trial.censored.panel.until(trial.first)
    half = None if training.minutes is None else training.minutes / 2
    first = replace(training, minutes=half)
    ours, facts = fit_and_forecast(
        given_stock(seen, horizon), horizon, first, title="with stock-outs", started=started
    )
    sales_only = replace(seen, stocked_out_ST=None)
    ignoring, _ = fit_and_forecast(sales_only, horizon, training, title="sales as demand", started=started)
    chosen = trial.censored.chosen_ST
    return {
        "series": facts["series"],
        "steps": facts["steps"],
        "chosen_share": float(chosen[:, : trial.first].mean()),
        "cut_share": float(trial.censored.cut_ST[:, : trial.first].mean()),
        **_accuracy(trial, ours, "forecast"),
        **_accuracy(trial, ignoring, "ignoring"),
        **_recovery(trial, ours, seen),
        "seconds": time.monotonic() - started,
    }


def prepare(folder: Path, *, cutoff: date, horizon: int, n_series: int, seed: int) -> Trial:
    """Some random series of the data, and the same with days cut."""
    path = folder / FILE
    end = cutoff + timedelta(days=horizon)
    last = last_day(folder)
    if end > last:
        raise InputError("cutoff", expected=f"at most {last - timedelta(days=horizon)}", found=str(cutoff))
    if not hours_are_known(path):
        raise InputError(FILE, expected="columns of hourly sales and masks", found="days only")
    rng = np.random.default_rng(seed)
    whole = read_freshretail_panel(folder, end)
    rows = np.sort(rng.permutation(whole.n_series)[:n_series])
    whole = replace(whole.select(rows), known={})
    first = whole.n_periods - horizon
    hours_STH = hourly_sales(path, whole)
    profile_SH = _profiles(whole, hours_STH, first)
    return Trial(
        whole=whole, censored=censor(whole, hours_STH, profile_SH, share=SHARE, rng=rng), first=first
    )


def _profiles(panel: Panel, hours_STH: Floats, first: int) -> Floats:
    """(S, 24) usual share of the day's demand by hour in each series' category, from days before `first`."""
    _, category_S = np.unique(panel.statics["category1"], return_inverse=True)
    past_STH = hours_STH[:, :first]
    assert panel.stocked_out_ST is not None
    learned_ST = panel.stocked_out_ST[:, :first] == 0
    group_N: NDArray[np.intp] = np.repeat(category_S, first)
    return hourly_profiles(past_STH.reshape(-1, past_STH.shape[2]), group_N, learned_ST.ravel())[category_S]


def _accuracy(trial: Trial, forecasts: Forecasts, name: str) -> dict[str, float]:
    """Bias and WQL over the chosen days after the cutoff."""
    days = slice(trial.first, None)
    truth_SH = np.where(trial.censored.chosen_ST[:, days], trial.whole.demand_ST[:, days], np.nan)
    found = aggregate(statistics(truth_SH, forecasts, scales(trial.whole.until(trial.first))))
    return {f"{name}_bias": found.bias, f"{name}_wql": found.wql, f"{name}_wape": found.wape}


def _recovery(trial: Trial, forecasts: Forecasts, seen: Panel) -> dict[str, float]:
    """Bias of recovered demand, and of the sales that were left, over the days cut after the cutoff."""
    days = slice(trial.first, None)
    cut_SH = trial.censored.cut_ST[:, days]
    left, stock_ST = trial.censored.panel, seen.stocked_out_ST
    assert left.stocked_out_ST is not None
    assert stock_ST is not None
    truth = float(trial.whole.demand_ST[:, days][cut_SH].sum(dtype=np.float64))
    sales_N = left.demand_ST[:, days][cut_SH]
    recovered_N = recovered_mean(
        forecasts.quantiles_SHQ[cut_SH],
        sales_N,
        left.stocked_out_ST[:, days][cut_SH],
        seen.demand_ST[stock_ST == 0],
    )
    return {
        "recovered_bias": float(recovered_N.sum(dtype=np.float64)) / truth - 1,
        "sales_bias": float(sales_N.sum(dtype=np.float64)) / truth - 1,
        "cut_days": float(cut_SH.sum()),
    }
