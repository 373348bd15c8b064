"""A chain of shops to publish: 72 series of nine items in four shops on two platforms."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from forecast.demand.panel import EventGrid, Panel, Period, SeriesKeys
from forecast.forecasts import Forecasts

HORIZON = 14
K = 20
NEW, FLAT, DEAD = 3, 5, 7
"""Rows: nothing observed yet; quantiles of zero below a positive mean; nothing expected."""


class Chain(NamedTuple):
    """Forecasts, and the panel that they continue."""

    forecasts: Forecasts
    panel: Panel


def make_chain(*, period: Period = "day", seed: int = 0, horizon: int = HORIZON) -> Chain:
    """Random forecasts whose tenth period is a surge on Tmall.

    Items have a category (three of them), shops a city (two). `double-11` touches Tmall's periods 7 to 9,
    `sale` all series' periods 9 and 10.
    """
    random = np.random.default_rng(seed)
    series = [(i, j, k) for i in range(9) for j in range(4) for k in range(2)]
    item, shop, platform = (np.array(part) for part in zip(*series, strict=True))
    n, observed = len(series), 60
    demand_ST = random.poisson(4, (n, observed)).astype(np.float32)
    demand_ST[NEW] = np.nan
    intensity_GLE = np.zeros((2, observed + horizon + 5, 3), np.float32)
    intensity_GLE[0, observed + 9, 0] = 2.0
    intensity_GLE[0, observed + 7 : observed + 9, 1] = 1.0
    intensity_GLE[:, observed + 9 : observed + 11, 2] = 1.0
    panel = Panel(
        period=period,
        start=np.datetime64("2026-09-01", "s"),
        keys=SeriesKeys(
            item=np.array([f"SKU-{i}" for i in item]),
            location=np.array(["上海-1", "上海-2", "Hangzhou-1", "Hangzhou-2"])[shop],
            platform=np.array(["Tmall", "in-store"])[platform],
        ),
        demand_ST=demand_ST,
        statics={
            "category": np.array(["drinks", "fruit", "snacks"])[item % 3],
            "city": np.array(["上海", "Hangzhou"])[shop // 2],
        },
        events=EventGrid(
            names=("double-11/day", "double-11/warm-up", "sale/day"),
            intensity_GLE=intensity_GLE,
            group_S=platform.astype(np.int32),
        ),
        data_version="7",
    )
    mean_SH = random.gamma(4, 1, (n, horizon)).astype(np.float32)
    mean_SH[platform == 0, 9] *= 10
    quantiles_SHQ = mean_SH[:, :, None] * np.sort(random.gamma(4, 0.25, (n, horizon, 17)), axis=2)
    quantiles_SHQ[FLAT] = quantiles_SHQ[DEAD] = mean_SH[DEAD] = 0
    forecasts = Forecasts(
        period=period,
        origin=panel.origin,
        keys=panel.keys,
        mean_SH=mean_SH,
        quantiles_SHQ=quantiles_SHQ.astype(np.float32),
        ranks_SHK=random.random((n, horizon, K)).argsort(axis=2).astype(np.uint8),
    )
    return Chain(forecasts, panel)
