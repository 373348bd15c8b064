"""Baselines against plain loops, on short and broken histories, and blind to the future."""

from dataclasses import replace

import numpy as np
import pytest
from panels import make_panel
from poison import assert_blind_to_future

from forecast.errors import UsageError
from forecast.evaluation.baselines import (
    Croston,
    MovingAverage,
    SeasonalNaive,
    baselines,
    in_stock,
    independent_ranks,
    row_quantiles,
)
from forecast.quantiles import LEVELS, MEDIAN

NAN = float("nan")
EACH = pytest.mark.parametrize("name", ["seasonal naive", "moving average", "croston"])


def busy_panel(period="day", n_periods=200):
    generator = np.random.default_rng(5)
    demand = generator.poisson(generator.gamma(2, 2, (6, 1)), (6, n_periods)).astype(np.float32)
    demand[1, generator.random(n_periods) < 0.8] = 0
    demand[2, :50] = NAN
    stock = (generator.random((6, n_periods)) < 0.1) * 0.5
    return make_panel(demand, period=period, stocked_out_ST=stock)


@EACH
@pytest.mark.parametrize("period", ["hour", "day", "week"])
def test_forecasts_are_sound(name, period):
    panel = busy_panel(period)
    forecasts = baselines(n_scenarios=16)[name](panel, 30)
    assert forecasts.mean_SH.shape == (6, 30)
    assert np.isfinite(forecasts.mean_SH).all()
    assert forecasts.quantiles_SHQ.min() >= 0
    assert (np.diff(forecasts.quantiles_SHQ, axis=2) >= 0).all()
    assert (np.sort(forecasts.ranks_SHK, axis=2) == np.arange(16)).all()
    assert forecasts.origin == panel.origin


@EACH
def test_the_future_is_not_seen(name):
    assert_blind_to_future(baselines(n_scenarios=8)[name], busy_panel(), 120, 28)


@EACH
def test_a_cheat_is_caught(name):
    forecaster = baselines(n_scenarios=8)[name]

    def cheat(panel, horizon):
        whole = panel.demand_ST.base  # reach through the cut array to the one that it is a view of
        return forecaster(replace(panel, demand_ST=whole[:, 7 : panel.n_periods + 7]), horizon)

    with pytest.raises(AssertionError, match="saw the future"):
        assert_blind_to_future(cheat, busy_panel(), 120, 7)


@EACH
@pytest.mark.parametrize("n_periods", [1, 2, 5])
def test_short_histories_are_forecast(name, n_periods):
    panel = make_panel(np.arange(1, n_periods + 1)[None, :] * np.ones((2, 1)))
    forecasts = baselines(n_scenarios=4)[name](panel, 10)
    assert np.isfinite(forecasts.quantiles_SHQ).all()
    assert (forecasts.mean_SH > 0).all()


@EACH
def test_nothing_observed_or_nothing_sold_is_zero(name):
    panel = make_panel(np.array([[NAN] * 60, [0.0] * 60]))
    forecasts = baselines(n_scenarios=4)[name](panel, 9)
    assert forecasts.mean_SH.max() == 0
    assert forecasts.quantiles_SHQ.max() == 0


