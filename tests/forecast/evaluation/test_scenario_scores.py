"""Calibration of sums at the levels of a panel, and how peaks are called."""

import numpy as np
import pytest
from panels import make_panel, random_forecasts

from forecast.demand.panel import SeriesKeys
from forecast.evaluation.backtest import backtest
from forecast.evaluation.backtest_table import print_calibration, print_comparisons
from forecast.evaluation.baselines import MovingAverage, SeasonalNaive
from forecast.evaluation.comparison import compare
from forecast.evaluation.metrics import pit_bounds
from forecast.evaluation.plots import plot_level_calibration
from forecast.evaluation.scenario_scores import levels_of, peak_outlook, scenario_scores
from forecast.forecasts import Forecasts, scenario_quantiles
from forecast.quantiles import LEVELS


def shop_panel(n_items=8, n_stores=3, n_periods=40):
    items = [f"i{i}" for i in range(n_items) for _ in range(n_stores)]
    stores = [f"s{j}" for _ in range(n_items) for j in range(n_stores)]
    statics = {
        "cat": [f"c{i % 2}" for i in range(n_items) for _ in range(n_stores)],
        "dept": [f"d{i % 4}" for i in range(n_items) for _ in range(n_stores)],
        "city": [f"t{j // 2}" for _ in range(n_items) for j in range(n_stores)],
        "sku": items,
    }
    demand = np.random.default_rng(0).poisson(4, (n_items * n_stores, n_periods))
    return make_panel(demand, items=items, locations=stores, statics=statics)


def test_levels_are_total_location_category_and_series():
    levels = levels_of(shop_panel())
    assert {name: int(node.max()) + 1 for name, node in levels.items()} == {
        "total": 1,
        "location": 3,
        "dept x location": 12,  # the finest that still joins two series; the city says nothing new
        "series": 24,
    }
    assert list(levels_of(make_panel(np.ones((2, 9))))) == ["total", "series"]


def test_pits_of_sums_are_those_of_the_summed_scenarios():
    panel = shop_panel().until(30)
    forecasts = random_forecasts(panel, 7)
    truth = np.random.default_rng(1).poisson(40, (24, 7)).astype(np.float32)
    truth[5, 2] = np.nan  # left out of both sides
    truth[:, 6] = np.nan
    levels = levels_of(panel)
    found = scenario_scores(truth, forecasts, levels, np.full(24, np.inf))
    values = np.where(np.isnan(truth)[:, :, None], 0, forecasts.scenarios(np.arange(24)))
    for name in ("total", "location", "dept x location"):
        nodes = range(levels[name].max() + 1)
        sums = np.stack([values[levels[name] == node].sum(axis=0) for node in nodes])
        totals = np.stack([np.nansum(truth[levels[name] == node], axis=0) for node in nodes]).astype(float)
        totals[:, 6] = np.nan
        for bound, plain in zip(found.pits[name], pit_bounds(totals, scenario_quantiles(sums)), strict=True):
            np.testing.assert_allclose(bound, plain, atol=1e-5)
    assert np.isnan(found.pits["total"][0][0, 6])


def calibrated(n_series=400, horizon=14, seed=0):
    """Truth drawn from the very distribution that is forecast: lognormal, of a different size each."""
    generator = np.random.default_rng(seed)
    median = generator.gamma(4, 2, (n_series, 1)) * np.ones((1, horizon))
    draws = np.exp(generator.normal(0, 0.8, 20_000))
    quantiles = median[:, :, None] * np.quantile(draws, LEVELS)
    ranks = np.argsort(generator.random((n_series, horizon, 100)), axis=2).astype(np.uint8)
    panel = make_panel(np.tile(median[:, :1], (1, 60)))
    forecasts = Forecasts(
        period="day",
        origin=panel.origin,
        keys=SeriesKeys(item=panel.keys.item, location=panel.keys.location, platform=panel.keys.platform),
        mean_SH=(median * draws.mean()).astype(np.float32),
        quantiles_SHQ=quantiles.astype(np.float32),
        ranks_SHK=ranks,
    )
    truth = (median * generator.choice(draws, (n_series, horizon))).astype(np.float32)
    return panel, forecasts, truth, 3 * median[:, 0]


def test_a_perfect_forecast_looks_low_on_peaks_and_calls_them_right():
    panel, forecasts, truth, threshold = calibrated()
    scores = scenario_scores(truth, forecasts, levels_of(panel), threshold)
    peak = truth > threshold[:, None]
    outlook = peak_outlook(scores, truth, peak)
    assert outlook.n == peak.sum()
    assert outlook.count_bias == pytest.approx(0, abs=0.1)
    assert outlook.units_bias == pytest.approx(0, abs=0.12)
    seen = forecasts.mean_SH[peak].sum() / truth[peak].sum() - 1
    assert seen < -0.5  # though nothing is wrong with it
    assert outlook.selection_bias == pytest.approx(seen, abs=0.05)
    halved = scenario_scores(truth * 2, forecasts, levels_of(panel), threshold)
    assert peak_outlook(halved, truth * 2, 2 * truth > threshold[:, None]).units_bias < -0.4


def test_no_peaks_at_all_are_nan_not_an_error():
    panel, forecasts, truth, _ = calibrated(n_series=5)
    scores = scenario_scores(truth, forecasts, levels_of(panel), np.full(5, np.inf))
    outlook = peak_outlook(scores, truth, np.zeros_like(truth, bool))
    assert (outlook.n, outlook.units) == (0, 0.0)
    assert np.isnan([outlook.count_bias, outlook.units_bias, outlook.selection_bias]).all()


def test_the_report_shows_calibration_by_level_and_verdicts(capsys):
    panel = shop_panel(n_periods=120)
    both = {"naive": SeasonalNaive(n_scenarios=20), "average": MovingAverage(n_scenarios=20)}
    report = backtest(panel, both, [92, 106], 14)
    table = report.calibration()
    assert table.columns == ["forecaster", "level", "n", "coverage_50", "coverage_80", "coverage_95"]
    assert table.filter(table["level"] == "total")["n"].to_list() == [28, 28]
    series = table.filter((table["level"] == "series") & (table["forecaster"] == "naive")).row(0, named=True)
    whole = report.table().filter(report.table()["slice"] == "all").row(0, named=True)
    assert series["coverage_80"] == pytest.approx(whole["coverage_80"], abs=1e-5)
    print_calibration(report, "average")
    print_comparisons(compare(report, "average"))
    printed = capsys.readouterr().out
    for word in ("dept x location", "95 %", "verdict", "better", "naive"):
        assert word in printed
    figure = plot_level_calibration(report.scenarios["average"].pits)
    assert [axes.get_title(loc="left").split("\n")[0] for axes in figure.axes] == [*levels_of(panel)]
