"""Small things to publish, made from numbers alone."""

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pytest

from forecast.demand.panel import EventGrid, Panel, SeriesKeys
from forecast.forecasts import Forecasts


class Publication(NamedTuple):
    forecasts: Forecasts
    panel: Panel


Publish = Callable[..., Publication]


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """A command run in this process sets up its log, on a stream that ends with the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in root.handlers[:]:
        if handler not in handlers:
            root.removeHandler(handler)
    for handler in handlers:
        if handler not in root.handlers:
            root.addHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="session")
def make_publication() -> Publish:
    """Twelve series, 60 days of history, 14 days ahead; tenfold demand on Singles' Day, on Tmall alone."""

    def make(seed: int = 0, n_series: int = 12) -> Publication:
        random = np.random.default_rng(seed)
        n_periods, horizon, n_scenarios = 60, 14, 32
        keys = SeriesKeys(
            item=np.array([f"SKU-{s // 4:03d}" for s in range(n_series)]),
            location=np.array([("上海", "Hangzhou")[s % 4 // 2] for s in range(n_series)]),
            platform=np.array([("Tmall", "in-store")[s % 2] for s in range(n_series)]),
        )
        demand_ST = random.poisson(4, (n_series, n_periods)).astype(np.float32)
        demand_ST[0, -3] = np.nan
        intensity_GLE = np.zeros((2, n_periods + horizon + 5, 2), dtype=np.float32)
        intensity_GLE[0, n_periods + 9, 0] = 2.0
        intensity_GLE[0, n_periods + 5 : n_periods + 9, 1] = 1.0
        grid = EventGrid(
            names=("double-11/day", "double-11/warm-up"),
            intensity_GLE=intensity_GLE,
            group_S=(np.arange(n_series) % 2).astype(np.int32),
        )
        panel = Panel(
            period="day",
            start=np.datetime64("2026-11-02", "s") - np.timedelta64(60 * 86_400, "s"),
            keys=keys,
            demand_ST=demand_ST,
            statics={"category": np.array(["food"] * n_series)},
            events=grid,
            data_version="7",
        )
        mean_SH = random.gamma(4, 1, (n_series, horizon)).astype(np.float32)
        mean_SH[::2, 9] = 40.0 + np.arange(n_series)[::2]
        spread_SHQ = np.sort(random.gamma(2, 0.5, (n_series, horizon, 17)), axis=2)
        forecasts = Forecasts(
            period="day",
            origin=panel.origin,
            keys=keys,
            mean_SH=mean_SH,
            quantiles_SHQ=(mean_SH[:, :, None] * spread_SHQ).astype(np.float32),
            ranks_SHK=random.random((n_series, horizon, n_scenarios)).argsort(axis=2).astype(np.uint8),
        )
        return Publication(forecasts, panel)

    return make