@EACH
def test_the_seed_decides_the_ranks(name):
    panel = busy_panel()
    one, same, other = (baselines(n_scenarios=32, seed=seed)[name](panel, 7).ranks_SHK for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_seasonal_naive_repeats_the_last_week():
    history = np.arange(28.0) + 10 * (np.arange(28) % 7 == 3)
    history[24] = NAN  # a gap is filled from the week before
    forecasts = SeasonalNaive(n_scenarios=4)(make_panel(history[None, :]), 10)
    expected = [21, 22, 23, 17 + 10, 25, 26, 27, 21, 22, 23]
    np.testing.assert_allclose(forecasts.mean_SH[0], expected)
    # Every change over one week is 7, over two weeks 14: the quantiles say so.
    np.testing.assert_allclose(forecasts.quantiles_SHQ[0, 0], 28)
    np.testing.assert_allclose(forecasts.quantiles_SHQ[0, 7], 21 + 14)


def test_seasonal_naive_of_weeks_looks_back_a_year():
    history = np.arange(110.0)
    year = SeasonalNaive(n_scenarios=2)(make_panel(history[None, :], period="week"), 3)
    assert year.mean_SH[0].tolist() == [58, 59, 60]
    short = SeasonalNaive(n_scenarios=2)(make_panel(history[None, :40], period="week"), 3)
    assert short.mean_SH[0].tolist() == [39, 39, 39]


def test_moving_average_is_the_mean_of_eight_weekdays():
    panel = busy_panel()
    forecasts = MovingAverage(n_scenarios=4)(panel, 10)
    history = in_stock(panel, 56)
    for s in range(6):
        for h in range(10):
            same = [history[s, t] for t in range(56) if t % 7 == h % 7 and not np.isnan(history[s, t])]
            assert forecasts.mean_SH[s, h] == pytest.approx(np.mean(same), rel=1e-5)


def test_croston_equals_a_plain_loop():
    panel = busy_panel(n_periods=90)
    forecaster = Croston(n_scenarios=4, n_history=90)
    forecasts = forecaster(panel, 3)
    history = in_stock(panel, 90)
    for s in range(6):
        seen = history[s][~np.isnan(history[s])]
        sizes = seen[seen > 0]
        chance, size = len(sizes) / len(seen), sizes.mean()
        for demand in seen:
            chance += 0.05 * ((demand > 0) - chance)
            if demand > 0:
                size += 0.1 * (demand - size)
        np.testing.assert_allclose(forecasts.mean_SH[s], chance * size, rtol=1e-4)
        mixture = np.concatenate(
            [np.zeros(round(9_000 * (1 - chance))), np.repeat(sizes, 9_000 * chance / len(sizes))]
        )
        expected = np.quantile(mixture, 0.9) * size / sizes.mean()
        assert forecasts.quantiles_SHQ[s, 0, LEVELS.index(0.9)] == pytest.approx(expected, abs=1.01)


def test_croston_lets_dead_items_fade():
    history = np.zeros((1, 200))
    history[0, :60:3] = 5.0
    assert Croston(n_scenarios=2)(make_panel(history), 1).mean_SH[0, 0] < 0.01


def test_stocked_out_sales_do_not_lower_the_forecast():
    history = np.full((1, 70), 10.0)
    history[0, 40:] = 2.0
    stock = np.zeros((1, 70))
    stock[0, 40:] = 0.8
    panel = make_panel(history, stocked_out_ST=stock)
    for name, forecaster in baselines(n_scenarios=2).items():
        assert forecaster(panel, 7).mean_SH[0] == pytest.approx([10.0] * 7), name
    never = replace(panel, stocked_out_ST=np.ones((1, 70), np.float32))
    assert MovingAverage(n_scenarios=2)(never, 1).quantiles_SHQ[0, 0, MEDIAN] > 0


def test_row_quantiles_equal_numpys_hazen():
    values = np.random.default_rng(0).normal(size=(7, 40)).astype(np.float32)
    values[np.random.default_rng(1).random(values.shape) < 0.3] = NAN
    values[3, 1:] = NAN
    values[4] = NAN
    found = row_quantiles(values, np.asarray(LEVELS))
    for row in (0, 1, 2, 3, 5, 6):
        present = values[row][~np.isnan(values[row])]
        np.testing.assert_allclose(
            found[row], np.quantile(present, LEVELS, method="hazen"), rtol=1e-4, atol=1e-5
        )
    assert np.isnan(found[4]).all()


def test_ranks_are_independent_permutations():
    ranks = independent_ranks(200, 5, 20, seed=3)
    assert ranks.dtype == np.uint8
    flat = ranks.reshape(-1, 20).astype(float)
    assert abs(np.corrcoef(flat[:-1].ravel(), flat[1:].ravel())[0, 1]) < 0.03


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SeasonalNaive(n_errors=0), "n_errors: expected at least 1"),
        (lambda: MovingAverage(n_scenarios=300), "n_scenarios: expected at least 1"),
        (lambda: Croston(chance_rate=0.0), r"chance_rate: expected a number in \(0, 1\], found 0.0"),
    ],
)
def test_wrong_settings_are_said(make, message):
    with pytest.raises(UsageError, match=message):
        make()
