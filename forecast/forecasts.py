"""Forecasts: what a model answers for every series, and the joint scenarios behind it.

Letters: S series, H horizon, Q quantile levels (`forecast.quantiles.LEVELS`), K scenarios.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import STEP, Panel, Period, SeriesKeys
from forecast.errors import InputError
from forecast.quantiles import LEVELS

Floats = NDArray[np.float32]


def rank_weights(n_scenarios: int) -> Floats:
    """(Q, K) weights that turn the 17 quantiles of a marginal into its K equally likely values, by linear
    interpolation.

    Scenario value of rank r is the quantile at (r + 0.5) / K; levels outside LEVELS take the outermost
    quantile.
    """
    levels = np.asarray(LEVELS)
    wanted = (np.arange(n_scenarios) + 0.5) / n_scenarios
    identity = np.eye(len(levels))
    columns = [np.interp(wanted, levels, identity[q]) for q in range(len(levels))]
    return np.stack(columns).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class Forecasts:
    """Forecasts of S series for the H periods after `origin`.

    mean_SH: expected demand, units per period.
    quantiles_SHQ: marginal quantiles at LEVELS, not decreasing along Q.
    ranks_SHK: rank (0..K-1) of each joint scenario within its marginal; a permutation along K for every
        series and period. Scenario k of series s in period h is the marginal's quantile at (rank + 0.5) /
        K, scaled so that the mean over scenarios is `mean_SH` (see `scenarios`). K <= 256.
    """

    period: Period
    origin: np.datetime64
    keys: SeriesKeys
    mean_SH: Floats
    quantiles_SHQ: Floats
    ranks_SHK: NDArray[np.uint8]

    def __post_init__(self) -> None:
        s, h = self.mean_SH.shape
        if self.quantiles_SHQ.shape != (s, h, len(LEVELS)):
            raise InputError(
                "quantiles", expected=str((s, h, len(LEVELS))), found=str(self.quantiles_SHQ.shape)
            )
        if self.ranks_SHK.shape[:2] != (s, h):
            raise InputError("ranks", expected=str((s, h)), found=str(self.ranks_SHK.shape))

    @property
    def horizon(self) -> int:
        """H, periods ahead."""
        return int(self.mean_SH.shape[1])

    @property
    def n_scenarios(self) -> int:
        """K."""
        return int(self.ranks_SHK.shape[2])

    @property
    def times(self) -> NDArray[np.datetime64]:
        """The H forecast periods."""
        return self.origin + np.arange(1, self.horizon + 1) * STEP[self.period]

    def scenarios(self, rows: NDArray[np.intp] | slice) -> Floats:
        """Joint demand scenarios of some series, (n, H, K), units; their mean over K is `mean_SH`."""
        return expand(self.mean_SH[rows], self.quantiles_SHQ[rows], self.ranks_SHK[rows])


class ForecastPart(NamedTuple):
    """Forecasts of a run of neighbouring series, and the panel of these series that they continue."""

    forecasts: Forecasts
    panel: Panel


def spread(mean_SH: Floats, quantiles_SHQ: Floats, n_scenarios: int) -> Floats:
    """The K equally likely values of each marginal, (S, H, K), ascending; their mean over K is mean_SH."""
    values_SHK: Floats = quantiles_SHQ @ rank_weights(n_scenarios)
    average_SH = values_SHK.mean(axis=2)
    factor_SH = np.divide(mean_SH, average_SH, out=np.ones_like(mean_SH), where=average_SH > 0)
    # Where every quantile is zero the mean is spread evenly: no scenario of a positive mean is all zero.
    shift_SH = np.where(average_SH > 0, 0.0, mean_SH).astype(np.float32)
    values_SHK *= factor_SH[:, :, None]
    values_SHK += shift_SH[:, :, None]
    return values_SHK


def expand(mean_SH: Floats, quantiles_SHQ: Floats, ranks_SHK: NDArray[np.uint8]) -> Floats:
    """Compact scenarios (S, H), (S, H, Q), ranks (S, H, K) to demand (S, H, K) of mean mean_SH over K."""
    s, h, k = ranks_SHK.shape
    values_SHK = spread(mean_SH, quantiles_SHQ, k)
    # Taking from the flat array is four times as quick as take_along_axis, with the same result.
    place_SHK = ranks_SHK + np.arange(0, s * h * k, k).reshape(s, h, 1)
    joint_SHK: Floats = values_SHK.reshape(-1).take(place_SHK)
    return joint_SHK


def scenario_quantiles(scenarios_NHK: NDArray[np.float64]) -> Floats:
    """(N, H, Q) quantiles at LEVELS of K equally likely values: rank r stands at (r + 0.5) / K, linear
    between.

    The inverse of how `Forecasts` spreads a marginal over its scenarios. Levels outside take the outermost
    value.
    """
    n_scenarios = scenarios_NHK.shape[-1]
    positions = (np.arange(n_scenarios) + 0.5) / n_scenarios
    identity = np.eye(n_scenarios)
    weights_KQ = np.stack([np.interp(LEVELS, positions, row) for row in identity])
    quantiles_NHQ = np.sort(scenarios_NHK, axis=-1) @ weights_KQ
    result: Floats = np.maximum.accumulate(quantiles_NHQ, axis=-1).astype(np.float32)
    return result
