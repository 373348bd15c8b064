"""The panel as neuralforecast wants it: a long table with what is known ahead, statics as one-hot columns.

Letters: S series, W window of periods, H horizon, Q quantile levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from forecast.demand.panel import Floats, Panel
from forecast.quantiles import LEVELS
from training.bench.exogenous import future_columns
from training.bench.frames import filled, first_demand, in_stock_demand, long_frame

if TYPE_CHECKING:
    import pandas as pd
    from neuralforecast import NeuralForecast

MOST_LABELS: Final = 30
"""Statics with more labels than this are no one-hot columns."""


class NeuralTable:
    """The panel as neuralforecast wants it."""

    def __init__(self, panel: Panel, horizon: int, history: int) -> None:
        self.panel = panel
        self.horizon = horizon
        self.first = panel.n_periods - history
        self.demand_ST = in_stock_demand(panel)
        self._filled_ST = np.nan_to_num(filled(self.demand_ST[:, self.first :], 7))
        self._start_S = np.minimum(first_demand(self.demand_ST), panel.n_periods - 1)
        self._future = future_columns(panel, self.first, horizon)
        self.future_names = list(self._future)
        self.past_names = [] if panel.stocked_out_ST is None else ["stocked out"]
        self.statics = _static_frame(panel)
        self.static_names = [name for name in self.statics if name != "unique_id"]

    def past(self, n_observed: int, n_back: int) -> pd.DataFrame:
        """Demand and all columns of the last `n_back` periods before an origin; a series starts with its
        first demand.
        """
        first = max(n_observed - n_back, self.first)
        window = slice(first - self.first, n_observed - self.first)
        frame = long_frame(self.panel, self._filled_ST[:, window], first)
        self._add_future(frame, window)
        if self.panel.stocked_out_ST is not None:
            frame["stocked out"] = np.nan_to_num(self.panel.stocked_out_ST[:, first:n_observed]).ravel()
        frame["available_mask"] = np.isfinite(self.demand_ST[:, first:n_observed]).astype(np.float32).ravel()
        # A series not yet on sale keeps one row, so that every series is there.
        start_S = np.minimum(self._start_S, n_observed - 1)
        begun_SW = np.arange(first, n_observed) >= start_S[:, None]
        return frame[begun_SW.ravel()].reset_index(drop=True)

    def forecast(self, engine: NeuralForecast, n_observed: int, context: int) -> Floats:
        """(S, H, Q) quantiles of the horizon after an origin."""
        past = self.past(n_observed, context + self.horizon)
        return self.read(engine.predict(df=past, static_df=self.statics, futr_df=self.future(n_observed)))

    def future(self, n_observed: int) -> pd.DataFrame:
        """What is known of the horizon after an origin."""
        window = slice(n_observed - self.first, n_observed - self.first + self.horizon)
        ahead = np.zeros((self.panel.n_series, self.horizon), np.float32)
        frame = long_frame(self.panel, ahead, n_observed).drop(columns="y")
        self._add_future(frame, window)
        return frame

    def read(self, answer: pd.DataFrame) -> Floats:
        """(S, H, Q) quantiles of an answer, in order and not negative; its columns come in the order of the
        levels."""
        values = answer[[name for name in answer if str(name).startswith("m")]].to_numpy(np.float32)
        quantiles_SHQ = values.reshape(self.panel.n_series, self.horizon, len(LEVELS))
        result: Floats = np.maximum(np.sort(quantiles_SHQ, axis=2), 0.0)
        return result

    def _add_future(self, frame: pd.DataFrame, window: slice) -> None:
        for name, values_SW in self._future.items():
            shown = np.broadcast_to(values_SW[:, window], (self.panel.n_series, window.stop - window.start))
            frame[name] = shown.ravel()


def _static_frame(panel: Panel) -> pd.DataFrame:
    import pandas as pd

    columns: dict[str, object] = {"unique_id": np.arange(panel.n_series)}
    for name, labels in panel.statics.items():
        values = np.unique(labels)
        if len(values) <= MOST_LABELS:
            columns |= {f"{name} {value}": (labels == value).astype(np.float32) for value in values}
    return pd.DataFrame(columns)
