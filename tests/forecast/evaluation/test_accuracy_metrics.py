"""Metrics against plain loops, masks, and what calibrated means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from panels import make_panel, point_forecasts, random_forecasts

from forecast.errors import InputError
from forecast.evaluation.metrics import (
    Scales,
    aggregate,
    concatenate,
    coverage,
    pit_bounds,
    pit_histogram,
    scales,
    scored,
    statistics,
)
from forecast.quantiles import DECILES, LEVELS, MEDIAN

FLAT = Scales(mse_S=np.ones(3), mae_S=np.ones(3))


@given(st.integers(0, 10_000), st.floats(0, 0.6))
@settings(max_examples=25, deadline=None)
def test_metrics_equal_plain_loops(seed, missing):
    generator = np.random.default_rng(seed)
    panel = make_panel(generator.poisson(2.0, (3, 30)))
    truth = generator.poisson(3.0, (3, 5)).astype(np.float32)
    truth[generator.random((3, 5)) < missing] = np.nan
    forecasts = random_forecasts(panel, 5, seed=seed)
    scale = scales(panel)
    metrics = aggregate(statistics(truth, forecasts, scale))
    units = absolute = error = loss = 0.0
    squared, absolutes = {}, {}
    for s in range(3):
        for h in range(5):
            y = float(truth[s, h])
            if np.isnan(y):
                continue
            quantiles = [float(q) for q in forecasts.quantiles_SHQ[s, h]]
            units += y
            absolute += abs(y - quantiles[MEDIAN])
            error += float(forecasts.mean_SH[s, h]) - y
            for q in DECILES:
                gap = y - quantiles[q]
                loss += 2 * (LEVELS[q] * gap if gap > 0 else (LEVELS[q] - 1) * gap) / 9
            squared.setdefault(s, []).append((float(forecasts.mean_SH[s, h]) - y) ** 2)
            absolutes.setdefault(s, []).append(abs(y - quantiles[MEDIAN]))
    assert metrics.n == np.isfinite(truth).sum()
    assert metrics.units == units
    if units:
        found = (metrics.wape, metrics.bias, metrics.wql)
        assert found == pytest.approx((absolute / units, error / units, loss / units), rel=1e-6)
        rmsse = np.mean([np.sqrt(np.mean(e) / scale.mse_S[s]) for s, e in squared.items()])
        mase = np.mean([np.mean(e) / scale.mae_S[s] for s, e in absolutes.items()])
        assert (metrics.rmsse, metrics.mase) == pytest.approx((rmsse, mase), rel=1e-6)
    else:
        assert np.isnan(metrics.wape)


def test_scales_use_pairs_of_observed_periods():
    nan = float("nan")
    panel = make_panel([[1, 3, nan, 4, 4, 5, 6, 2, 1], [2] * 9, [nan] * 9])
    scale = scales(panel)
    assert scale.mse_S[0] == pytest.approx((4 + 0 + 1 + 1 + 16 + 1) / 6)
    assert scale.mae_S[0] == pytest.approx((1 + 2) / 2)  # one week apart: 1 and 2, 3 and 1
    assert np.isnan(scale.mse_S[1:]).all()
    assert np.isnan(scale.mae_S[1:]).all()


def test_missing_and_stocked_out_periods_are_not_scored():
    stock = np.zeros((1, 6))
    stock[0, 4] = 0.1
    panel = make_panel([[1, 2, 3, np.nan, 5, 6]], stocked_out_ST=stock)
    truth = scored(panel, 2, 6)
    np.testing.assert_array_equal(truth, [[3, np.nan, np.nan, 6, np.nan, np.nan]])
    metrics = aggregate(statistics(truth, point_forecasts(panel, [[3, 9, 9, 5, 9, 9]]), scales(panel)))
    assert (metrics.n, metrics.units) == (2, 9.0)
    assert metrics.wape == pytest.approx(1 / 9)
    assert metrics.bias == pytest.approx(-1 / 9)


def test_a_mask_selects_and_an_empty_one_gives_nothing():
    panel = make_panel(np.ones((3, 9)))
    one = statistics(np.full((3, 4), 2.0, np.float32), point_forecasts(panel, np.full((3, 4), 1.0)), FLAT)
    first = aggregate(one, np.arange(4) < 1)
    assert (first.n, first.wape) == (3, 0.5)
    none = aggregate(one, np.zeros((3, 4), bool))
    assert none.n == 0
    assert np.isnan([none.wape, none.wql, none.rmsse, none.coverage_80]).all()


def test_joined_statistics_score_like_one():
    panel = make_panel(np.arange(24).reshape(3, 8))
    truth = np.random.default_rng(0).poisson(3, (3, 4)).astype(np.float32)
    one = statistics(truth, random_forecasts(panel, 4), scales(panel))
    twice = concatenate([one, one])
    assert twice.truth_SH.shape == (6, 4)
    assert aggregate(twice).wql == pytest.approx(aggregate(one).wql)
    assert aggregate(twice).rmsse == pytest.approx(aggregate(one).rmsse)


def test_wrong_shape_is_an_input_error():
    panel = make_panel(np.ones((3, 9)))
    with pytest.raises(InputError, match=r"truth: expected \(3, 4\), found \(3, 5\)"):
        statistics(np.ones((3, 5), np.float32), random_forecasts(panel, 4), FLAT)


def test_pit_lies_between_the_levels_around_the_truth():
    quantiles = np.array([np.arange(17.0)] * 6)
    low, high = pit_bounds(np.array([-1.0, 8.0, 8.5, 16.0, 20.0, np.nan]), quantiles)
    np.testing.assert_allclose(low[:3], [0.0, (LEVELS[7] + LEVELS[8]) / 2, (LEVELS[8] + LEVELS[9]) / 2])
    np.testing.assert_allclose(
        high[:3], [LEVELS[0], (LEVELS[8] + LEVELS[9]) / 2, (LEVELS[8] + LEVELS[9]) / 2]
    )
    np.testing.assert_allclose([low[3], high[3]], [(LEVELS[15] + LEVELS[16]) / 2, 1.0])
    np.testing.assert_allclose([low[4], high[4]], [LEVELS[16], 1.0])
    assert np.isnan([low[5], high[5]]).all()


def test_a_zero_that_is_likely_fills_its_share_of_the_histogram():
    quantiles = np.where(np.asarray(LEVELS) < 0.6, 0.0, 5.0)[None, :]
    low, high = pit_bounds(np.array([0.0]), quantiles)
    assert (low[0], high[0]) == (0.0, pytest.approx(0.55))
    assert coverage((low, high), 0.8) == pytest.approx((0.55 - 0.1) / 0.55)
    np.testing.assert_allclose(pit_histogram((low, high), 2), [2 * 0.5 / 0.55, 2 * 0.05 / 0.55])


@pytest.mark.parametrize("kind", ["continuous", "counts"])
def test_a_calibrated_forecast_is_found_calibrated(kind):
    generator = np.random.default_rng(7)
    draw = (
        (lambda n: generator.normal(50, 10, n))
        if kind == "continuous"
        else (lambda n: generator.poisson(3.0, n))
    )
    sample = np.sort(draw(200_001))
    quantiles = np.tile(np.quantile(sample, LEVELS, method="nearest"), (20_000, 1)).astype(np.float64)
    low, high = pit_bounds(draw(20_000).astype(np.float64), quantiles)
    for central in (0.5, 0.8, 0.95):
        assert coverage((low, high), central) == pytest.approx(central, abs=0.03)
    np.testing.assert_allclose(pit_histogram((low, high), 5), 1.0, atol=0.2)


def test_an_overconfident_forecast_is_found_out():
    generator = np.random.default_rng(8)
    quantiles = np.tile(np.quantile(generator.normal(50, 3, 50_000), LEVELS), (5_000, 1))
    low, high = pit_bounds(generator.normal(50, 10, 5_000), quantiles)
    assert coverage((low, high), 0.8) < 0.4
    assert pit_histogram((low, high), 10)[0] > 2
