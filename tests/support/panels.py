"""Tiny panels and forecasts for tests."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import EventGrid, Panel, Period, SeriesKeys
from forecast.forecasts import Forecasts
from forecast.quantiles import LEVELS


def make_panel(
    demand_ST: NDArray[np.floating] | list[list[float]],
    *,
    period: Period = "day",
    stocked_out_ST: NDArray[np.floating] | None = None,
    price_SP: NDArray[np.floating] | None = None,
    statics: Mapping[str, list[str]] | None = None,
    items: list[str] | None = None,
    locations: list[str] | None = None,
    events: Mapping[str, list[int]] | None = None,
) -> Panel:
    """A panel from 2024-01-01 (a Monday) on; `events` maps channel names to the periods they are on."""
    demand = np.asarray(demand_ST, dtype=np.float32)
    s, t = demand.shape
    on = events or {}
    grid = np.zeros((1, t + 400, len(on)), np.float32)
    for channel, periods in enumerate(on.values()):
        grid[0, periods, channel] = 1.0
    return Panel(
        period=period,
        start=np.datetime64("2024-01-01T00:00:00", "s"),
        keys=SeriesKeys(
            item=np.array(items or [f"item{i}" for i in range(s)]),
            location=np.array(locations or ["store"] * s),
            platform=np.array(["in-store"] * s),
        ),
        demand_ST=demand,
        stocked_out_ST=None if stocked_out_ST is None else np.asarray(stocked_out_ST, dtype=np.float32),
        known={} if price_SP is None else {"price": np.asarray(price_SP, dtype=np.float32)},
        statics={name: np.array(labels) for name, labels in (statics or {}).items()},
        events=EventGrid(names=tuple(on), intensity_GLE=grid, group_S=np.zeros(s, np.int32)),
    )


def point_forecasts(panel: Panel, mean_SH: NDArray[np.floating] | list[list[float]], k: int = 4) -> Forecasts:
    """Forecasts that are sure of their mean: every quantile and scenario equals it."""
    mean = np.asarray(mean_SH, dtype=np.float32)
    return Forecasts(
        period=panel.period,
        origin=panel.origin,
        keys=panel.keys,
        mean_SH=mean,
        quantiles_SHQ=np.repeat(mean[:, :, None], len(LEVELS), axis=2),
        ranks_SHK=np.broadcast_to(np.arange(k, dtype=np.uint8), (*mean.shape, k)).copy(),
    )


def random_forecasts(panel: Panel, horizon: int, *, k: int = 20, seed: int = 0) -> Forecasts:
    """Forecasts with random quantiles and random joint ranks."""
    generator = np.random.default_rng(seed)
    shape = (panel.n_series, horizon)
    quantiles = np.sort(generator.gamma(2.0, 2.0, (*shape, len(LEVELS))), axis=2).astype(np.float32)
    ranks = np.argsort(generator.random((*shape, k)), axis=2).astype(np.uint8)
    return Forecasts(
        period=panel.period,
        origin=panel.origin,
        keys=panel.keys,
        mean_SH=quantiles.mean(axis=2),
        quantiles_SHQ=quantiles,
        ranks_SHK=ranks,
    )
