from __future__ import annotations

import numpy as np
import pytest

from forecast.model.coupling import probability_integral_transform, scenario_ranks
from forecast.quantiles import LEVELS, MEDIAN


def pit(truth: float, quantiles: list[float], n: int = 4000, censored: bool = False) -> np.ndarray:
    rng = np.random.default_rng(0)
    shape = (n, 1)
    return probability_integral_transform(
        np.full(shape, truth, np.float32),
        np.tile(np.asarray(quantiles, np.float32), (n, 1, 1)),
        np.full(shape, censored),
        rng,
    )[:, 0]


def test_a_truth_on_a_quantile_has_its_level() -> None:
    ladder = [float(i) for i in range(len(LEVELS))]
    assert pit(float(MEDIAN) + 0.5, ladder) == pytest.approx((LEVELS[MEDIAN] + LEVELS[MEDIAN + 1]) / 2)


def test_zeros_are_spread_over_the_probability_of_zero() -> None:
    quantiles = [0.0] * (MEDIAN + 1) + [float(i + 1) for i in range(len(LEVELS) - MEDIAN - 1)]
    places = pit(0.0, quantiles)
    assert places.min() >= 0
    assert places.max() <= 0.5
    assert places.mean() == pytest.approx(0.25, abs=0.02)


def test_a_truth_beyond_the_outermost_levels_is_beyond_them() -> None:
    ladder = [float(i) for i in range(len(LEVELS))]
    assert pit(99.0, ladder).min() >= LEVELS[-1]
    assert pit(-1.0, ladder).max() <= LEVELS[0]


def test_a_censored_truth_lies_at_or_above_its_sales_and_a_missing_one_anywhere() -> None:
    ladder = [float(i) for i in range(len(LEVELS))]
    assert pit(float(MEDIAN) + 0.5, ladder, censored=True).min() >= LEVELS[MEDIAN]
    assert pit(float("nan"), ladder).mean() == pytest.approx(0.5, abs=0.03)


def test_ranks_are_permutations_and_keep_the_dependence_of_the_templates() -> None:
    rng = np.random.default_rng(1)
    shared = rng.random((60, 1, 1))
    templates = np.clip(shared + 0.05 * rng.standard_normal((60, 8, 3)), 0, 1).astype(np.float32)
    ranks = scenario_ranks(templates, 100, rng)
    np.testing.assert_array_equal(np.sort(ranks, axis=2), np.broadcast_to(np.arange(100), (8, 3, 100)))
    assert np.corrcoef(ranks[0, 0], ranks[5, 2])[0, 1] > 0.8


def test_without_templates_series_are_independent() -> None:
    ranks = scenario_ranks(np.zeros((0, 50, 1), np.float32), 100, np.random.default_rng(0))
    correlation = np.corrcoef(ranks[:, 0].astype(float))
    assert abs(correlation[np.triu_indices(50, 1)].mean()) < 0.02
