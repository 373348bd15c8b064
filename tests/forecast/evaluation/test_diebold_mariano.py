"""The Diebold-Mariano test against values known from elsewhere and a plain computation."""

import numpy as np
import pytest

from forecast.errors import InputError, UsageError
from forecast.evaluation.diebold_mariano import (
    diebold_mariano,
    long_run_variance,
    student_quantile,
    student_within,
)

SLEEP = -np.array([1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4])
"""Differences of Student's own sleep data (Biometrika 1908), whose paired t-test is in every textbook."""


def test_one_step_ahead_it_is_students_paired_test():
    found = diebold_mariano(SLEEP)
    assert found.statistic == pytest.approx(-4.0621, abs=1e-4)
    assert found.p_value == pytest.approx(0.002833, abs=1e-6)
    assert (found.interval.low, found.interval.high) == pytest.approx((-2.459886, -0.7001142), abs=1e-6)
    assert (found.n, found.lags) == (10, 0)


@pytest.mark.parametrize(
    ("freedom", "bound"), [(1, 12.7062), (9, 2.262157), (30, 2.042272), (1000, 1.962339)]
)
def test_students_distribution_agrees_with_its_tables(freedom, bound):
    assert student_quantile(0.95, freedom) == pytest.approx(bound, rel=1e-5)
    assert student_within(bound, freedom) == pytest.approx(0.95, abs=1e-5)


def test_several_steps_ahead_it_is_the_formula_written_out():
    values = np.array([3.0, -1.0, 2.0, 2.0, 0.0, -2.0, 1.0, 4.0, 1.0, 0.0, 2.0, 1.0])
    n, mean = 12, 13 / 12
    covariance = [sum((values[t] - mean) * (values[t - k] - mean) for t in range(k, n)) / n for k in range(3)]
    variance = covariance[0] + 2 * (2 / 3 * covariance[1] + 1 / 3 * covariance[2])
    assert long_run_variance(values, 2) == pytest.approx(variance)
    h = 3
    correction = (n + 1 - 2 * h + h * (h - 1) / n) / n
    found = diebold_mariano(values, horizon=h)
    assert found.lags == 2
    assert found.statistic == pytest.approx(mean / np.sqrt(variance / n) * np.sqrt(correction))


def test_days_that_hang_together_are_not_taken_for_many():
    generator = np.random.default_rng(0)
    called = {1: 0, 28: 0}
    for _ in range(200):
        noise = generator.normal(size=62)
        dependent = noise[6:] + noise[3:-3] + noise[:-6]
        for horizon in called:
            called[horizon] += diebold_mariano(dependent, horizon=horizon).p_value < 0.05
    assert called[28] < 0.7 * called[1]


def test_what_never_changes_is_certain_and_nothing_is_refused():
    assert diebold_mariano(np.zeros(9), horizon=4).p_value == 1.0
    assert diebold_mariano(np.full(9, -1.0), horizon=4).interval.high == -1.0
    with pytest.raises(InputError, match="at least 2"):
        diebold_mariano(np.ones(1))
    with pytest.raises(InputError, match="finite"):
        diebold_mariano(np.array([1.0, np.nan, 2.0]))
    with pytest.raises(UsageError, match="horizon"):
        diebold_mariano(SLEEP, horizon=0)
