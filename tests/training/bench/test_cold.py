"""Cold start: what is hidden stays hidden, and the numbers are those of what was hidden."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from forecast.cli.main import run
from forecast.demand.panel import Panel
from forecast.forecasts import Forecasts
from forecast.model.config import ModelConfig
from forecast.model.forecaster import Forecaster
from forecast.quantiles import LEVELS
from tests.support.panels import make_panel
from tests.training.bench.test_bench import write_m5
from training.bench.cold import choose_hidden, without_history
from training.config import TrainingConfig
from training.fit import fit

CUT, HORIZON = 420, 14


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Twelve items in four stores: what an item sells, times the size of the store."""
    random = np.random.default_rng(0)
    level_S = np.outer(random.lognormal(1, 0.9, 12), (0.5, 1.0, 1.5, 2.0)).ravel()
    return make_panel(
        random.poisson(level_S[:, None], (48, CUT)),
        price_SP=random.lognormal(0, 1, (48, 1)) * np.ones(CUT + HORIZON),
        statics={"dept": ["food"] * 48},
        items=[f"item{i // 4}" for i in range(48)],
        locations=[f"store{i % 4}" for i in range(48)],
    )


@pytest.fixture(scope="module")
def forecasters(panel: Panel) -> list[Forecaster]:
    """Of five seeds: how much wider a band is differs from one to the next by a fifth."""
    model = ModelConfig(period="day", horizon=HORIZON, origins=12, channels=16, hidden=24)
    training = TrainingConfig(steps=120, epoch_steps=60, batch=32, warmup_steps=10, cold=0.25, device="cpu")
    fits = [fit(panel, model=model, training=dataclasses.replace(training, seed=seed)) for seed in range(5)]
    return [Forecaster(bundle, "cpu") for bundle in fits]


@pytest.fixture(scope="module")
def forecaster(forecasters: list[Forecaster]) -> Forecaster:
    return forecasters[0]


def width(forecasts: Forecasts) -> np.ndarray:
    """Of the 80 % bands, over the mean."""
    low, high = (forecasts.quantiles_SHQ[..., LEVELS.index(level)].sum(1) for level in (0.1, 0.9))
    return (high - low) / forecasts.mean_SH.sum(1)


def hide(panel: Panel, rows: NDArray[np.bool_]) -> Panel:
    return dataclasses.replace(panel, demand_ST=np.where(rows[:, None], np.nan, panel.demand_ST))


def test_a_known_item_new_in_a_store_has_the_level_of_both(panel: Panel, forecaster: Forecaster) -> None:
    for s in (1, 18, 35):
        cold = forecaster(hide(panel, np.arange(48) == s), HORIZON)
        expected = panel.demand_ST[s].mean()
        assert expected / 2 < cold.mean_SH[s].mean() < 2 * expected


def test_a_new_item_is_near_the_others_and_less_sure(panel: Panel, forecasters: list[Forecaster]) -> None:
    new = panel.keys.item == panel.keys.item[20]
    like = panel.demand_ST[~new].mean()
    wider = []
    for forecaster in forecasters:
        cold, warm = forecaster(hide(panel, new), HORIZON), forecaster(panel, HORIZON)
        assert like / 3 < cold.mean_SH[new].mean() < 3 * like
        wider.append(width(cold)[new] / width(warm)[new])
    assert (np.mean(wider, axis=0) > 1.2).all()


def test_a_cold_forecast_knows_nothing_of_the_hidden_past(panel: Panel, forecaster: Forecaster) -> None:
    hiding = choose_hidden(panel, share=0.2, seed=0)
    loud = panel.demand_ST.copy()
    loud[hiding.hidden_S] *= 100
    found = [
        forecaster(without_history(source, hiding), HORIZON).quantiles_SHQ
        for source in (panel, dataclasses.replace(panel, demand_ST=loud))
    ]
    np.testing.assert_array_equal(*found)


def test_hidden_are_whole_items_and_one_whole_store(panel: Panel) -> None:
    hiding = choose_hidden(panel, share=0.2, seed=1)
    np.testing.assert_array_equal(hiding.store_S, panel.keys.location == "store2")
    hidden = set(panel.keys.item[hiding.item_S])
    assert 0 < len(hidden) < len(set(panel.keys.item))
    np.testing.assert_array_equal(hiding.item_S, np.isin(panel.keys.item, list(hidden)))
    blank = without_history(panel, hiding)
    assert np.isnan(blank.demand_ST[hiding.hidden_S]).all()
    assert np.isnan(blank.known["price"][hiding.hidden_S, :CUT]).all()
    assert np.isfinite(blank.known["price"][:, CUT:]).all()


def test_bench_cold_prints_both_models_and_the_category(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_m5(tmp_path)
    line = ["bench", "cold", "--data", str(tmp_path), "--cutoff", "102", "--share", "0.5", "--steps", "3"]
    assert run([*line, "--device", "cpu", "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert results["store_series"] == 2
    assert results["items_series"] == 2
    for part in ("items", "store"):
        assert results[f"{part}_ratio"] == pytest.approx(
            results[f"{part}_wql_cold"] / results[f"{part}_wql_warm"]
        )
        assert results[f"{part}_wql_category_mean"] > 0
    assert run([*line, "--share", "0"]) == 2
    assert "found 0" in capsys.readouterr().err
