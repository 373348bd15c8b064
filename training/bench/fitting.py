"""What the benchmarks of accuracy share: a fit within the minutes that are left, and its forecasts."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from forecast.demand.panel import Panel
from forecast.forecasts import Forecasts
from forecast.model.sharded import forecaster
from training.config import TrainingConfig
from training.jobs import fit_shown

FIT_SHARE: Final = 0.9
"""Of the minutes; the rest is for forecasts, scenarios of all levels and scores."""


def fit_and_forecast(
    panel: Panel,
    horizon: int,
    training: TrainingConfig,
    *,
    title: str,
    started: float,
    bundle_dir: Path | None = None,
) -> tuple[Forecasts, dict[str, float]]:
    """Forecasts of the periods after the panel, and facts about the fit.

    `training.minutes` count from `started` (of `time.monotonic`) to the end of the benchmark. The bundle is
    saved as `bundle_dir` where one is given.
    """
    if training.minutes is not None:
        left = FIT_SHARE * training.minutes - (time.monotonic() - started) / 60
        training = replace(training, minutes=max(left, 0.01))
    fit_started = time.monotonic()
    bundle = fit_shown(panel, horizon, training, title)
    if bundle_dir is not None:
        bundle.save(bundle_dir)
    facts = {
        "series": float(panel.n_series),
        "steps": float(bundle.facts["steps"]),
        "fit_seconds": time.monotonic() - fit_started,
    }
    return forecaster(bundle, training.device, training.devices)(panel, horizon), facts
