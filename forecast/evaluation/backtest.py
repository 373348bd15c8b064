"""Rolling-origin backtests: every forecaster forecasts from the same past days and is held against what came.

A forecaster gets `panel.until(origin)` and nothing else: no later demand, no later stock state.

Letters: S series, H horizon, R rows of all origins (origin by origin, S each).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TypeVar

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forecast.demand.panel import STEP, Panel
from forecast.errors import InputError, UsageError
from forecast.evaluation.baselines import ForecastFunction
from forecast.evaluation.bootstrap import (
    Interval,
    RelativeDifference,
    paired_difference,
    relative_difference,
)
from forecast.evaluation.diebold_mariano import DieboldMariano, diebold_mariano
from forecast.evaluation.metrics import (
    COVERAGES,
    Mask,
    Statistics,
    aggregate,
    concatenate,
    coverage,
    scales,
    scored,
    statistics,
)
from forecast.evaluation.scenario_scores import ScenarioScores, levels_of, scenario_scores, stack_scores
from forecast.evaluation.slices import SliceFunction, peak_threshold, slices
from forecast.forecasts import Forecasts

Key = TypeVar("Key")
ALL = "all"
"""The slice of everything that is scored."""
FEWEST_TIMES = 8
"""Periods that a test over time needs."""


@dataclass(frozen=True, kw_only=True)
class BacktestReport:
    """What a backtest found.

    origins: last observed period of each origin, ascending. statistics: forecaster -> (R, H) comparison with
    the truth. scenarios: forecaster -> what its scenarios say of sums and peaks. slices: name -> (R, H) mask,
    see `forecast.evaluation.slices`. forecasts: forecaster -> forecasts of the last origin, for pictures.
    """

    origins: NDArray[np.datetime64]
    horizon: int
    statistics: Mapping[str, Statistics]
    scenarios: Mapping[str, ScenarioScores]
    slices: Mapping[str, Mask]
    forecasts: Mapping[str, Forecasts]

    @property
    def n_series(self) -> int:
        """S."""
        return len(next(iter(self.statistics.values())).truth_SH) // len(self.origins)

    def table(self) -> pl.DataFrame:
        """Accuracy by slice and forecaster: columns slice, forecaster, and those of `Metrics`."""
        return self._frame("slice", {ALL: None, **self.slices})

    def by_step(self) -> pl.DataFrame:
        """Accuracy by step of the horizon: columns step (1 = the first period after the origin),
        forecaster, metrics.
        """
        steps = np.arange(self.horizon)
        return self._frame("step", {i + 1: (steps == i)[None, :] for i in range(self.horizon)})

    def calibration(self) -> pl.DataFrame:
        """Coverage of the central bands of sums: columns forecaster, level, n (node-periods), coverage_50,
        coverage_80, coverage_95.
        """
        rows = []
        for name, scores in self.scenarios.items():
            for level, (low_NH, high_NH) in scores.pits.items():
                present = ~np.isnan(low_NH)
                pit = low_NH[present], high_NH[present]
                inside = {f"coverage_{100 * c:.0f}": coverage(pit, c) for c in COVERAGES}
                rows.append({"forecaster": name, "level": level, "n": int(present.sum()), **inside})
        return pl.DataFrame(rows)

    def difference(self, first: str, second: str, *, where: str = ALL, seed: int = 0) -> Interval:
        """95 % bootstrap interval (by series) of the WQL of `first` minus that of `second` on a slice."""
        one, other = self._of(first), self._of(second)
        chosen_RH = self._chosen(where)
        return paired_difference(
            self._by_series(one.quantile_loss_SH, chosen_RH),
            self._by_series(other.quantile_loss_SH, chosen_RH),
            self._by_series(one.truth_SH, chosen_RH),
            seed=seed,
        )

    def relative_difference(
        self,
        first: str,
        second: str,
        *,
        where: str = ALL,
        margin: float = 0.0,
        level: float = 0.95,
        n_resamples: int = 1_000,
    ) -> RelativeDifference:
        """How much larger the WQL of `first` is than that of `second` on a slice, as a share of the latter,
        with an interval by series, and whether that is surely more than a margin."""
        chosen_RH = self._chosen(where)
        return relative_difference(
            self._by_series(self._of(first).quantile_loss_SH, chosen_RH),
            self._by_series(self._of(second).quantile_loss_SH, chosen_RH),
            margin=margin,
            level=level,
            n_resamples=n_resamples,
        )

    def difference_over_time(self, first: str, second: str, *, where: str = ALL) -> DieboldMariano | None:
        """Diebold-Mariano test of the same difference, a loss for each period of all series together.

        Where `difference` asks whether other series would agree, this asks whether other times would. None
        where fewer than `FEWEST_TIMES` periods are scored.
        """
        one, other, chosen_RH = self._of(first), self._of(second), self._chosen(where)
        period = next(iter(self.forecasts.values())).period
        time_OH = self.origins[:, None] + np.arange(1, self.horizon + 1) * STEP[period]
        times, place = np.unique(time_OH, return_inverse=True)

        def by_time(values_RH: NDArray[np.floating]) -> NDArray[np.float64]:
            shape = (len(self.origins), self.n_series, self.horizon)
            sums_OH = np.sum(
                values_RH.reshape(shape), axis=1, where=chosen_RH.reshape(shape), dtype=np.float64
            )
            sums_T = np.zeros(len(times))
            np.add.at(sums_T, place.ravel(), sums_OH.ravel())
            return sums_T

        scored_T = by_time(np.ones(chosen_RH.shape, np.float32)) > 0
        if scored_T.sum() < FEWEST_TIMES:
            return None
        difference_T = by_time(one.quantile_loss_SH)[scored_T] - by_time(other.quantile_loss_SH)[scored_T]
        units = by_time(one.truth_SH)[scored_T].sum()
        if not units > 0:
            return None
        return diebold_mariano(difference_T * len(difference_T) / units, horizon=self.horizon)

    def _chosen(self, where: str) -> Mask:
        scored_RH = next(iter(self.statistics.values())).scored_SH
        return scored_RH if where == ALL else scored_RH & self._slice(where)

    def _of(self, forecaster: str) -> Statistics:
        if forecaster not in self.statistics:
            raise UsageError(f"forecaster: expected one of {', '.join(self.statistics)}, found {forecaster}")
        return self.statistics[forecaster]

    def _slice(self, name: str) -> Mask:
        if name not in self.slices:
            raise UsageError(f"slice: expected one of {', '.join([ALL, *self.slices])}, found {name}")
        return self.slices[name]

    def _by_series(self, values_RH: NDArray[np.floating], chosen_RH: Mask) -> NDArray[np.float64]:
        """(S,) sums over the horizon and all origins."""
        sums_R: NDArray[np.float64] = np.sum(values_RH, axis=1, where=chosen_RH, dtype=np.float64)
        total_S: NDArray[np.float64] = sums_R.reshape(len(self.origins), self.n_series).sum(axis=0)
        return total_S

    def _frame(self, column: str, masks: Mapping[Key, Mask | None]) -> pl.DataFrame:
        rows = [
            {column: key, "forecaster": name, **asdict(aggregate(one, mask))}
            for key, mask in masks.items()
            for name, one in self.statistics.items()
        ]
        return pl.DataFrame(rows)


def rolling_origins(panel: Panel, horizon: int, n_origins: int, stride: int) -> tuple[int, ...]:
    """The last `n_origins` origins whose whole horizon is observed, `stride` periods apart, ascending.

    An origin is the number of periods observed then, as in `panel.until`. Raises UsageError for counts below
    1 and InputError when the first origin would have less history than one horizon.
    """
    for name, value in (("horizon", horizon), ("origins", n_origins), ("stride", stride)):
        if value < 1:
            raise UsageError(f"{name}: expected at least 1, found {value}")
    last = panel.n_periods - horizon
    first = last - (n_origins - 1) * stride
    if first < horizon:
        needed = 2 * horizon + (n_origins - 1) * stride
        raise InputError("history", expected=f"at least {needed} periods", found=str(panel.n_periods))
    return tuple(range(first, last + 1, stride))


def backtest(
    panel: Panel,
    forecasters: Mapping[str, ForecastFunction],
    origins: Sequence[int],
    horizon: int,
    *,
    cut: SliceFunction = slices,
    advance: Callable[[float], None] = lambda _done: None,
) -> BacktestReport:
    """Forecast `horizon` periods from each origin (`rolling_origins`, `event_origins`) with each forecaster,
    and score.

    Periods that are missing, stocked out, or beyond the panel's end are not scored. `cut` says what is scored
    apart. `advance` is told of each forecast done, for a progress bar. Raises UsageError without a forecaster
    or origin.
    """
    if not forecasters or not origins:
        raise UsageError("backtest: expected at least one forecaster and one origin, found none")
    found: dict[str, list[Statistics]] = {name: [] for name in forecasters}
    joint: dict[str, list[ScenarioScores]] = {name: [] for name in forecasters}
    masks: list[Mapping[str, Mask]] = []
    levels = levels_of(panel)
    latest: dict[str, Forecasts] = {}
    for origin in sorted(origins):
        known = panel.until(origin)
        truth_SH = scored(panel, origin, horizon)
        known_scales = scales(known)
        threshold_S = peak_threshold(known)
        masks.append(cut(truth_SH, known))
        for name, forecaster in forecasters.items():
            latest[name] = forecaster(known, horizon)
            found[name].append(statistics(truth_SH, latest[name], known_scales))
            joint[name].append(scenario_scores(truth_SH, latest[name], levels, threshold_S))
            advance(1)
    return BacktestReport(
        origins=np.array([panel.time(origin - 1) for origin in sorted(origins)]),
        horizon=horizon,
        statistics={name: concatenate(parts) for name, parts in found.items()},
        scenarios={name: stack_scores(parts) for name, parts in joint.items()},
        slices=_stack(masks, (panel.n_series, horizon)),
        forecasts=latest,
    )


def _stack(masks: Sequence[Mapping[str, Mask]], shape: tuple[int, int]) -> dict[str, Mask]:
    """Masks of all origins one under the other; a slice that an origin does not have is empty there."""
    names = dict.fromkeys(name for one in masks for name in one)
    empty = np.zeros(shape, dtype=bool)
    return {name: np.concatenate([one.get(name, empty) for one in masks]) for name in names}
