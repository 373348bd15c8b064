from __future__ import annotations

import numpy as np
import pytest

from forecast.model.calibration import LIMIT, level_correction


def test_a_steady_shortfall_is_made_good() -> None:
    mean = np.full((34, 28), 100.0)
    rng = np.random.default_rng(0)
    demand = mean * 1.05 * np.exp(0.01 * rng.standard_normal((34, 1)))
    np.testing.assert_allclose(level_correction(demand, mean, patch=7), 1.05, rtol=0.01)


def test_a_shortfall_that_grows_with_the_step_is_made_good_step_by_step() -> None:
    mean = np.full((34, 28), 100.0)
    demand = mean * np.linspace(1.0, 1.1, 28)
    factor = level_correction(demand, mean, patch=7)
    assert factor[0] == pytest.approx(1.0, abs=0.01)
    assert factor[-1] == pytest.approx(1.1, abs=0.01)
    assert (np.diff(factor) > 0).all()


def test_noise_is_not_taken_for_a_level() -> None:
    rng = np.random.default_rng(1)
    mean = np.full((8, 28), 100.0)
    demand = mean * np.exp(0.2 * rng.standard_normal((8, 1)))
    raw = demand.sum() / mean.sum()
    assert np.abs(level_correction(demand, mean, patch=7) - 1).max() < 0.5 * abs(raw - 1)


def test_without_errors_to_learn_from_nothing_is_corrected_and_never_too_much() -> None:
    np.testing.assert_array_equal(level_correction(np.zeros((0, 5)), np.zeros((0, 5)), patch=7), np.ones(5))
    np.testing.assert_array_equal(level_correction(np.zeros((3, 5)), np.ones((3, 5)), patch=7), np.ones(5))
    mean = np.ones((20, 5))
    assert level_correction(9 * mean, mean, patch=7).max() == pytest.approx(LIMIT)


def test_a_weekday_that_is_missed_does_not_bend_the_level() -> None:
    mean = np.full((34, 28), 100.0)
    demand = mean * np.where(np.arange(28) % 7 == 0, 1.2, 1.0)
    factor = level_correction(demand, mean, patch=7)
    np.testing.assert_allclose(factor, 1 + 0.2 / 7, rtol=1e-3)
