"""Origins before events, and the windows that are scored around them."""

import numpy as np
import pytest
from panels import make_panel, point_forecasts

from forecast.errors import InputError, UsageError
from forecast.evaluation.backtest import backtest
from forecast.evaluation.comparison import compare
from forecast.evaluation.event_origins import event_origins
from forecast.evaluation.slices import (
    broad_peak_threshold,
    is_named_window,
    named_windows,
    occurrences,
    slices_with_events,
)

EVENTS = {"sale/day": [10, 60, 61, 100, 150], "sale/pre-sale": [58, 59], "fair/day": [30]}


def event_panel(n_periods=140, n_series=3, events=EVENTS, period="day"):
    rows = np.random.default_rng(0).poisson(5, (n_series, n_periods))
    return make_panel(rows, events=events, period=period)


def test_origins_lie_before_each_event_with_past_enough():
    panel = event_panel()
    assert occurrences(panel, "sale") == ((10, 10), (60, 61), (100, 100), (150, 150))
    # Day 10 has no horizon of history before it, day 150 is not observed yet.
    assert event_origins(panel, "sale", 28, 9, (14, 7)) == (47, 54, 87, 94)
    assert event_origins(panel, "sale", 28, 1, (14, 7)) == (87, 94)
    assert event_origins(panel, "sale", 28, 1, (1,)) == (100,)
    origin = event_origins(panel, "sale", 28, 1, (14,))[0]
    assert panel.until(origin).origin + np.timedelta64(14, "D") == panel.time(100)


def test_an_event_that_does_not_fit_the_horizon_is_left_out():
    panel = event_panel()
    assert event_origins(panel, "sale", 14, 9, (14,)) == (87,)  # days 60 and 61 end after the horizon
    assert event_origins(panel, "sale", 15, 9, (14,)) == (47, 87)


def test_weeks_count_as_weeks():
    panel = event_panel(events={"sale/day": [60]}, period="week")
    assert event_origins(panel, "sale", 8, 4, (14, 7)) == (59, 60)


def test_what_cannot_be_aligned_is_said():
    panel = event_panel()
    with pytest.raises(
        UsageError, match="event: expected one of fair, sale, found 'sales'; did you mean sale"
    ):
        event_origins(panel, "sales", 28, 4)
    with pytest.raises(UsageError, match="lead: expected days within the horizon of 7 periods"):
        event_origins(panel, "sale", 7, 4)
    with pytest.raises(UsageError, match="lead: expected at least 1, found 0"):
        event_origins(panel, "sale", 28, 4, (0,))
    with pytest.raises(InputError, match="history: expected days of fair with 56 observed periods"):
        event_origins(panel, "fair", 42, 4)
    with pytest.raises(UsageError, match="expected one of none"):
        event_origins(event_panel(events={}), "sale", 28, 4)


def test_windows_are_the_day_the_week_before_and_two_weeks_after():
    panel = event_panel(events=EVENTS).until(54)
    masks = named_windows(panel, "sale", 28)
    days = {name: (np.flatnonzero(mask[0]) + 54).tolist() for name, mask in masks.items()}
    assert days == {
        "sale day": [60, 61],
        "week before sale": [54, 55, 56, 57, 58, 59],
        "two weeks after sale": list(range(62, 76)),
    }
    late = named_windows(event_panel().until(105), "sale", 14)
    assert (np.flatnonzero(late["two weeks after sale"][0]) + 105).tolist() == list(range(105, 115))
    assert all(is_named_window(name) for name in masks)
    assert not is_named_window("event day")
    assert not is_named_window("peak")


def test_series_that_the_event_does_not_touch_have_no_window():
    from dataclasses import replace

    panel = event_panel().until(54)
    grid = panel.events
    both = np.concatenate([grid.intensity_GLE, np.zeros_like(grid.intensity_GLE)])
    groups = np.array([0, 1, 0], np.int32)
    split = replace(panel, events=replace(grid, intensity_GLE=both, group_S=groups))
    day = named_windows(split, "sale", 28)["sale day"]
    assert day.any(axis=1).tolist() == [True, False, True]


def test_a_backtest_before_an_event_scores_its_windows_apart():
    panel = event_panel(n_series=30)
    raised = panel.demand_ST.copy()
    raised[:, [60, 61, 100]] *= 4
    panel = make_panel(raised, events=EVENTS)

    def knows(known, horizon):
        days = known.times(known.n_periods, horizon)
        on = np.isin(days, panel.start + np.array([60, 61, 100]) * np.timedelta64(86_400, "s"))
        return point_forecasts(known, np.tile(np.where(on, 20.0, 5.0), (known.n_series, 1)))

    def forgets(known, horizon):
        return point_forecasts(known, np.full((known.n_series, horizon), 5.0))

    origins = event_origins(panel, "sale", 28, 2)
    cut = slices_with_events(["sale"])
    report = backtest(panel, {"knows": knows, "forgets": forgets}, origins, 28, cut=cut)
    assert {"sale day", "week before sale", "two weeks after sale", "peak"} <= set(report.slices)
    day, before, after = compare(report, "knows", ["sale day", "week before sale", "two weeks after sale"])
    assert (day.verdict, before.verdict) == ("better", "even")
    assert day.share < -0.3
    assert day.over_time is None  # three days are too few to ask about other times
    assert before.share == after.share == 0.0
    assert after.over_time is not None
    assert compare(report, "forgets", ["sale day"])[0].verdict == "worse"


def test_the_days_decide_too_whether_better_is_better():
    generator = np.random.default_rng(3)
    common = np.tile(generator.choice([4.0, 8.0], 120), (40, 1))  # all series move together
    panel = make_panel(common)

    def says(value):
        return lambda known, horizon: point_forecasts(known, np.full((known.n_series, horizon), value))

    report = backtest(panel, {"low": says(5.0), "high": says(7.0)}, [64, 92], 28)
    (found,) = compare(report, "low", ["all"])
    assert found.by_series.low == pytest.approx(found.by_series.high)  # other series would say the same
    assert found.over_time is not None
    assert found.over_time.interval.low < 0 < found.over_time.interval.high
    assert found.verdict == "even"
    facts = found.facts()
    assert facts["verdict"] == "even"
    assert facts["over_time"]["periods"] == 56


def test_broad_peaks_have_a_base_where_the_median_is_zero():
    history = np.zeros((4, 60))
    history[0, -56:] = 2.0
    history[1, -1] = 28.0  # mean 0.5, below the floor of one unit
    history[2, -14:] = 8.0  # mean 2
    history[3] = np.nan
    np.testing.assert_allclose(broad_peak_threshold(make_panel(history)), [6.0, 3.0, 6.0, np.inf])
