"""LightGBM, one direct model for all series and steps: Tweedie mean, distribution from out-of-sample errors.

mlforecast forecasts either step by step on its own forecasts, or with one model a step whose lags end at the
origin. Neither gives a step its own weekday's past or last year's same days, nor starts the trees at the
series' level, which is worth more here than anything that can be tuned; so the table of features is ours and
the trees are LightGBM's. `mlforecast_peer` is the plain use of mlforecast.

1. A model that sees nothing of the last weeks is stopped where its loss there is lowest.
2. Its errors there give the quantiles (by size of the mean and unevenness of the series), the level (total
   demand over total mean) and the templates of the coupling.
3. A second model, with as many trees, learns from everything.

Letters: S series, H horizon, N rows, F features, V validation origins, Q quantile levels, B bins.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import SEASON, Floats, Panel
from forecast.errors import InputError
from tests.bench.peers.common import SEED, Marginals, tail, unevenness
from tests.bench.peers.features import FeatureBuilder, Index
from tests.bench.peers.residuals import Calibration

if TYPE_CHECKING:
    import lightgbm


LONGEST_LOOK: Final = 400
"""Periods that features look back from an origin; what lies before the first one's is left out."""
FIRST_SHARE: Final = 0.4
"""Of the minutes, when the first model must be done; the second takes as long, the rest is forecasting."""


class Examples(NamedTuple):
    """Training rows: features, level, demand, and the origin that they were drawn at."""

    values_NF: Floats
    level_N: Floats
    demand_N: Floats
    origin_N: NDArray[np.int32]

    def select(self, chosen_N: NDArray[np.bool_]) -> Examples:
        """Some of the rows."""
        return Examples(*(column[chosen_N] for column in self))


