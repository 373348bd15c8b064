"""Rolling origins, what is scored apart, and whether a difference is more than chance."""

from dataclasses import replace

import numpy as np
import pytest
from panels import make_panel, point_forecasts

from forecast.errors import InputError, UsageError
from forecast.evaluation.backtest import backtest, rolling_origins
from forecast.evaluation.backtest_table import headline, print_backtest
from forecast.evaluation.baselines import MovingAverage, SeasonalNaive
from forecast.evaluation.bootstrap import paired_difference
from forecast.evaluation.slices import SEGMENTS, event_windows, peak_threshold, peaks, segments, slices


def constant(value):
    """A forecaster that always says the same."""
    return lambda panel, horizon: point_forecasts(panel, np.full((panel.n_series, horizon), float(value)))


def weekly_panel(n_series=12, n_periods=120, seed=0):
    generator = np.random.default_rng(seed)
    rate = 5 + 4 * (np.arange(n_periods) % 7 >= 5)
    return make_panel(
        generator.poisson(rate, (n_series, n_periods)), events={"sale/day": [100], "sale/pre": [98, 99]}
    )


def test_origins_end_with_the_last_full_horizon():
    panel = weekly_panel(n_periods=100)
    assert rolling_origins(panel, 14, 3, 7) == (72, 79, 86)
    assert rolling_origins(panel, 10, 1, 7) == (90,)
    with pytest.raises(InputError, match="history: expected at least 196 periods, found 100"):
        rolling_origins(panel, 28, 6, 28)
    with pytest.raises(UsageError, match="stride: expected at least 1, found 0"):
        rolling_origins(panel, 7, 2, 0)


def test_each_forecaster_sees_only_what_was_known():
    panel = weekly_panel()
    seen = []

    def spy(known, horizon):
        seen.append((known.n_periods, known.origin))
        return constant(1)(known, horizon)

    report = backtest(panel, {"spy": spy}, [100, 86], 14)
    assert seen == [(86, panel.time(85)), (100, panel.time(99))]
    assert report.origins.tolist() == [panel.time(85).item(), panel.time(99).item()]


def test_scores_are_those_of_the_periods_after_each_origin():
    panel = weekly_panel()
    stock = np.zeros((12, 120))
    stock[0, 110] = 1.0
    panel = replace(panel, stocked_out_ST=stock.astype(np.float32))
    report = backtest(panel, {"seven": constant(7), "six": constant(6)}, [92, 106], 14)
    truth = np.concatenate([panel.demand_ST[:, 92:106], panel.demand_ST[:, 106:120]]).astype(float)
    truth[12, 4] = np.nan
    table = report.table()
    row = table.filter((table["slice"] == "all") & (table["forecaster"] == "seven")).row(0, named=True)
    assert row["n"] == 12 * 28 - 1
    assert row["wape"] == pytest.approx(np.nansum(np.abs(truth - 7)) / np.nansum(truth))
    assert row["bias"] == pytest.approx(np.nansum(7 - truth) / np.nansum(truth))
    step = report.by_step()
    fifth = step.filter((step["step"] == 5) & (step["forecaster"] == "six")).row(0, named=True)
    assert fifth["n"] == 23
    assert fifth["wape"] == pytest.approx(np.nansum(np.abs(truth[:, 4] - 6)) / np.nansum(truth[:, 4]))
    assert headline(report)["wape/seven"] == pytest.approx(row["wape"])


def test_periods_beyond_the_panel_are_not_scored():
    panel = weekly_panel()
    report = backtest(panel, {"six": constant(6)}, [115], 14)
    assert report.table()["n"][0] == 12 * 5


def test_the_table_names_slices_and_forecasters(capsys):
    panel = weekly_panel()
    both = {"seasonal naive": SeasonalNaive(n_scenarios=2), "moving average": MovingAverage(n_scenarios=2)}
    done = []
    print_backtest(backtest(panel, both, rolling_origins(panel, 14, 2, 14), 14, advance=done.append))
    printed = capsys.readouterr().out
    assert sum(done) == 4
    for word in (
        "12 series, 2 origins",
        "fast",
        "event sale",
        "seasonal naive",
        "moving average",
        "WQL",
        "95 %",
    ):
        assert word in printed


