"""NHITS, TiDE and TFT of neuralforecast: quantile loss at our 17 levels, steps as time allows.

All get the same known-future columns (calendar, events, price over its own past, other known features, how
the same days of the last year stood out), statics as one-hot columns and, where stock is recorded, past
stock-outs. The mean is the integral of the quantiles, times total demand over total mean of the past origins
whose errors are the templates of the coupling (training saw those origins).

Letters: S series, W window of periods (history and horizon), H horizon, Q quantile levels, N past origins.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from forecast.demand.panel import Floats, Panel
from forecast.errors import InputError
from forecast.forecasts import rank_weights
from forecast.model.coupling import probability_integral_transform
from forecast.quantiles import LEVELS
from tests.bench.peers.common import N_SCENARIOS, SEED, Marginals
from training.bench.frames import pandas_step
from training.bench.neural_table import NeuralTable
from training.bench.training_loop import quiet

if TYPE_CHECKING:
    from neuralforecast import NeuralForecast
    from pytorch_lightning import Callback

TRAIN_SHARE: Final = 0.7
"""Of the minutes; what is left is for the frame and for the forecasts."""
PAST_SHARE: Final = 0.95
"""Of the minutes, until when another past origin is forecast for the coupling."""


@dataclass(frozen=True, kw_only=True)
class NeuralPeer:
    """Settings.

    minutes: for everything. context: periods that a window looks back, at most. history: periods trained on.
    series, windows: per step. templates: past origins forecast for the coupling, at most, a week apart.
    scaler: how neuralforecast scales each window.
    """

    model: Literal["NHITS", "TiDE", "TFT"]
    minutes: float
    context: int = 112
    history: int = 546
    hidden: int = 256
    series: int = 16
    windows: int = 256
    learning_rate: float = 1e-3
    scaler: str = "robust"
    templates: int = 12
    libraries: tuple[str, ...] = ("neuralforecast", "torch")

    def __call__(self, panel: Panel, horizon: int) -> Marginals:
        """Fit and forecast. Raises InputError where the history is too short for a window."""
        if panel.n_periods < 3 * horizon:
            found = f"{panel.n_periods} periods"
            raise InputError("history", expected=f"at least {3 * horizon} periods", found=found)
        import neuralforecast  # noqa: F401  # takes long, and is no part of the minutes

        with quiet():
            return self._answer(panel, horizon)

    def _answer(self, panel: Panel, horizon: int) -> Marginals:
        started = time.monotonic()
        context = min(self.context, max((panel.n_periods - horizon) // 2, horizon))
        history = min(self.history, panel.n_periods)
        table = NeuralTable(panel, horizon, history)
        clock = _clock(started, 60 * TRAIN_SHARE * self.minutes, self.learning_rate)
        engine = self._engine(panel, horizon, context, table, clock)
        engine.fit(df=table.past(panel.n_periods, history), static_df=table.statics)
        steps = clock.steps
        quantiles_SHQ = table.forecast(engine, panel.n_periods, context)
        deadline = started + 60 * PAST_SHARE * self.minutes
        places_NSH, level = self._past(table, engine, horizon, context, deadline)
        return Marginals(
            mean_SH=_means(quantiles_SHQ) * level,
            quantiles_SHQ=quantiles_SHQ,
            places_NSH=places_NSH,
            facts={"steps": float(steps), "level": level},
        )

    def _past(
        self, table: NeuralTable, engine: NeuralForecast, horizon: int, context: int, deadline: float
    ) -> tuple[Floats, float]:
        """Where the truth fell in forecasts of past origins, and total demand over total mean there; the
        deadline keeps at least one origin.
        """
        random = np.random.default_rng(SEED)
        places: list[Floats] = []
        truth = mean = 0.0
        for n in range(self.templates):
            origin = table.panel.n_periods - horizon - 7 * n
            if places and (time.monotonic() > deadline or origin < 2 * horizon):
                break
            past_SHQ = table.forecast(engine, origin, context)
            truth_SH = table.demand_ST[:, origin : origin + horizon]
            missing = np.isnan(truth_SH)
            places.append(probability_integral_transform(truth_SH, past_SHQ, missing, random))
            truth += float(np.nansum(truth_SH, dtype=np.float64))
            mean += float(np.sum(_means(past_SHQ), where=~missing, dtype=np.float64))
        return np.stack(places), truth / mean if mean > 0 else 1.0

    def _engine(
        self, panel: Panel, horizon: int, context: int, table: NeuralTable, clock: Callback
    ) -> NeuralForecast:
        from neuralforecast import NeuralForecast
        from neuralforecast.losses.pytorch import MQLoss
        from neuralforecast.models import NHITS, TFT, TiDE

        shared = {
            "h": horizon,
            "input_size": context,
            "futr_exog_list": table.future_names,
            "hist_exog_list": table.past_names or None,
            "stat_exog_list": table.static_names or None,
            "loss": MQLoss(quantiles=list(LEVELS)),
            "max_steps": 1_000_000,  # the clock ends it
            "learning_rate": self.learning_rate,
            "batch_size": self.series,
            "windows_batch_size": self.windows,
            "inference_windows_batch_size": 4096,
            "scaler_type": self.scaler,
            "start_padding_enabled": True,
            "random_seed": SEED,
            "alias": "m",
            "callbacks": [clock],
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "gradient_clip_val": 1.0,
        }
        if self.model == "NHITS":
            model = NHITS(**shared, mlp_units=3 * [[self.hidden, self.hidden]])
        elif self.model == "TiDE":
            model = TiDE(**shared, hidden_size=self.hidden, dropout=0.1)
        else:
            model = TFT(**shared, hidden_size=self.hidden)
        return NeuralForecast(models=[model], freq=pandas_step(panel))


def _means(quantiles_SHQ: Floats) -> Floats:
    result: Floats = (quantiles_SHQ @ rank_weights(N_SCENARIOS)).mean(axis=2)
    return result


def _clock(started: float, seconds: float, learning_rate: float) -> Callback:
    """A callback that lets the learning rate fall to nothing over the seconds, and then ends training."""
    from pytorch_lightning import Callback, LightningModule, Trainer

    class Clock(Callback):
        steps = 0

        def __deepcopy__(self, _memo: object) -> Clock:
            return self  # neuralforecast copies its models; the steps are to be read afterwards

        def on_train_batch_start(
            self, trainer: Trainer, _module: LightningModule, _batch: Mapping[str, object], _index: int
        ) -> None:
            left = max(1.0 - (time.monotonic() - started) / seconds, 0.0)
            for group in trainer.optimizers[0].param_groups:
                group["lr"] = learning_rate * max(left, 0.01)

        def on_train_batch_end(self, trainer: Trainer, *_rest: object) -> None:
            self.steps = trainer.global_step
            if time.monotonic() - started > seconds:
                trainer.should_stop = True

    return Clock()
