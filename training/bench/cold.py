"""Cold start on M5: some items at all stores and one whole store are hidden entirely, and forecast all the
same.

Letters: S series, R scored series, H horizon, N days of a category's past, Q quantile levels.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.cli.output import print_table, say
from forecast.demand.panel import Panel
from forecast.demand.sources.m5 import read_m5_panel
from forecast.errors import UsageError
from forecast.evaluation.metrics import aggregate, scales, scored, statistics
from forecast.forecasts import Forecasts
from forecast.model.forecaster import Forecaster
from forecast.quantiles import LEVELS
from training.bench.fitting import FIT_SHARE
from training.bench.m5 import HORIZON
from training.config import TrainingConfig
from training.jobs import fit_shown

CATEGORY_DAYS: Final = 28
"""Past days that tell what the series of a category sell."""

PARTS: Final = ("items", "store", "shown")
"""Hidden items in the stores that are shown, all items of the hidden store, and what is not hidden."""
Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Hiding:
    """Which series are hidden: those of some items, in the other stores, and those of one store."""

    item_S: Mask
    store_S: Mask

    @property
    def hidden_S(self) -> Mask:
        """Either."""
        return self.item_S | self.store_S


def bench_cold(
    folder: Path,
    *,
    cutoff: int,
    share: float,
    every: int,
    training: TrainingConfig,
) -> dict[str, float]:
    """Forecast hidden series cold, and with their history, and by the mean of their category.

    share: of the items. every: each that many-th item is taken (1: all of M5). Two models are trained, half
    of `training.minutes` each: one on the series that are not hidden, one on all. The first forecasts the
    hidden series from a panel in which they have no demand, and no price before the horizon.

    Raises:
        UsageError: no item to hide, or no other store. InputError: no sales after the cutoff.
    """
    started = time.monotonic()
    whole = read_m5_panel(folder, cutoff + HORIZON)
    whole = whole.select(np.flatnonzero(np.isin(whole.keys.item, np.unique(whole.keys.item)[::every])))
    past = whole.until(cutoff)
    hiding = choose_hidden(past, share=share, seed=training.seed)
    shown = past.select(np.flatnonzero(~hiding.hidden_S))
    cold, cold_steps = _forecasts(shown, without_history(past, hiding), training, "training without them")
    warm, warm_steps = _forecasts(past, past, training, "training with them")
    everywhere = category_forecasts(past, hiding)
    truth_SH = scored(whole, cutoff, HORIZON)
    of = scales(past)
    results = {"cutoff": float(cutoff), "series": float(whole.n_series), "cold_steps": cold_steps}
    results |= {"warm_steps": warm_steps, "seed": float(training.seed)}
    parts = hiding.item_S & ~hiding.store_S, hiding.store_S, ~hiding.hidden_S
    for name, rows_S in zip(PARTS, parts, strict=True):
        where_SH = np.broadcast_to(rows_S[:, None], truth_SH.shape)
        for forecaster, forecasts in {"cold": cold, "warm": warm, **everywhere}.items():
            if name == "shown" and forecaster not in ("cold", "warm"):
                continue
            metrics = aggregate(statistics(truth_SH, forecasts, of), where_SH)
            results[f"{name}_wql_{forecaster}"] = metrics.wql
            results[f"{name}_bias_{forecaster}"] = metrics.bias
        results[f"{name}_series"] = float(rows_S.sum())
        results[f"{name}_ratio"] = results[f"{name}_wql_cold"] / results[f"{name}_wql_warm"]
    return {**results, "seconds": time.monotonic() - started}


def choose_hidden(panel: Panel, *, share: float, seed: int) -> Hiding:
    """A share of the items, drawn by the seed, and the store of median size."""
    items, item_S = np.unique(panel.keys.item, return_inverse=True)
    stores, store_S = np.unique(panel.keys.location, return_inverse=True)
    n_hidden = round(share * len(items))
    if not 1 <= n_hidden < len(items) or len(stores) < 2:
        raise UsageError(f"hidden items: expected 1..{len(items) - 1} and 2 stores or more, found {n_hidden}")
    sold = np.bincount(store_S, np.nansum(panel.demand_ST, axis=1))
    chosen = int(np.argsort(sold)[len(stores) // 2])
    drawn = np.random.default_rng(seed).choice(len(items), n_hidden, replace=False)
    say(f"hidden: {n_hidden} of {len(items)} items, and the store {stores[chosen]}")
    return Hiding(item_S=np.isin(item_S, drawn), store_S=store_S == chosen)


def without_history(panel: Panel, hiding: Hiding) -> Panel:
    """The panel in which the hidden series are known by their keys, labels and plans alone."""
    demand_ST = np.where(hiding.hidden_S[:, None], np.float32(np.nan), panel.demand_ST)
    price_SP = panel.known["price"].copy()
    price_SP[hiding.hidden_S, : panel.n_periods] = np.nan
    return replace(panel, demand_ST=demand_ST, known={**panel.known, "price": price_SP})


def category_forecasts(past: Panel, hiding: Hiding) -> dict[str, Forecasts]:
    """What the shown series of the same department sold in the last days: at the same store, or at all stores
    where it is the store that is hidden; all shown series where none is of the department.

    `category mean` is sure of their mean; `category` has the quantiles of all their days.
    """
    levels_Q = np.asarray(LEVELS)
    recent_SN = past.demand_ST[:, -CATEGORY_DAYS:]
    department_S = past.statics["dept"]
    mean_SH = np.zeros((past.n_series, HORIZON), np.float32)
    quantiles_SHQ = np.zeros((*mean_SH.shape, len(LEVELS)), np.float32)
    for department in np.unique(department_S):
        for store in np.unique(past.keys.location):
            rows_S = (department_S == department) & (past.keys.location == store)
            like_S = rows_S & ~hiding.hidden_S
            if not like_S.any():
                like_S = (department_S == department) & ~hiding.hidden_S
            if not like_S.any():
                like_S = ~hiding.hidden_S
            sold = recent_SN[like_S]
            sold = sold[np.isfinite(sold)]
            mean_SH[rows_S] = sold.mean()
            quantiles_SHQ[rows_S] = np.quantile(sold, levels_Q)
    ranks_SHK = np.broadcast_to(np.arange(2, dtype=np.uint8), (*mean_SH.shape, 2))

    def forecasts(quantiles_SHQ: NDArray[np.float32]) -> Forecasts:
        return Forecasts(
            period=past.period,
            origin=past.origin,
            keys=past.keys,
            mean_SH=mean_SH,
            quantiles_SHQ=quantiles_SHQ,
            ranks_SHK=ranks_SHK,
        )

    sure_SHQ = np.repeat(mean_SH[:, :, None], len(LEVELS), axis=2)
    return {"category_mean": forecasts(sure_SHQ), "category": forecasts(quantiles_SHQ)}


def print_cold(results: Mapping[str, float]) -> None:
    """A row for the hidden items, the hidden store and the series that both models know."""
    columns = {"series": "series", "wql_cold": "WQL cold", "wql_warm": "warm", "ratio": "cold / warm"}
    columns |= {"wql_category": "category", "wql_category_mean": "category mean"}
    columns |= {"bias_cold": "bias cold", "bias_warm": "bias warm"}
    rows = [(part, *(results.get(f"{part}_{key}", float("nan")) for key in columns)) for part in PARTS]
    print_table(("part", *columns.values()), rows, title=f"cold start, M5, day {results['cutoff']:.0f}")


def _forecasts(learned: Panel, asked: Panel, training: TrainingConfig, title: str) -> tuple[Forecasts, float]:
    """Forecasts of `asked` by a model of `learned`, trained for half of the minutes, and its steps."""
    if training.minutes is not None:
        training = replace(training, minutes=FIT_SHARE * training.minutes / 2)
    bundle = fit_shown(learned, HORIZON, training, title)
    return Forecaster(bundle, training.device)(asked, HORIZON), float(bundle.facts["steps"])
