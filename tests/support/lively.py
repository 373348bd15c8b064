"""Panels whose next event has a predecessor in the history, and models of random weights to be asked."""

from __future__ import annotations

from datetime import date
from typing import NamedTuple

import torch

from forecast.demand.events.calendars import occurrences
from forecast.demand.panel import Panel, Period
from forecast.demand.simulate import SimulationConfig, simulate
from forecast.model.forecaster import Forecaster
from forecast.planning.live import LiveModel
from tests.support.live_home import wild_bundle

ORIGIN = {"hour": date(2024, 1, 1), "day": date(2022, 10, 1), "week": date(2021, 10, 4)}
PERIODS = {"hour": 24 * 40, "day": 400, "week": 108}

HALF = 5e-3
"""By how much a mean may differ where other batches were multiplied in half precision."""


class Lively(NamedTuple):
    panel: Panel
    forecaster: Forecaster
    live: LiveModel


def make(period: Period) -> Lively:
    panel = simulate(
        SimulationConfig(
            n_series=12,
            n_periods=PERIODS[period],
            horizon=40,
            period=period,
            start=ORIGIN[period],
            n_locations=3,
            stock_outs=0.02,
        )
    ).panel
    bundle = wild_bundle(panel)
    first, last = (panel.time(n).astype("M8[D]").item() for n in (0, panel.events.intensity_GLE.shape[1]))
    live = LiveModel(bundle, panel, torch.device("cpu"), occurrences("china", first, last))
    return Lively(panel, Forecaster(bundle, "cpu"), live)
