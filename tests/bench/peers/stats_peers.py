"""Seasonal naive and AutoETS of statsforecast, each series by itself, with their own prediction intervals.

They know demand alone: no prices, events or neighbours. Templates of the coupling are blocks of their
one-step residuals.

Letters: S series, W window of history, H horizon, Q quantile levels.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from forecast.demand.panel import SEASON, Floats, Panel
from forecast.errors import UsageError
from forecast.quantiles import LEVELS, MEDIAN
from tests.bench.peers.common import Marginals, residual_places
from training.bench.frames import filled, first_demand, in_stock_demand, long_frame, pandas_step

if TYPE_CHECKING:
    import pandas as pd

MOST_AT_ONCE = 2_000
"""Series handed over at once; bounds the memory of frames with a column for every level."""


@dataclass(frozen=True, kw_only=True)
class StatsPeer:
    """model: which of statsforecast. history: last periods that it is fitted on. templates: past origins for
    the coupling.
    """

    model: Literal["SeasonalNaive", "AutoETS"]
    history: int = 364
    templates: int = 26
    libraries: tuple[str, ...] = ("statsforecast",)

    def __call__(self, panel: Panel, horizon: int) -> Marginals:
        """Fit every series; one that never sold or has under two seasons is forecast by its mean."""
        demand_SW = in_stock_demand(panel)[:, -self.history :]
        season = SEASON[panel.period]
        first_S = first_demand(demand_SW)
        enough_S = demand_SW.shape[1] - first_S > 2 * season
        mean_S = np.nan_to_num(np.nanmean(np.where(enough_S[:, None], 0.0, demand_SW), axis=1))
        mean_SH = np.repeat(mean_S[:, None], horizon, axis=1).astype(np.float32)
        quantiles_SHQ = np.repeat(mean_SH[:, :, None], len(LEVELS), axis=2)
        residual_SW = np.full(demand_SW.shape, np.nan, np.float32)
        rows = np.flatnonzero(enough_S)
        for part in np.array_split(rows, max(-(-len(rows) // MOST_AT_ONCE), 1)):
            if len(part):
                answer = self._forecast(panel, demand_SW[part], first_S[part], horizon)
                mean_SH[part], quantiles_SHQ[part], residual_SW[part] = answer
        return Marginals(
            mean_SH=mean_SH,
            quantiles_SHQ=quantiles_SHQ,
            places_NSH=residual_places(residual_SW, horizon, self.templates),
        )

    def _forecast(
        self, panel: Panel, demand_SW: Floats, first_S: np.ndarray, horizon: int
    ) -> tuple[Floats, Floats, Floats]:
        from statsforecast import StatsForecast
        from statsforecast.models import AutoETS, SeasonalNaive

        season = SEASON[panel.period]
        n_series, n = demand_SW.shape
        models = {"SeasonalNaive": SeasonalNaive, "AutoETS": AutoETS}
        if self.model not in models:
            raise UsageError(f"model: expected one of {', '.join(models)}, found {self.model}")
        engine = StatsForecast(
            models=[models[self.model](season_length=season, alias="m")],
            freq=pandas_step(panel),
            n_jobs=len(os.sched_getaffinity(0)),
        )
        begun_SW = np.arange(n) >= first_S[:, None]
        frame = long_frame(panel, filled(demand_SW, season), panel.n_periods - n)[begun_SW.ravel()]
        answer = engine.forecast(df=frame, h=horizon, level=_coverages(), fitted=True)
        residual_SW = np.full(demand_SW.shape, np.nan, np.float32)
        fitted = engine.forecast_fitted_values()
        residual_SW[begun_SW] = (fitted["y"] - fitted["m"]).to_numpy(np.float32)
        quantiles_SHQ = np.stack([_quantile(answer, level) for level in LEVELS], axis=-1)
        shape = (n_series, horizon)
        return answer["m"].to_numpy(np.float32).reshape(shape), quantiles_SHQ.reshape(*shape, -1), residual_SW


def _coverages() -> list[float]:
    """Central bands whose edges are our levels."""
    return [round(100 * (1 - 2 * level), 6) for level in LEVELS[:MEDIAN]]


def _quantile(answer: pd.DataFrame, level: float) -> Floats:
    if level == LEVELS[MEDIAN]:
        return answer["m"].to_numpy(np.float32)
    coverage = round(100 * abs(1 - 2 * level), 6)
    side = "lo" if level < LEVELS[MEDIAN] else "hi"
    named = [f"m-{side}-{text}" for text in (f"{coverage:g}", str(coverage))]
    return answer[next(name for name in named if name in answer)].to_numpy(np.float32)
