from __future__ import annotations

import numpy as np
import pytest
import torch

from forecast.demand.panel import Panel
from forecast.demand.simulate import SimulationConfig, simulate
from forecast.errors import UsageError
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.coupling import scenario_ranks
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import Forecaster
from forecast.model.schema import FeatureSchema
from forecast.model.sharded import count_devices, forecaster

HORIZON = 10
SERIES = 300


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulate(SimulationConfig(n_series=SERIES, n_periods=100, horizon=40, n_locations=3)).panel


@pytest.fixture(scope="module")
def bundle(panel: Panel) -> Bundle:
    """An untrained model."""
    config = ModelConfig(period="day", horizon=HORIZON, origins=5, channels=8, hidden=16, scenarios=20)
    schema = FeatureSchema.fit(panel, HORIZON)
    torch.manual_seed(0)
    nothing = np.zeros((0, panel.n_series, HORIZON), np.float32)
    return Bundle(
        config=config,
        schema=schema,
        weights=Ensemble(config, schema).state_dict(),
        ranks_SHK=scenario_ranks(nothing, config.scenarios, np.random.default_rng(0)),
        keys=panel.keys,
        facts={},
    )


def agree(bundle: Bundle, panel: Panel, device: str, devices: int) -> None:
    one = Forecaster(bundle, device, 1)(panel.until(80), HORIZON)
    several = forecaster(bundle, device, devices)
    parts = several(panel.until(80), HORIZON)
    np.testing.assert_array_equal(parts.mean_SH, one.mean_SH)
    np.testing.assert_array_equal(parts.quantiles_SHQ, one.quantiles_SHQ)
    np.testing.assert_array_equal(parts.ranks_SHK, one.ranks_SHK)


@pytest.mark.parametrize("devices", [2, 3, 8])
def test_several_devices_forecast_what_one_does(bundle: Bundle, panel: Panel, devices: int) -> None:
    agree(bundle, panel, "cpu", devices)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_several_gpus_forecast_what_one_does(bundle: Bundle, panel: Panel) -> None:
    agree(bundle, panel, "cuda", 2)


def test_an_error_on_one_device_is_raised(
    bundle: Bundle, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("no memory")

    several = forecaster(bundle, "cpu", 2)
    monkeypatch.setattr(several.network, "forward", fail)
    with pytest.raises(RuntimeError, match="no memory"):
        several(panel, HORIZON)


def test_one_device_is_the_default_on_a_processor() -> None:
    assert count_devices("cpu", None) == 1
    assert count_devices("cpu", 3) == 3


def test_all_gpus_are_the_default_and_more_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert [count_devices("auto", None), count_devices("cuda", 3), count_devices("cuda:1", None)] == [4, 3, 1]
    with pytest.raises(UsageError, match=r"devices: expected 1\.\.4 .*GPUs.*, found 5"):
        count_devices("cuda", 5)


@pytest.mark.parametrize("devices", [0, -1])
def test_less_than_one_device_is_refused(devices: int) -> None:
    with pytest.raises(UsageError, match=f"devices: expected at least 1, found {devices}"):
        count_devices("cpu", devices)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_gpus_where_there_are_none_are_refused() -> None:
    with pytest.raises(UsageError, match="device: expected one that this machine has"):
        count_devices("cuda", 2)
