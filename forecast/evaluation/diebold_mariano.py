"""Is one forecaster better than another over time? The Diebold-Mariano test on a series of loss differences.

Diebold and Mariano, "Comparing predictive accuracy", Journal of Business & Economic Statistics 13 (1995);
variance after Newey and West, Econometrica 55 (1987), which stays positive; correction for few periods and
Student's t after Harvey, Leybourne and Newbold, International Journal of Forecasting 13 (1997).

Letters: T periods.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np

from forecast.errors import InputError, UsageError
from forecast.evaluation.bootstrap import Interval
from forecast.evaluation.metrics import Doubles

NODES: Final[int] = 64
"""Of the Gauss-Legendre rule for Student's distribution; exact to 1e-9 up to 10 standard deviations."""
HALVINGS: Final[int] = 60
"""Until a quantile is known to the last bit."""


@dataclass(frozen=True, kw_only=True)
class DieboldMariano:
    """Result of a test: mean difference with its interval, statistic, two-sided p-value.

    interval: negative when the first forecaster is better. n: periods. lags: autocovariances in the variance.
    """

    interval: Interval
    statistic: float
    p_value: float
    n: int
    lags: int


def diebold_mariano(difference_T: Doubles, *, horizon: int = 1, level: float = 0.95) -> DieboldMariano:
    """Test whether the mean of loss differences (first minus second, one a period, in order of time) is 0.

    Forecasts up to `horizon` periods ahead make differences that depend on each other over horizon - 1
    periods; as many lags are taken, at most 1.3 times the root of T (Lazarus, Lewis, Stock and Watson,
    Journal of Business & Economic Statistics 36, 2018): with more there would be no variance left to
    estimate. With horizon 1 it is Student's paired t-test. Differences that are all alike have an interval
    of no width.

    Raises:
        InputError: fewer than two periods, or differences that are not finite. UsageError: level, horizon.
    """
    n = len(difference_T)
    if n < 2 or not np.isfinite(difference_T).all():
        raise InputError("differences", expected="at least 2 finite numbers", found=str(n))
    if horizon < 1 or not 0 < level < 1:
        raise UsageError(
            f"expected a horizon of at least 1 and a level within 0..1, found {horizon}, {level}"
        )
    lags = min(horizon - 1, int(1.3 * math.sqrt(n)), n // 3)
    mean = float(difference_T.mean())
    variance = long_run_variance(difference_T, lags) / n
    # The small-sample factor of Harvey, Leybourne and Newbold for errors that depend over `lags` periods.
    factor = (n - 1 - 2 * lags + lags * (lags + 1) / n) / n
    error = math.sqrt(variance / factor)
    if error == 0.0:
        certain = mean != 0.0
        return DieboldMariano(
            interval=Interval(estimate=mean, low=mean, high=mean),
            statistic=math.copysign(math.inf, mean) if certain else 0.0,
            p_value=0.0 if certain else 1.0,
            n=n,
            lags=lags,
        )
    statistic = mean / error
    reach = error * student_quantile(level, n - 1)
    return DieboldMariano(
        interval=Interval(estimate=mean, low=mean - reach, high=mean + reach),
        statistic=statistic,
        p_value=max(0.0, 1.0 - student_within(abs(statistic), n - 1)),
        n=n,
        lags=lags,
    )


def long_run_variance(values_T: Doubles, lags: int) -> float:
    """Newey and West's variance of the root of T times the mean: autocovariances with weights 1 - k /
    (lags + 1).
    """
    centred_T = values_T - values_T.mean()
    n = len(values_T)
    covariances = [float(centred_T[k:] @ centred_T[: n - k]) / n for k in range(lags + 1)]
    weighted = [2 * (1 - k / (lags + 1)) * covariances[k] for k in range(1, lags + 1)]
    return max(0.0, covariances[0] + sum(weighted))


def student_within(bound: float, freedom: int) -> float:
    """Probability that Student's t with `freedom` degrees lies within -bound .. bound.

    With t = tan(angle) times the root of the degrees its density is a power of the cosine.
    """
    top = math.atan(bound / math.sqrt(freedom))
    nodes, weights = _gauss_legendre()
    angle = top * (nodes + 1) / 2
    area = float(weights @ np.cos(angle) ** (freedom - 1)) * top / 2
    log_scale = math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2) - math.log(math.pi) / 2
    return min(1.0, 2 * math.exp(log_scale) * area)


def student_quantile(level: float, freedom: int) -> float:
    """The bound within which Student's t lies with probability `level`."""
    low, high = 0.0, 1.0
    while student_within(high, freedom) < level and high < 1e12:
        high *= 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if student_within(middle, freedom) < level else (low, middle)
    return high


@cache
def _gauss_legendre() -> tuple[Doubles, Doubles]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return nodes, weights
