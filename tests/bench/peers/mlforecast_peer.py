"""LightGBM as mlforecast does it: one Tweedie model of the next period, fed with its own forecasts.

Lags, rolling and seasonal means by mlforecast; the columns known ahead are those of the neural peers. Its
cross-validation (one fit, windows a week apart) gives quantiles, level and templates, as in `lightgbm_peer`.

Letters: S series, W window of periods, H horizon, V validation windows.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from forecast.demand.panel import Floats, Panel
from forecast.errors import InputError
from tests.bench.peers.common import SEED, Marginals, unevenness
from tests.bench.peers.residuals import Calibration
from training.bench.exogenous import future_columns
from training.bench.frames import filled, first_demand, in_stock_demand, long_frame, pandas_step

if TYPE_CHECKING:
    import pandas as pd
    from lightgbm import LGBMRegressor
    from mlforecast import MLForecast

LAGS: Final = (1, 2, 3, 7, 14, 21, 28)
FIT_SHARE: Final = 0.35
"""Of the minutes, for each of two fits."""


@dataclass(frozen=True, kw_only=True)
class MLForecastPeer:
    """Settings. history: periods trained on, at most. validation: windows of the cross-validation.
    rows: drawn for each tree, at most.
    """

    minutes: float
    history: int = 400
    validation: int = 6
    rows: int = 1_500_000
    trees: int = 400
    variance_power: float = 1.1
    learning_rate: float = 0.075
    leaves: int = 63
    least_in_leaf: int = 100
    libraries: tuple[str, ...] = ("mlforecast", "lightgbm")

    def __call__(self, panel: Panel, horizon: int) -> Marginals:
        """Forecast. Raises InputError where the history is too short for lags and cross-validation."""
        least = max(LAGS) + 2 * horizon + 7
        if panel.n_periods < least:
            found = f"{panel.n_periods} periods"
            raise InputError("history", expected=f"at least {least} periods", found=found)
        demand_ST = in_stock_demand(panel)
        past, ahead, statics = _frames(panel, demand_ST, min(self.history, panel.n_periods), horizon)
        engine = self._engine(panel, len(past))
        tested = self._test(panel, demand_ST, engine, past, statics, horizon)
        engine.fit(past, static_features=statics)
        mean_SH = tested.level * _wide(engine.predict(horizon, X_df=ahead), panel.n_series, horizon)
        return Marginals(
            mean_SH=mean_SH,
            quantiles_SHQ=tested.table(mean_SH, unevenness(demand_ST, panel.n_periods)),
            places_NSH=tested.places_VSH,
            facts={"level": tested.level, "trees": float(engine.models_["m"].n_estimators_)},
        )

    def _test(
        self,
        panel: Panel,
        demand_ST: Floats,
        engine: MLForecast,
        past: pd.DataFrame,
        statics: list[str],
        horizon: int,
    ) -> Calibration:
        """mlforecast's cross-validation with one fit before the first of its windows."""
        spare = panel.n_periods - max(LAGS) - 2 * horizon
        n_windows = min(self.validation, 1 + max(spare - 4 * max(LAGS), 0) // 7)
        tested = engine.cross_validation(
            past, n_windows=n_windows, h=horizon, step_size=7, refit=False, static_features=statics
        )
        origins = [panel.n_periods - horizon - 7 * v for v in reversed(range(n_windows))]
        parts = [one for _, one in tested.groupby("cutoff", sort=True)]
        return Calibration.of(
            np.stack([_wide(one, panel.n_series, horizon) for one in parts]),
            np.stack([demand_ST[:, o : o + horizon] for o in origins]),
            np.stack([unevenness(demand_ST, o) for o in origins]),
        )

    def _engine(self, panel: Panel, n_rows: int) -> MLForecast:
        from mlforecast import MLForecast
        from mlforecast.lag_transforms import RollingMean, RollingStd, SeasonalRollingMean

        short = panel.n_periods < 6 * max(LAGS)
        means = (7, 14, 28) if short else (7, 14, 28, 56)
        model = _timed_model(60 * FIT_SHARE * self.minutes).set_params(
            objective="tweedie",
            tweedie_variance_power=self.variance_power,
            n_estimators=self.trees,
            learning_rate=self.learning_rate,
            num_leaves=self.leaves,
            min_child_samples=self.least_in_leaf,
            colsample_bytree=0.6,
            subsample=min(self.rows / n_rows, 0.7),
            subsample_freq=1,
            random_state=SEED,
            n_jobs=0,  # as many as OpenMP is told to use
            verbosity=-1,
        )
        return MLForecast(
            models={"m": model},
            freq=pandas_step(panel),
            lags=list(LAGS),
            lag_transforms={
                1: [*(RollingMean(n) for n in means), RollingStd(28)],
                7: [RollingMean(7), SeasonalRollingMean(season_length=7, window_size=4)],
                28: [RollingMean(28)] if not short else [],
            },
        )


def _wide(answer: pd.DataFrame, n_series: int, horizon: int) -> Floats:
    """(S, H) means of a long answer; 0 for series that it has not."""
    ordered = answer.sort_values(["unique_id", "ds"])
    rows = ordered["unique_id"].to_numpy().reshape(-1, horizon)[:, 0].astype(np.intp)
    mean_SH = np.zeros((n_series, horizon), np.float32)
    mean_SH[rows] = np.maximum(ordered["m"].to_numpy(np.float32).reshape(-1, horizon), 1e-4)
    return mean_SH


def _frames(
    panel: Panel, demand_ST: Floats, n: int, horizon: int
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Past and future in long form, series that sold alone, and the names of the static columns."""
    first = panel.n_periods - n
    values_SW = filled(demand_ST[:, first:], 7)
    past = long_frame(panel, np.nan_to_num(values_SW), first)
    ahead = long_frame(panel, np.zeros((panel.n_series, horizon), np.float32), panel.n_periods)
    ahead = ahead.drop(columns="y")
    for name, columns_SW in future_columns(panel, first, horizon).items():
        shown_SW = np.broadcast_to(columns_SW, (panel.n_series, n + horizon))
        past[name] = shown_SW[:, :n].ravel()
        ahead[name] = shown_SW[:, n:].ravel()
    for name, labels in panel.statics.items():
        codes = np.unique(labels, return_inverse=True)[1].reshape(-1)
        past[name] = codes[past["unique_id"].to_numpy()]
        past[name] = past[name].astype("category")
    start_S = first_demand(demand_ST)
    begun_SW = np.arange(first, panel.n_periods) >= start_S[:, None]
    past = past[begun_SW.ravel()].reset_index(drop=True)
    ahead = ahead[ahead["unique_id"].isin(past["unique_id"].unique())].reset_index(drop=True)
    return past, ahead, list(panel.statics)


def _timed_model(seconds: float) -> LGBMRegressor:
    """A regressor whose every fit ends after so many seconds."""
    import lightgbm

    class Timed(lightgbm.LGBMRegressor):
        def fit(self, features: pd.DataFrame, demand: Floats) -> Timed:
            deadline = time.monotonic() + seconds

            def stop(environment: lightgbm.callback.CallbackEnv) -> None:
                if time.monotonic() > deadline:
                    raise lightgbm.callback.EarlyStopException(environment.iteration, [])

            super().fit(features, demand, callbacks=[stop])
            return self

    return Timed()
