"""The comparison's own parts, without the libraries compared: tasks, features, saving, scoring, the table."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from panels import make_panel, random_forecasts
from poison import poisoned

from forecast.demand.panel import Panel
from forecast.errors import NotFoundError, UsageError
from forecast.evaluation.m5 import M5Scorer
from forecast.evaluation.m5_hierarchy import aggregate
from forecast.quantiles import LEVELS
from tests.bench.peers import registry
from tests.bench.peers.__main__ import main
from tests.bench.peers.common import Marginals, finish, residual_places
from tests.bench.peers.features import FeatureBuilder
from tests.bench.peers.registry import check_installed, parse_names
from tests.bench.peers.resampling import Draws, centred_interval, draw, resampled_scores
from tests.bench.peers.residuals import ResidualQuantiles
from tests.bench.peers.runner import Result, run
from tests.bench.peers.scoring import TaskScorer, differences
from tests.bench.peers.table import as_json, print_results
from tests.bench.peers.task import Task, as_known, whole_items
from training.bench.exogenous import future_columns

HORIZON = 14
ROOT = Path(__file__).parents[3]


def market(n_days: int = 480, seed: int = 0) -> Panel:
    """Four items in two departments, three stores in two states, weekly rhythm, a late launch, an event."""
    random = np.random.default_rng(seed)
    items, stores = ["F_1_001", "F_1_002", "H_1_001", "H_1_002"], ["CA_1", "CA_2", "TX_1"]
    pairs = [(item, store) for store in stores for item in items]
    rate = random.uniform(1, 6, (12, 1)) * (1 + 0.5 * (np.arange(n_days) % 7 > 4))
    demand = random.poisson(rate).astype(np.float32)
    demand[2, :100] = np.nan
    return make_panel(
        demand,
        price_SP=np.round(random.uniform(1, 9, (12, n_days + 28)), 2),
        items=[item for item, _ in pairs],
        locations=[store for _, store in pairs],
        statics={
            "dept": [item[:3] for item, _ in pairs],
            "cat": [item[0] for item, _ in pairs],
            "store": [store for _, store in pairs],
            "state": [store[:2] for _, store in pairs],
        },
        events={"fair/day": [80, 444, n_days - 5]},
    )


def task_at(n_observed: int, panel: Panel | None = None) -> Task:
    whole = panel or market()
    return Task(
        dataset="m5",
        cutoff=str(n_observed),
        panel=as_known(whole, n_observed, HORIZON),
        horizon=HORIZON,
        truth_SH=np.nan_to_num(whole.demand_ST[:, n_observed : n_observed + HORIZON]),
    )


@dataclass
class Fake:
    """Random forecasts; counts how often it is asked."""

    seed: int = 0
    asked: int = 0

    def identity(self, task: Task) -> object:
        return self.seed

    def __call__(self, task: Task):
        self.asked += 1
        return random_forecasts(task.panel, task.horizon, seed=self.seed), {"steps": 3.0}


def test_a_task_holds_nothing_from_after_its_horizon():
    whole = market()
    panel = as_known(whole, 400, HORIZON)
    assert panel.n_periods == 400
    assert panel.known["price"].shape == (12, 400 + HORIZON)
    assert as_known(whole, 400, HORIZON, observed=True).known == {}


@pytest.mark.parametrize(("wanted", "found"), [(1, 3), (3, 3), (4, 6), (12, 12), (None, 12), (99, 12)])
def test_series_are_chosen_by_whole_items(wanted, found):
    panel = market()
    rows = whole_items(panel, wanted)
    assert len(rows) == found
    chosen = set(panel.keys.item[rows])
    assert np.isin(panel.keys.item, list(chosen)).sum() == found


def test_features_of_an_origin_see_nothing_after_it():
    whole = market()
    steps = {h: np.arange(12) for h in range(1, HORIZON + 1)}
    alone = FeatureBuilder(whole.until(430), HORIZON).rows(430, steps)
    for panel in (whole, poisoned(whole, 430)):
        later = FeatureBuilder(panel, HORIZON).rows(430, steps)
        np.testing.assert_array_equal(alone.values_NF, later.values_NF)
        np.testing.assert_array_equal(alone.level_N, later.level_N)


def test_features_are_named_and_see_what_is_known_ahead():
    whole = market()
    builder = FeatureBuilder(whole, HORIZON)
    names = builder.names()
    rows = builder.rows(470, {5: np.array([0, 7]), 6: np.array([7])})
    assert rows.values_NF.shape == (3, len(names))
    assert len(set(names)) == len(names)
    column = dict(zip(names, rows.values_NF.T, strict=True))
    np.testing.assert_array_equal(column["price"], whole.known["price"][[0, 7, 7], [474, 474, 475]])
    np.testing.assert_array_equal(column["event"], [-1, -1, 0])  # the fair is on day 475
    np.testing.assert_array_equal(column["until event"][:2], [1, 1])
    np.testing.assert_array_equal(column["step"], [5, 5, 6])
    same_weekday = whole.demand_ST[[0, 7], 474 - 7] / rows.level_N[:2]
    np.testing.assert_allclose(column["week -1"][:2], same_weekday, rtol=1e-6)


def test_columns_known_ahead_do_not_depend_on_what_happens():
    whole = market()
    cut = 450
    columns = future_columns(as_known(whole, cut, HORIZON), 100, HORIZON)
    other = future_columns(as_known(poisoned(whole, cut - 60), cut, HORIZON), 100, HORIZON)
    assert {"price over its past", "year ago", "other event"} <= set(columns)
    for name, values in columns.items():
        assert values.shape[1] == cut + HORIZON - 100
        np.testing.assert_array_equal(values, other[name], err_msg=name)
        assert np.isfinite(values).all()


def test_residual_quantiles_find_a_known_distribution():
    random = np.random.default_rng(0)
    mean_VSH = random.uniform(2, 20, (4, 300, 28)).astype(np.float32)
    truth_VSH = (mean_VSH * random.gamma(4, 0.25, mean_VSH.shape)).astype(np.float32)
    truth_VSH[0, :10] = np.nan
    table = ResidualQuantiles.fit(mean_VSH, truth_VSH, np.ones((4, 300), np.float32))
    found = table(mean_VSH[0], np.ones(300, np.float32)) / mean_VSH[0][:, :, None]
    wanted = np.quantile(random.gamma(4, 0.25, 400_000), LEVELS)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), wanted, rtol=0.06)


def test_quantiles_end_sorted_whole_and_coupled():
    panel = market().until(470)
    places = np.repeat(np.linspace(0.05, 0.95, 10, dtype=np.float32)[:, None, None], 12, 1)
    forecasts = finish(
        panel,
        Marginals(
            mean_SH=np.full((12, HORIZON), 2.4, np.float32),
            quantiles_SHQ=np.linspace(9.3, -1, 17, dtype=np.float32) * np.ones((12, HORIZON, 1), np.float32),
            places_NSH=np.repeat(places, HORIZON, 2),
        ),
    )
    assert forecasts.quantiles_SHQ.min() == 0
    assert (np.diff(forecasts.quantiles_SHQ, axis=2) >= 0).all()
    assert (forecasts.quantiles_SHQ == np.round(forecasts.quantiles_SHQ)).all()
    ranks = forecasts.ranks_SHK.reshape(-1, forecasts.n_scenarios).astype(float)
    assert np.corrcoef(ranks).min() > 0.8  # all series rose and fell together at the past origins


def test_blocks_of_residuals_keep_days_together():
    random = np.random.default_rng(0)
    common = random.normal(size=200)
    residual_SW = (common + 0.01 * random.normal(size=(3, 200))).astype(np.float32)
    residual_SW[2, :150] = np.nan
    places_NSH = residual_places(residual_SW, HORIZON, 20)
    assert places_NSH.shape == (20, 3, HORIZON)
    assert ((places_NSH > 0) & (places_NSH < 1)).all()
    assert np.corrcoef(places_NSH[:, 0].ravel(), places_NSH[:, 1].ravel())[0, 1] > 0.99


def test_saved_forecasts_are_used_again_until_something_changes(tmp_path):
    contender = Fake()
    first = run([task_at(420)], {"fake": contender}, tmp_path)
    again = run([task_at(420)], {"fake": contender}, tmp_path)
    assert contender.asked == 1
    assert ([one.reused for one in first], [one.reused for one in again]) == ([False], [True])
    assert first[0].scored.values == again[0].scored.values
    assert (again[0].facts, again[0].seconds) == ({"steps": 3.0}, first[0].seconds)

    contender.seed = 1  # a setting
    assert run([task_at(420)], {"fake": contender}, tmp_path)[0].reused is False
    changed = market()
    changed.demand_ST[0, 300] += 1.0
    assert run([task_at(420, changed)], {"fake": contender}, tmp_path)[0].reused is False
    changed.known["price"][0, 425] += 1.0
    assert run([task_at(420, changed)], {"fake": contender}, tmp_path)[0].reused is False
    changed.demand_ST[0, 420:] += 1.0  # the future is none of a forecast's business
    assert run([task_at(420, changed)], {"fake": contender}, tmp_path)[0].reused is True


def test_a_resample_that_draws_everything_once_gives_the_score_itself():
    task = task_at(420)
    forecasts = random_forecasts(task.panel, HORIZON)
    scorer = M5Scorer.at(task.panel)
    levels = aggregate(forecasts, scorer.hierarchy)
    scores = scorer.score(task.truth_SH, levels)
    once = Draws(item_RI=np.ones((1, 4)), day_RH=np.ones((1, HORIZON)))
    found = resampled_scores(scorer, forecasts, levels, task.truth_SH, once)
    np.testing.assert_allclose(found, [[scores.wrmsse, scores.wspl]], rtol=1e-4)


def test_draws_keep_departments_and_whole_weeks():
    draws = draw(np.array(["a", "a", "a", "b"]), 28, n_resamples=50)
    assert (draws.item_RI[:, :3].sum(axis=1) == 3).all()
    assert (draws.item_RI[:, 3] == 1).all()
    weeks = draws.day_RH.reshape(50, 4, 7)
    assert (weeks == weeks[:, :, :1]).all()
    np.testing.assert_allclose(draws.day_RH.sum(axis=1), 28)


def test_intervals_lie_around_their_estimate():
    interval = centred_interval(-0.2, np.random.default_rng(0).normal(5.0, 0.01, 1_000))
    assert -0.23 < interval.low < -0.2 < interval.high < -0.17


def better(task: Task):
    """Forecasts near the truth."""
    forecasts = random_forecasts(task.panel, HORIZON)
    mean = task.truth_SH + 0.1
    return replace(forecasts, mean_SH=mean, quantiles_SHQ=np.repeat(mean[:, :, None], 17, 2))


def test_differences_are_paired_and_know_who_is_better():
    tasks = [task_at(392), task_at(420)]
    good, bad = (
        [TaskScorer(task)(make(task)) for task in tasks]
        for make in (better, lambda task: random_forecasts(task.panel, HORIZON))
    )
    for interval in differences(good, bad).values():
        assert interval.low <= interval.estimate <= interval.high < 0
    for interval in differences(good, good).values():
        assert (interval.low, interval.estimate, interval.high) == (0, 0, 0)


def results() -> Sequence[Result]:
    found = []
    for task in (task_at(392), task_at(420)):
        for name, forecasts in (
            ("surgecast", better(task)),
            ("naive", random_forecasts(task.panel, HORIZON)),
        ):
            scored = TaskScorer(task)(forecasts)
            found.append(
                Result(name=name, cutoff=task.cutoff, scored=scored, seconds=1.5, facts={}, reused=False)
            )
    return found


def test_the_table_has_every_cutoff_the_means_and_the_differences(capsys):
    print_results(results())
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines() if line.strip()]
    assert lines[0] == ["cutoff", "forecaster", "WRMSSE", "WSPL", "WQL", "WAPE", "bias", "s"]
    starts = {tuple(line[:2]) for line in lines}
    for cutoff in ("392", "420", "mean"):
        assert {(cutoff, "surgecast"), (cutoff, "naive")} <= starts
    difference = next(line for line in lines if line[0] == "naive" and line[1].startswith("-"))
    assert difference.count("*") == 3


def test_json_holds_scores_means_and_intervals():
    found = results()
    flat = as_json(found)
    json.dumps(flat)
    mean = np.mean([flat[f"naive/{cutoff}/wspl"] for cutoff in (392, 420)])
    assert flat["naive/mean/wspl"] == pytest.approx(mean)
    estimate = flat["surgecast/mean/wspl"] - mean
    assert flat["surgecast minus naive/wspl"] == pytest.approx(estimate)
    assert flat["surgecast minus naive/wspl/low"] < estimate < flat["surgecast minus naive/wspl/high"]


def test_names_are_checked_and_missing_libraries_named(monkeypatch):
    assert parse_names("tft, lightgbm,tft") == ["tft", "lightgbm"]
    assert parse_names("none") == []
    with pytest.raises(UsageError, match="found prophet"):
        parse_names("lightgbm,prophet")
    monkeypatch.setattr(registry, "find_spec", lambda _name: None)
    with pytest.raises(NotFoundError, match=r"expected statsforecast.*pip install"):
        check_installed("autoets")


@pytest.mark.parametrize(
    ("flags", "status", "words"),
    [
        (["--peers", "prophet"], 2, "found prophet"),
        (["--peers", "none", "--ours", "none"], 2, "expected somebody to compare"),
        (["--peers", "none", "--series", "many"], 2, "found 'many'"),
        (["--peers", "none", "--ours", "train", "--ours", "x"], 2, "train or none alone"),
        (["--peers", "none"], 1, "expected sales.parquet in it"),
    ],
)
def test_wrong_command_lines_end_in_one_line(tmp_path, monkeypatch, capsys, flags, status, words):
    monkeypatch.setattr(sys, "argv", ["peers", "m5", "--data", str(tmp_path), *flags])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == status
    shown = capsys.readouterr().err
    assert words in shown
    assert (shown.startswith("error: "), shown.count("\n")) == (True, 1)


def test_the_comparison_is_one_command(tmp_path):
    line = [sys.executable, "-m", "tests.bench.peers", "m5", "--data", str(tmp_path), "--series", "0"]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (
        2,
        "error: series: expected all or a number from 1 on, found '0'\n",
    )
