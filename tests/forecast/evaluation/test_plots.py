"""Pictures are drawn, of the series that the rule picks."""

import io

import numpy as np
import pytest
from panels import make_panel

from forecast.evaluation.backtest import backtest
from forecast.evaluation.baselines import baselines
from forecast.evaluation.metrics import scored
from forecast.evaluation.plots import (
    example_series,
    plot_backtest,
    plot_calibration,
    plot_error_by_step,
    plot_explanation,
    plot_fans,
    plot_loss,
)
from forecast.model.explanation import Explanation


@pytest.fixture(scope="module")
def panel():
    generator = np.random.default_rng(2)
    demand = generator.poisson(6, (9, 120)).astype(np.float32)
    demand[:4, np.arange(120) % 5 > 0] = 0
    demand[7, 110] = 90
    return make_panel(demand, events={"double-11/day": [110], "double-11/pre": [107, 108, 109]})


@pytest.fixture(scope="module")
def report(panel):
    return backtest(panel, baselines(n_scenarios=4), [92, 106], 14)


def drawn(figure):
    """The figure as PNG bytes; drawing raises what is wrong with it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def test_examples_are_picked_by_rule(panel):
    chosen = example_series(scored(panel, 106, 14), panel.until(106))
    assert list(chosen) == ["typical", "intermittent", "surging"]
    assert chosen["surging"] == 7
    assert chosen["intermittent"] < 4 <= chosen["typical"]
    nothing = make_panel(np.zeros((2, 30)))
    assert example_series(np.zeros((2, 3), np.float32), nothing) == {}


def test_fans_show_each_series_and_its_events(panel, report):
    rows = {"surging": 7, "intermittent": 0}
    figure = plot_fans(panel.until(106), scored(panel, 106, 14), report.forecasts["croston"], rows)
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "surging: item7 at store, in-store",
        "intermittent: item0 at store, in-store",
    ]
    assert [text.get_text() for text in figure.axes[0].texts] == ["double-11"]
    assert drawn(figure).startswith(b"\x89PNG")


def test_the_backtest_is_drawn(report):
    for figure in (
        plot_calibration({name: one.pit for name, one in report.statistics.items()}),
        plot_error_by_step(report),
    ):
        assert len(drawn(figure)) > 10_000
    bars = plot_backtest(report)
    assert [label.get_text() for label in bars.axes[0].get_xticklabels()] == [
        "all",
        "fast",
        "slow",
        "peak",
        "after peak",
    ]
    assert len(drawn(bars)) > 10_000


def test_the_loss_is_drawn_with_the_best_validation():
    nan = float("nan")
    figure = plot_loss([10, 20, 30], [3.0, 2.0, 1.5], {"WQL": [nan, 0.5, 0.6]})
    assert [text.get_text() for text in figure.axes[1].texts] == ["best 0.5"]
    assert len(drawn(figure)) > 5_000


def test_an_explanation_shows_the_parts_that_are_there(panel):
    names = ("base level", "weekday", "season", "price", "event", "stock-out")
    parts = np.random.default_rng(0).normal(size=(9, 14, 6))
    parts[:, :, 0] = 20
    parts[:, :, 5] = 0
    past = panel.until(106)
    found = Explanation(period="day", origin=past.origin, keys=past.keys, names=names, parts_SHP=parts)
    figure = plot_explanation(past, found, 7)
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:3] == ["history", "base level", "forecast (mean)"]
    assert set(labels[3:]) == {"forecast − base level", *names[1:5]}
    tops = {bars.get_label(): [bar.get_height() for bar in bars] for bars in figure.axes[1].containers}
    np.testing.assert_allclose(tops["event"], parts[7, :, 4])
    assert drawn(figure).startswith(b"\x89PNG")