def test_a_real_difference_is_told_from_chance():
    panel = weekly_panel(n_series=60)
    report = backtest(panel, {"good": MovingAverage(n_scenarios=2), "poor": constant(2)}, [92, 106], 14)
    difference = report.difference("good", "poor")
    table = {
        row["forecaster"]: row["wql"] for row in report.table().iter_rows(named=True) if row["slice"] == "all"
    }
    assert difference.estimate == pytest.approx(table["good"] - table["poor"])
    assert difference.low < difference.estimate < difference.high < 0
    assert report.difference("good", "poor", where="event sale").high < 0
    same = report.difference("good", "good")
    assert same.low <= 0 <= same.high
    with pytest.raises(UsageError, match="forecaster: expected one of good, poor, found best"):
        report.difference("best", "poor")
    with pytest.raises(UsageError, match=r"slice: expected one of all, fast.* found monday"):
        report.difference("good", "poor", where="monday")


def test_bootstrap_interval_covers_as_often_as_it_says():
    generator = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        weight = generator.gamma(2, 2, 80)
        noise = generator.normal(0, 1, 80) * weight
        interval = paired_difference(noise, np.zeros(80), weight, n_resamples=200, seed=trial)
        hits += interval.low <= 0 <= interval.high
    assert 86 <= hits <= 100
    with pytest.raises(InputError, match="some demand"):
        paired_difference(np.ones(3), np.ones(3), np.zeros(3))


def test_nothing_to_backtest_is_said():
    with pytest.raises(UsageError, match="at least one forecaster and one origin"):
        backtest(weekly_panel(), {}, [100], 7)


def test_segments_by_interval_and_size():
    generator = np.random.default_rng(1)
    days = np.arange(400)
    rows = [
        generator.poisson(9, 400) + 1,
        np.where(days % 4 == 0, 2, 0),
        np.where(days % 4 == 0, np.where(days % 8 == 0, 1, 30), 0),
        np.where(days == 20, 1, 0),  # hardly ever
    ]
    panel = make_panel(np.array(rows))
    assert [SEGMENTS[i] for i in segments(panel)] == ["fast", "slow", "intermittent", "intermittent"]


def test_peaks_exceed_three_times_the_eight_week_median():
    history = np.full((3, 100), 4.0)
    history[0, :44] = 100.0  # older than eight weeks
    history[1] = 0.0
    history[2, 95] = 50.0  # a peak shortly before the origin
    panel = make_panel(history)
    np.testing.assert_array_equal(peak_threshold(panel), [12.0, np.inf, 12.0])
    truth = np.full((3, 20), 4.0, np.float32)
    truth[0, 2], truth[0, 3], truth[1, 5] = 13.0, 12.0, 99.0
    peak, after = peaks(truth, panel)
    assert np.argwhere(peak).tolist() == [[0, 2]]
    assert np.flatnonzero(after[0]).tolist() == list(range(3, 17))
    assert not after[1].any()
    assert np.flatnonzero(after[2]).tolist() == list(range(10))  # 95 + 14 is the tenth day after the origin


def test_event_windows_are_read_off_the_grid():
    panel = make_panel(
        np.ones((2, 50)), events={"double-11/day": [55, 56], "double-11/pre": [52], "easter/day": [44]}
    )
    masks = event_windows(panel, 20)
    days = {name: (np.flatnonzero(mask[0]) + 50).tolist() for name, mask in masks.items()}
    assert days == {
        "event day": [55, 56],
        "before event": [50, 51, 52, 53, 54],
        "after event": [50, 51, *range(57, 64)],
        "event double-11": [52, 55, 56],
    }


def test_slices_of_a_panel_without_events_are_masks():
    panel = make_panel(np.ones((2, 50)))
    found = slices(np.ones((2, 7), np.float32), panel)
    assert set(found) == {*SEGMENTS, "peak", "after peak", "normal"}
    assert all(mask.shape == (2, 7) for mask in found.values())
    assert found["normal"].all()
