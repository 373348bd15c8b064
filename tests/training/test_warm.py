"""Training that goes on from the weights of a bundle."""

import dataclasses

import numpy as np
import pytest

from forecast.demand.panel import Panel
from forecast.demand.simulate import SimulationConfig, simulate
from forecast.errors import InputError
from forecast.evaluation.metrics import aggregate, scales, scored, statistics
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.forecaster import Forecaster
from training.config import TrainingConfig
from training.fit import fit
from training.warm import shortened, why_not

HORIZON = 14
MODEL = ModelConfig(period="day", horizon=HORIZON, origins=12, channels=16, hidden=24, label_dropout=0.0)
SCRATCH = TrainingConfig(steps=160, epoch_steps=20, batch=32, warmup_steps=10, device="cpu")
WEEK = 7
FIRST = 440


@pytest.fixture(scope="module")
def whole() -> Panel:
    return simulate(SimulationConfig(n_series=40, n_periods=480, horizon=40, n_locations=4)).panel


@pytest.fixture(scope="module")
def start(whole: Panel) -> Bundle:
    return fit(whole.until(FIRST), model=MODEL, training=SCRATCH)


@pytest.fixture(scope="module")
def warm(whole: Panel, start: Bundle) -> Bundle:
    return fit(whole.until(FIRST + WEEK), model=MODEL, training=shortened(SCRATCH), start=start)


def wql(bundle: Bundle, whole: Panel, origin: int) -> float:
    known = whole.until(origin)
    truth_SH = scored(whole, origin, HORIZON)
    return aggregate(statistics(truth_SH, Forecaster(bundle, "cpu")(known, HORIZON), scales(known))).wql


def test_a_quarter_of_the_steps_goes_further_than_from_chance(
    whole: Panel, start: Bundle, warm: Bundle
) -> None:
    origin = FIRST + WEEK
    cold = fit(whole.until(origin), model=MODEL, training=shortened(SCRATCH))
    assert wql(warm, whole, origin) < wql(cold, whole, origin)
    assert wql(warm, whole, origin) < 1.02 * wql(start, whole, origin)


def test_the_bundle_says_where_it_comes_from(whole: Panel, start: Bundle, warm: Bundle) -> None:
    assert (warm.facts["start"], warm.facts["warm_generation"]) == (start.bundle_id, 1)
    assert warm.facts["origin"] == str(whole.until(FIRST + WEEK).origin)
    assert "start" not in start.facts
    np.testing.assert_array_equal(warm.ranks_SHK, start.ranks_SHK)


def test_the_same_start_seed_and_steps_give_the_same_weights(
    whole: Panel, start: Bundle, warm: Bundle
) -> None:
    poisoned = whole.demand_ST.copy()
    poisoned[:, FIRST + WEEK :] = 1e6  # what comes after the cutoff
    later = dataclasses.replace(whole, demand_ST=poisoned).until(FIRST + WEEK)
    again = fit(later, model=MODEL, training=shortened(SCRATCH), start=start)
    assert again.bundle_id == warm.bundle_id


def test_new_series_and_vanished_ones_are_no_obstacle(whole: Panel, start: Bundle) -> None:
    rows = np.arange(5, whole.n_series)
    keys = dataclasses.replace(whole.keys, item=np.char.add(whole.keys.item, "-new"))
    mixed = dataclasses.replace(whole, keys=dataclasses.replace(keys, item=_half(whole, keys.item)))
    panel = mixed.select(rows).until(FIRST + WEEK)
    assert why_not(start, panel, MODEL) == ""
    bundle = fit(panel, model=MODEL, training=shortened(SCRATCH), start=start)
    assert bundle.ranks_SHK.shape[0] == len(rows)
    assert np.isfinite(Forecaster(bundle, "cpu")(panel, HORIZON).mean_SH).all()


def _half(whole: Panel, renamed: np.ndarray) -> np.ndarray:
    return np.where(np.arange(whole.n_series) % 2 == 0, renamed, whole.keys.item)


def test_what_the_network_has_no_weights_for_is_named(whole: Panel, start: Bundle) -> None:
    panel = whole.until(FIRST + WEEK)
    name, values = next(iter(panel.known.items()))
    more = dataclasses.replace(panel, known={**panel.known, "loudness": values})
    assert why_not(start, more, MODEL) == "known feature: loudness is new"
    fewer = dataclasses.replace(panel, known={n: v for n, v in panel.known.items() if n != name})
    assert why_not(start, fewer, MODEL) == f"known feature: {name} is gone"
    longer = dataclasses.replace(MODEL, horizon=21)
    assert why_not(start, panel, longer) == "the model differs: horizon is 21 and was 14"
    with pytest.raises(InputError, match=r"start: expected a bundle that training can go on from, .* is new"):
        fit(more, model=MODEL, training=SCRATCH, start=start)


def test_two_processes_go_on_from_the_same_weights(whole: Panel, start: Bundle, warm: Bundle) -> None:
    training = dataclasses.replace(shortened(SCRATCH), devices=2)
    both = fit(whole.until(FIRST + WEEK), model=MODEL, training=training, start=start)
    assert both.facts["start"] == start.bundle_id
    assert wql(both, whole, FIRST + WEEK) == pytest.approx(wql(warm, whole, FIRST + WEEK), rel=0.05)


def test_a_quarter_of_minutes_and_steps() -> None:
    short = shortened(dataclasses.replace(SCRATCH, minutes=8.0))
    assert (short.minutes, short.steps) == (2.0, 40)
    assert shortened(dataclasses.replace(SCRATCH, steps=2)).steps == 1
