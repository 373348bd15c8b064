from __future__ import annotations

import numpy as np
import pytest
import torch

from forecast.demand.simulate import SimulationConfig, simulate
from forecast.model.calendar import Moved, analog_periods, calendar_features
from forecast.model.config import ModelConfig
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import build_tensors


def grid(n: int, *days: int) -> np.ndarray:
    intensity = np.zeros((1, n, 1), np.float32)
    intensity[0, list(days), 0] = 1
    return intensity


def test_an_ordinary_day_resembles_the_same_weekday_a_year_before() -> None:
    analog = analog_periods(grid(800), least=28, year=364, reach=14)
    assert analog[0, 500] == 136
    assert analog[0, 100] == -1


def test_days_around_an_event_resemble_those_around_its_last_occurrence() -> None:
    analog = analog_periods(grid(800, 300, 661), least=28, year=364, reach=14)
    assert analog[0, 661] == 300
    assert analog[0, 655] == 294
    assert analog[0, 675] == 314
    assert analog[0, 676] == 676 - 364


def test_an_analog_is_never_nearer_than_the_least_gap() -> None:
    analog = analog_periods(grid(1200, 300, 310, 664, 1028), least=90, year=364, reach=14)
    gap = np.arange(1200) - analog[0]
    assert (gap[analog[0] >= 0] >= 90).all()


def test_calendar_features_know_weekday_and_hour() -> None:
    days = calendar_features("day", np.datetime64("2024-01-01", "s"), 14)  # a Monday
    np.testing.assert_array_equal(days[:, 8:15], np.tile(np.eye(7), (2, 1)))
    hours = calendar_features("hour", np.datetime64("2024-01-01", "s"), 24)
    np.testing.assert_array_equal(hours[:, -24:], np.eye(24))


@pytest.mark.parametrize("by", [-60, -20, 30, 60])
def test_a_moved_event_keeps_the_one_before_it(by: int) -> None:
    first = 700
    events = np.zeros((1, 900, 2), np.float32)
    events[0, [400, 764 + by], 0] = 1.0
    events[0, [420, 784], 1] = 1.0
    moved = Moved(first, np.array([by, 0]))
    found = analog_periods(events, least=28, year=364, reach=14, moved=moved)[0]
    assert found[764 + by] == 400
    assert found[764 + by - 2] == 398
    assert found[784] == 420
    assert found[410] == 46


def test_a_calendar_without_seasons_tells_weekdays_alone() -> None:
    start = np.datetime64("2024-01-01", "s")
    told, silent = (calendar_features("day", start, 40, seasonal=seasonal) for seasonal in (True, False))
    np.testing.assert_array_equal(silent[:, 8:15], told[:, 8:15])
    assert not np.delete(silent, np.s_[8:15], axis=1).any()
    assert told.any(axis=0).all()
    assert not calendar_features("week", start, 40, seasonal=False).any()


@pytest.mark.parametrize(("n_periods", "seasonal"), [(364 + 13, False), (364 + 14, True)])
def test_the_season_is_told_once_the_one_ahead_was_seen(n_periods: int, seasonal: bool) -> None:
    panel = simulate(SimulationConfig(n_series=6, n_periods=420, horizon=20)).panel.until(n_periods)
    schema = FeatureSchema.fit(panel, 14)
    assert schema.seasonal is seasonal
    assert FeatureSchema.from_dict(schema.to_dict()) == schema
    model = ModelConfig(period="day", horizon=14, channels=8, hidden=16)
    tensors = build_tensors(panel, model, schema, torch.device("cpu"), horizon=0)
    assert bool(tensors.calendar_LC[:, :8].any()) is seasonal
