"""Is one forecaster better than another? Bootstrap intervals of paired differences.

Letters: S series, R resamples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

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
    n_series = len(weight_S)
    generator = np.random.default_rng(seed)
    draws: list[Doubles] = []
    for done in range(0, n_resamples, RESAMPLES_PER_CHUNK):
        n_drawn = min(RESAMPLES_PER_CHUNK, n_resamples - done)
        chosen_RS = generator.integers(n_series, size=(n_drawn, n_series))
        weight_R = weight_S[chosen_RS].sum(axis=1)
        total_R = difference_S[chosen_RS].sum(axis=1)
        draws.append(np.divide(total_R, weight_R, out=np.zeros(n_drawn), where=weight_R > 0))
    edges = np.quantile(np.concatenate(draws), [(1 - level) / 2, (1 + level) / 2])
    estimate = float(difference_S.sum() / weight_S.sum())
    return Interval(estimate=estimate, low=float(edges[0]), high=float(edges[1]))
