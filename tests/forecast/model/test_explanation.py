"""Explanations sum to the forecast, and each part says what a planner would expect of it."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import forecast.model.explanation
from forecast.demand.panel import Panel
from forecast.errors import InputError, UsageError
from forecast.model import ensemble
from forecast.model.bundle import Bundle
from forecast.model.calendar import calendar_features, cycle_columns
from forecast.model.config import ModelConfig
from forecast.model.ensemble import Ensemble
from forecast.model.explanation import _shapley, _week_mean, explain, part_names
from forecast.model.forecaster import Forecaster
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import PanelTensors
from forecast.model.windows import Windows, gather_windows
from tests.forecast.model.conftest import small_config, small_panel
from tests.support.panels import make_panel


def forecaster_of(network: Ensemble, panel: Panel, schema: FeatureSchema) -> Forecaster:
    config = network.config
    ranks = np.zeros((panel.n_series, config.horizon, config.scenarios), np.uint8)
    weights = network.state_dict()
    return Forecaster(
        Bundle(config=config, schema=schema, weights=weights, ranks_SHK=ranks, keys=panel.keys, facts={}),
        "cpu",
    )


def wild_forecaster(panel: Panel, config: ModelConfig, seed: int = 0) -> Forecaster:
    """Random weights, so that every input shows in the output."""
    torch.manual_seed(seed)
    schema = FeatureSchema.fit(panel, config.horizon)
    network = Ensemble(config, schema)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return forecaster_of(network, panel, schema)


def random_panel(seed: int) -> Panel:
    """Events before, over and after the origin, stock-outs, missing periods, prices known in parts."""
    generator = np.random.default_rng(seed)
    s, t = 5, int(generator.integers(20, 500))
    demand = generator.poisson(4.0, (s, t)).astype(np.float32)
    demand[generator.random((s, t)) < 0.1] = np.nan
    price = generator.uniform(1, 50, (s, 1)) * generator.uniform(0.7, 1.0, (s, t + 10))
    price[0, : t // 2] = np.nan
    price[1, :t] = np.nan
    days = [t - 12, t - 1, t, t + 4, t + 15]
    return make_panel(
        demand,
        stocked_out_ST=np.where(generator.random((s, t)) < 0.15, 0.6, 0.0),
        price_SP=price,
        events={"sale/day": [*range(3, t, 50), *days], "sale/after": [t - 11, t + 5]},
    )


def test_a_series_without_any_history_is_explained_too() -> None:
    panel = random_panel(0)
    demand = panel.demand_ST.copy()
    demand[2] = np.nan
    new = dataclasses.replace(panel, demand_ST=demand)
    forecaster = wild_forecaster(new, small_config("day"))
    found = explain(forecaster, new, [2], 10)
    np.testing.assert_allclose(found.mean_SH, forecaster(new, 10).mean_SH[[2]], rtol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_parts_sum_to_the_forecast(seed: int) -> None:
    panel = random_panel(seed)
    forecaster = wild_forecaster(panel, small_config("day"), seed)
    for horizon in (1, 5, 10):
        found = explain(forecaster, panel, [4, 0, 1], horizon)
        assert found.names == ("base level", "weekday", "season", "price", "event", "stock-out")
        assert found.parts_SHP.shape == (3, horizon, 6)
        mean_SH = forecaster(panel, horizon).mean_SH[[4, 0, 1]]
        np.testing.assert_allclose(found.mean_SH, mean_SH, rtol=1e-5)
        assert found.keys.item.tolist() == ["item4", "item0", "item1"]
        assert found.times[0] == panel.origin + np.timedelta64(1, "D")
        for name, part_SH in zip(found.names, found.parts_SHP.transpose(2, 0, 1), strict=True):
            told = name != "season" or forecaster.bundle.schema.seasonal
            assert (np.abs(part_SH).max() > 0) == told, name


def test_windows_that_end_together_are_explained_as_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow, plain way: an end for each window. It adds in another order: nothing is rounded to bf16."""
    monkeypatch.setattr(ensemble, "has_bf16", lambda _device: False)
    panel = random_panel(2)
    forecaster = wild_forecaster(panel, small_config("day"))
    ends: list[int] = []

    def each_alone(tensors: PanelTensors, row_B: Tensor, end_B: Tensor, *rest: Any) -> Windows:
        ends.append(len(end_B))
        return gather_windows(tensors, row_B, end_B.expand(len(row_B)), *rest)

    together = explain(forecaster, panel, [4, 0, 1], 10).parts_SHP
    monkeypatch.setattr(forecast.model.explanation, "gather_windows", each_alone)
    np.testing.assert_allclose(explain(forecaster, panel, [4, 0, 1], 10).parts_SHP, together, atol=1e-5)
    assert set(ends) == {1}


def test_hours_days_and_weeks_are_explained(panel: Panel, network: Ensemble) -> None:
    schema = FeatureSchema.fit(panel, network.config.horizon)
    forecaster = forecaster_of(network, panel, schema)
    found = explain(forecaster, panel, range(panel.n_series), network.config.horizon)
    mean_SH = forecaster(panel, network.config.horizon).mean_SH
    np.testing.assert_allclose(found.mean_SH, mean_SH, rtol=1e-5)
    weekday = found.parts_SHP[:, :, 1]
    assert found.names[1] == ("weekday and hour" if panel.period == "hour" else "weekday")
    assert (np.abs(weekday).max() > 0) == (panel.period != "week")


