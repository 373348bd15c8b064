"""Is one forecaster better than another? Bootstrap intervals of paired differences.

Letters: S series, R resamples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.errors import InputError
from forecast.evaluation.metrics import Doubles

RESAMPLES_PER_CHUNK: Final[int] = 64


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate and its central interval."""

    estimate: float
    low: float
    high: float


def paired_difference(
    first_S: Doubles,
    second_S: Doubles,
    weight_S: Doubles,
    *,
    level: float = 0.95,
    n_resamples: int = 1_000,
    seed: int = 0,
) -> Interval:
    """Interval of sum(first) / sum(weight) - sum(second) / sum(weight), whole series drawn with replacement.

    `first_S`, `second_S` are summed losses of two forecasters on the same periods of each series, `weight_S`
    the demand there: the difference of two WQL (or WAPE). Negative means that the first is better. Drawing
    series keeps what belongs together, the periods of a series, together. Raises InputError when nothing was
    demanded.
    """
    if not first_S.shape == second_S.shape == weight_S.shape:
        raise InputError("losses", expected="the same series", found=f"{first_S.shape}, {second_S.shape}")
    if not weight_S.sum() > 0:
        raise InputError("demand", expected="some demand to score", found="none")
    difference_S = first_S - second_S
    draws = _resampled(difference_S, weight_S, n_resamples, seed)
    return _interval(float(difference_S.sum() / weight_S.sum()), draws, level)


@dataclass(frozen=True, kw_only=True)
class RelativeDifference:
    """How much larger one loss is than another, as a share of the other: 0.02 is 2 % worse.

    p_worse: of the hypothesis that it is worse by no more than a margin; small where it surely is worse.
    n_series: series with any loss, from which interval and p-value come.
    """

    interval: Interval
    p_worse: float
    n_series: int


def relative_difference(
    first_S: Doubles,
    second_S: Doubles,
    *,
    margin: float = 0.0,
    level: float = 0.95,
    n_resamples: int = 1_000,
    seed: int = 0,
) -> RelativeDifference:
    """Interval of sum(first) / sum(second) - 1, whole series drawn with replacement, and a one-sided test.

    Series without any loss are left out. Where the second is without fault, so is the first (a difference of
    0) or it is infinitely worse. A loss that is not finite counts as worse than any.
    """
    some_S = (first_S != 0) | (second_S != 0)
    one_S, other_S = first_S[some_S], second_S[some_S]
    if not np.isfinite(one_S).all() or not other_S.sum() > 0:
        worse = len(one_S) > 0
        edge = float("inf") if worse else 0.0
        nothing = Interval(estimate=edge, low=edge, high=edge)
        return RelativeDifference(interval=nothing, p_worse=0.0 if worse else 1.0, n_series=len(one_S))
    draws = _resampled(one_S - other_S, other_S, n_resamples, seed)
    return RelativeDifference(
        interval=_interval(float(one_S.sum() / other_S.sum() - 1), draws, level),
        p_worse=float((1 + (draws <= margin).sum()) / (1 + n_resamples)),
        n_series=len(one_S),
    )


def _interval(estimate: float, draws: Doubles, level: float) -> Interval:
    edges = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    return Interval(estimate=estimate, low=float(edges[0]), high=float(edges[1]))


def _resampled(value_S: Doubles, weight_S: Doubles, n_resamples: int, seed: int) -> Doubles:
    """(R,) sum(value) / sum(weight) of each resample; 0 where nothing with a weight was drawn."""
    draws: list[Doubles] = []
    for chosen_RS in _chosen(len(weight_S), n_resamples, seed):
        weight_R = weight_S[chosen_RS].sum(axis=1)
        total_R = value_S[chosen_RS].sum(axis=1)
        draws.append(np.divide(total_R, weight_R, out=np.zeros(len(weight_R)), where=weight_R > 0))
    return np.concatenate(draws)


def _chosen(n_series: int, n_resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    for done in range(0, n_resamples, RESAMPLES_PER_CHUNK):
        n_drawn = min(RESAMPLES_PER_CHUNK, n_resamples - done)
        yield generator.integers(n_series, size=(n_drawn, n_series))
