from __future__ import annotations

import pytest
import torch

from forecast.demand.panel import Panel, Period
from forecast.demand.simulate import SimulationConfig, simulate
from forecast.model.config import ModelConfig
from forecast.model.ensemble import Ensemble
from forecast.model.schema import FeatureSchema

N_PERIODS: dict[Period, int] = {"hour": 24 * 40, "day": 420, "week": 120}
HORIZON: dict[Period, int] = {"hour": 30, "day": 10, "week": 5}


def small_panel(period: Period) -> Panel:
    """A simulated panel of 12 series."""
    config = SimulationConfig(
        n_series=12, n_periods=N_PERIODS[period], horizon=40, period=period, n_locations=3, stock_outs=0.02
    )
    return simulate(config).panel


def small_config(period: Period) -> ModelConfig:
    """A network small enough for a test."""
    return ModelConfig(
        period=period,
        horizon=HORIZON[period],
        context=32,
        origins=5,
        channels=8,
        hidden=16,
        members=2,
        scenarios=20,
    )


@pytest.fixture(params=["hour", "day", "week"])
def period(request: pytest.FixtureRequest) -> Period:
    return request.param


@pytest.fixture
def panel(period: Period) -> Panel:
    return small_panel(period)


@pytest.fixture
def network(panel: Panel) -> Ensemble:
    """Random weights far from their quiet start, so that every input shows in the output."""
    config = small_config(panel.period)
    torch.manual_seed(0)
    network = Ensemble(config, FeatureSchema.fit(panel, config.horizon))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()