def test_what_is_not_there_has_no_part() -> None:
    demand = np.random.default_rng(0).poisson(4.0, (3, 80))
    panel = make_panel(demand)
    found = explain(wild_forecaster(panel, small_config("day")), panel, [0], 10)
    assert found.names == ("base level", "weekday", "season", "event", "stock-out")
    assert not found.parts_SHP[:, :, 3:].any()
    quiet = make_panel(demand, events={"sale/day": [5, 90 + 60]}, stocked_out_ST=np.zeros((3, 80)))
    found = explain(wild_forecaster(quiet, small_config("day")), quiet, [0], 10)
    assert not found.parts_SHP[:, :, 3:].any(), (
        "an event far away and stock that never ran out explain nothing"
    )


def test_a_price_as_usual_explains_nothing_and_another_one_does() -> None:
    generator = np.random.default_rng(0)
    demand = generator.poisson(4.0, (3, 80))
    price = np.tile([[2.0], [10.0], [50.0]], (1, 90))
    price[:, 20:24] *= 0.7
    price[1, 85:] *= 0.5
    panel = make_panel(demand, price_SP=price)
    found = explain(wild_forecaster(panel, small_config("day")), panel, [0, 1], 10)
    part_SH = found.parts_SHP[:, :, found.names.index("price")]
    assert np.abs(part_SH[0]).max() < 1e-6
    assert np.abs(part_SH[1, :5]).max() < 1e-6
    assert np.abs(part_SH[1, 5:]).min() > 1e-4


def test_the_stock_out_correction_is_the_forecast_with_the_mask_minus_without() -> None:
    panel = random_panel(7)
    forecaster = wild_forecaster(panel, small_config("day"))
    assert panel.stocked_out_ST is not None
    sales = dataclasses.replace(panel, stocked_out_ST=np.zeros_like(panel.stocked_out_ST))
    part_SH = explain(forecaster, panel, range(5), 10).parts_SHP[:, :, -1]
    expected = forecaster(panel, 10).mean_SH - forecaster(sales, 10).mean_SH
    np.testing.assert_allclose(part_SH, expected, atol=1e-5)


def test_two_ways_give_the_shapley_value_where_features_interact_in_pairs() -> None:
    """Against the mean over all orders; values are polynomials of degree two in the features."""
    names = ["a", "b", "c", "d"]
    generator = np.random.default_rng(0)
    alone = dict(zip(names, generator.normal(size=(4, 2, 3)), strict=True))
    pairs = {pair: generator.normal(size=(2, 3)) for pair in itertools.combinations(names, 2)}

    def value(on: object) -> np.ndarray:
        chosen = set(on)  # type: ignore[call-overload]
        single = sum((alone[name] for name in chosen), start=np.ones((2, 3)))
        return single + sum(
            (v for pair, v in pairs.items() if chosen.issuperset(pair)), start=np.zeros((2, 3))
        )

    orders = list(itertools.permutations(names))
    found = _shapley(names, value)
    for name in names:
        added = [value(o[: o.index(name) + 1]) - value(o[: o.index(name)]) for o in orders]
        np.testing.assert_allclose(found[name], np.mean(added, axis=0), atol=1e-12)


def test_a_week_mean_has_no_shape_of_the_week_and_keeps_a_trend() -> None:
    shape = np.array([1.0, 2, 3, 4, 5, 6, 7])
    mean = np.tile(shape, 4)[None] + 10 * (np.arange(28) // 7)
    found = _week_mean(mean, "day", 7)
    np.testing.assert_allclose(found[0, [0, 3, 10, 24, 27]], [4, 4, 14, 34, 34])
    assert (np.diff(found[0]) >= 0).all()
    np.testing.assert_allclose(_week_mean(shape[None, :3], "day", 7), 2.0)
    np.testing.assert_allclose(_week_mean(np.tile(np.arange(24.0), 2)[None, :40], "hour", 24), 11.5)


@pytest.mark.parametrize("period", ["hour", "day", "week"])
def test_calendar_columns_of_the_week_are_those_that_repeat(period: str) -> None:
    week = {"hour": 168, "day": 7, "week": 1}[period]
    features = calendar_features(period, np.datetime64("2024-01-01", "s"), 3 * week + 400)  # type: ignore[arg-type]
    repeats = (features[week:] == features[:-week]).all(axis=0) if week > 1 else np.zeros(12, bool)
    np.testing.assert_array_equal(cycle_columns(period), repeats)  # type: ignore[arg-type]


def test_a_feature_named_as_a_part_is_told_apart() -> None:
    assert part_names("day", ["event", "price"])[3:6] == ("event (feature)", "price", "event")


def test_what_the_model_cannot_forecast_is_not_explained() -> None:
    panel = small_panel("day")
    forecaster = wild_forecaster(panel, small_config("day"))
    with pytest.raises(UsageError, match=r"horizon: expected 1\.\.10"):
        explain(forecaster, panel, [0], 11)
    with pytest.raises(InputError, match="price"):
        explain(forecaster, dataclasses.replace(panel, known={}), [0], 5)
    with pytest.raises(InputError, match="period: expected day"):
        explain(forecaster, small_panel("week"), [0], 5)
