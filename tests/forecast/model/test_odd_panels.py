"""Panels that are odd but not wrong: what the model makes of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.demand.panel import Panel
from forecast.errors import InputError
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import Forecaster
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import build_tensors
from tests.forecast.model.conftest import small_config, small_panel


def forecaster_of(panel: Panel) -> Forecaster:
    """A model with the weights that training starts from."""
    config: ModelConfig = small_config(panel.period)
    schema = FeatureSchema.fit(panel, config.horizon)
    torch.manual_seed(0)
    bundle = Bundle(
        config=config,
        schema=schema,
        weights=Ensemble(config, schema).state_dict(),
        ranks_SHK=np.zeros((panel.n_series, config.horizon, config.scenarios), np.uint8),
        keys=panel.keys,
        facts={},
    )
    return Forecaster(bundle, "cpu")


@pytest.fixture(scope="module")
def daily() -> Panel:
    panel = small_panel("day")
    prices = np.abs(panel.known["price"]) * np.linspace(1, 40, panel.n_series, dtype=np.float32)[:, None]
    return replace(panel, known={**panel.known, "price": prices})


def with_known(panel: Panel, name: str, values: np.ndarray) -> Panel:
    return replace(panel, known={**panel.known, name: values})


def test_a_price_of_zero_is_an_unknown_price(daily: Panel) -> None:
    missing, zero = daily.known["price"].copy(), daily.known["price"].copy()
    missing[3, 50:60], zero[3, 50:60] = np.nan, 0.0
    schema = FeatureSchema.fit(with_known(daily, "price", zero), 10)
    column = [feature.name for feature in schema.known].index("price")
    assert schema.known[column].relative
    found = [schema.standardise(with_known(daily, "price", v), 10)[..., column] for v in (missing, zero)]
    np.testing.assert_array_equal(found[0], found[1])
    assert (found[1][3, 50:60] == 0).all()


def test_holes_in_a_known_feature_count_as_usual_and_a_hole_for_all_is_an_error(daily: Panel) -> None:
    forecaster = forecaster_of(daily)
    some, every = daily.known["price"].copy(), daily.known["price"].copy()
    some[:3, daily.n_periods + 2 : daily.n_periods + 5] = np.nan
    every[:, daily.n_periods :] = np.nan
    assert np.isfinite(forecaster(with_known(daily, "price", some), 10).quantiles_SHQ).all()
    with pytest.raises(InputError, match="price: expected known values for the 10 periods"):
        forecaster(with_known(daily, "price", every), 10)


def test_a_series_that_died_is_forecast_near_zero(daily: Panel) -> None:
    demand = daily.demand_ST.copy()
    demand[4, -200:] = 0.0
    stock = np.zeros_like(demand)
    dead = replace(daily, demand_ST=demand, stocked_out_ST=stock)
    before = forecaster_of(daily)(daily, 10).mean_SH[4].sum()
    assert forecaster_of(dead)(dead, 10).mean_SH[4].sum() < 0.05 * before


def test_a_history_shorter_than_the_context_is_forecast(daily: Panel) -> None:
    context = forecaster_of(daily).bundle.config.context
    short = daily.until(9)
    assert short.n_periods < context
    found = forecaster_of(short)(short, 10)
    assert np.isfinite(found.mean_SH).all()
    assert (np.diff(found.quantiles_SHQ, axis=2) >= 0).all()


def test_a_series_without_any_demand_yet_gets_the_level_of_its_like(daily: Panel) -> None:
    demand = daily.demand_ST.copy()
    demand[7] = np.nan
    found = forecaster_of(daily)(replace(daily, demand_ST=demand), 10).mean_SH.mean(axis=1)
    others = np.delete(found, 7)
    assert others.min() / 5 < found[7] < others.max() * 5


def test_a_series_has_no_history_exactly_where_the_model_sees_none(daily: Panel) -> None:
    """Sold out nearly all along is as good as never observed, for the label and for the network alike."""
    demand, stock = daily.demand_ST.copy(), np.zeros_like(daily.demand_ST)
    demand[0] = np.nan
    stock[1], stock[2], stock[3], stock[4] = 1.0, 0.95, 0.9, np.nan
    panel = replace(daily, demand_ST=demand, stocked_out_ST=stock)
    assert panel.no_history_S[:6].tolist() == [True, True, True, False, False, False]
    config = small_config("day")
    tensors = build_tensors(panel, config, FeatureSchema.fit(panel, 10), torch.device("cpu"), horizon=0)
    np.testing.assert_array_equal(tensors.past.seen_SC[:, -1].numpy() > 0, ~panel.no_history_S)