@dataclass(frozen=True, kw_only=True)
class LightGBMPeer:
    """Settings.

    minutes: for everything. rows: training rows at most, drawn from `origins` weekly origins.
    validation: weekly origins held out, whose errors give quantiles and templates.
    level: whether means are multiplied by total demand over total mean of the held-out origins.
    """

    minutes: float
    rows: int = 1_500_000
    origins: int = 104
    validation: int = 10
    variance_power: float = 1.1
    learning_rate: float = 0.05
    leaves: int = 63
    least_in_leaf: int = 200
    level: bool = True
    libraries: tuple[str, ...] = ("lightgbm",)

    def __call__(self, panel: Panel, horizon: int) -> Marginals:
        """Forecast. Raises InputError where the history is too short to hold origins out."""
        started = time.monotonic()
        step = SEASON[panel.period] if panel.period != "week" else 1
        panel = tail(panel, step * self.origins + 2 * horizon + LONGEST_LOOK)
        builder = FeatureBuilder(panel, horizon)
        held_out, origins = self._origins(panel, horizon)
        examples = self._sample(builder, origins, self.rows, np.random.default_rng(SEED))
        early_N = examples.origin_N + horizon <= held_out[-1]
        check = self._sample(builder, held_out, self.rows // 10, np.random.default_rng(SEED + 1))
        first = self._train(
            builder, examples.select(early_N), check, started + 60 * FIRST_SHARE * self.minutes
        )
        means_VSH = np.stack([_predict(first, builder, o, horizon) for o in held_out])
        truth_VSH = np.stack([builder.demand_ST[:, o : o + horizon] for o in held_out])
        uneven_VS = np.stack([unevenness(builder.demand_ST, o) for o in held_out])
        past = Calibration.of(means_VSH, truth_VSH, uneven_VS, level=self.level)
        second = self._train(builder, examples, None, math.inf, first.current_iteration())
        mean_SH = past.level * _predict(second, builder, panel.n_periods, horizon)
        return Marginals(
            mean_SH=mean_SH,
            quantiles_SHQ=past.table(mean_SH, unevenness(builder.demand_ST, panel.n_periods)),
            places_NSH=past.places_VSH,
            facts={"trees": float(second.current_iteration()), "level": past.level},
        )

    def _origins(self, panel: Panel, horizon: int) -> tuple[list[int], list[int]]:
        """Origins (numbers of observed periods) to hold out, and all; the latest first."""
        step = SEASON[panel.period] if panel.period != "week" else 1
        everything = list(range(panel.n_periods - horizon, 4 * step, -step))[: self.origins]
        n_held = min(self.validation, max((len(everything) - horizon // step) // 3, 1))
        if not everything or everything[-1] + horizon > everything[n_held - 1]:
            expected = f"more than {2 * horizon + 6 * step} periods"
            raise InputError("history", expected=expected, found=f"{panel.n_periods} periods")
        return everything[:n_held], everything

    def _sample(
        self, builder: FeatureBuilder, origins: Sequence[int], n_rows: int, generator: np.random.Generator
    ) -> Examples:
        """About `n_rows` rows, drawn from the origins, steps and series whose demand is known."""
        n_series = builder.panel.n_series
        share = min(n_rows / (len(origins) * builder.horizon * n_series), 1.0)
        # Few series with many of their steps: what belongs to the origin is computed once for all steps.
        share_of_steps = max(share, 0.25)
        parts: list[Examples] = []
        for o in origins:
            some = np.flatnonzero(generator.random(n_series) < share / share_of_steps)
            steps: dict[int, Index] = {}
            for step in range(1, builder.horizon + 1):
                drawn = some[generator.random(len(some)) < share_of_steps]
                drawn = drawn[np.isfinite(builder.demand_ST[drawn, o + step - 1])]
                if len(drawn):
                    steps[step] = drawn
            if steps:
                demand = [builder.demand_ST[chosen, o + step - 1] for step, chosen in steps.items()]
                demand_N = np.concatenate(demand)
                rows = builder.rows(o, steps)
                parts.append(
                    Examples(rows.values_NF, rows.level_N, demand_N, np.full(len(demand_N), o, np.int32))
                )
        if not parts:
            raise InputError("demand", expected="some to learn from", found="none")
        return Examples(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _train(
        self,
        builder: FeatureBuilder,
        examples: Examples,
        check: Examples | None,
        deadline: float,
        trees: int = 5_000,
    ) -> lightgbm.Booster:
        import lightgbm

        data = _dataset(builder, examples)
        callbacks = [_stop_at(deadline)]
        valid_sets = []
        if check is not None:
            callbacks.append(lightgbm.early_stopping(30, verbose=False))
            valid_sets = [_dataset(builder, check, data)]
        parameters = {
            "objective": "tweedie",
            "tweedie_variance_power": self.variance_power,
            "learning_rate": self.learning_rate,
            "num_leaves": self.leaves,
            "min_data_in_leaf": min(self.least_in_leaf, max(len(examples.demand_N) // 500, 5)),
            "feature_fraction": 0.6,
            "bagging_fraction": 0.7,
            "bagging_freq": 1,
            "cat_smooth": 50.0,
            "min_data_per_group": 200,
            "seed": SEED,
            "verbosity": -1,
        }
        booster = lightgbm.train(
            parameters, data, num_boost_round=trees, valid_sets=valid_sets, callbacks=callbacks
        )
        if 0 < booster.best_iteration < booster.current_iteration():
            for _ in range(booster.current_iteration() - booster.best_iteration):
                booster.rollback_one_iter()
        return booster


def _dataset(
    builder: FeatureBuilder, examples: Examples, reference: lightgbm.Dataset | None = None
) -> lightgbm.Dataset:
    import lightgbm

    names = builder.names()
    return lightgbm.Dataset(
        examples.values_NF,
        label=examples.demand_N,
        init_score=np.log(examples.level_N),
        feature_name=[name.replace(" ", "_").replace(":", "").replace(",", "") for name in names],
        categorical_feature=[names.index(name) for name in builder.categorical],
        reference=reference,
        params={"verbosity": -1},
    )


def _predict(booster: lightgbm.Booster, builder: FeatureBuilder, origin: int, horizon: int) -> Floats:
    """(S, H) means of all series after an origin."""
    everyone = np.arange(builder.panel.n_series)
    mean_SH = np.empty((len(everyone), horizon), np.float32)
    for step in range(1, horizon + 1):
        rows = builder.rows(origin, {step: everyone})
        raw_N = booster.predict(rows.values_NF, raw_score=True)
        mean_SH[:, step - 1] = np.exp(np.clip(raw_N, -10, 10)) * rows.level_N
    return mean_SH


def _stop_at(deadline: float) -> object:
    """A callback that ends training at a moment of `time.monotonic`."""
    import lightgbm

    def callback(environment: lightgbm.callback.CallbackEnv) -> None:
        if time.monotonic() > deadline:
            raise lightgbm.callback.EarlyStopException(environment.iteration, [])

    return callback
