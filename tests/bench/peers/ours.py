"""Our forecasts: trained at each cutoff like a peer, or from bundles that were trained before.

A bundle may be older than the cutoff, never younger: it would have seen the answer.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from forecast.demand.panel import Panel
from forecast.errors import UsageError
from forecast.forecasts import Forecasts
from forecast.model.bundle import Bundle
from forecast.model.forecaster import Forecaster
from tests.bench.peers.saved import ROOT, code_hash
from tests.bench.peers.task import Task
from training.bench.fitting import fit_and_forecast
from training.config import TrainingConfig
from training.features import given_stock

NAME = "surgecast"


class Trained:
    """Training within a budget at every cutoff."""

    def __init__(self, minutes: float) -> None:
        self.training = TrainingConfig(minutes=minutes)

    def identity(self, task: Task) -> object:
        """What the forecasts depend on beside the panel: settings and code."""
        files = [path for room in ("forecast/model", "training") for path in (ROOT / room).glob("*.py")]
        return [asdict(self.training), code_hash([*files, Path(__file__)])]

    def __call__(self, task: Task) -> tuple[Forecasts, dict[str, float]]:
        """Fit and forecast."""
        title = f"{NAME} at {task.cutoff}"
        panel = _panel(task)
        return fit_and_forecast(panel, task.horizon, self.training, title=title, started=time.monotonic())


class Loaded:
    """The youngest of some saved bundles that is not younger than the cutoff."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._bundles = [Bundle.load(folder) for folder in folders]

    def identity(self, task: Task) -> object:
        """The bundle's id, which hashes its content, and the code that reads it."""
        files = [*(ROOT / "forecast/model").glob("*.py"), Path(__file__)]
        return [self._choose(task).bundle_id, code_hash(files)]

    def __call__(self, task: Task) -> tuple[Forecasts, dict[str, float]]:
        """Forecast."""
        bundle = self._choose(task)
        return Forecaster(bundle)(_panel(task), task.horizon), {"steps": float(bundle.facts["steps"])}

    def _choose(self, task: Task) -> Bundle:
        origins = [np.datetime64(str(bundle.facts["origin"]), "s") for bundle in self._bundles]
        fitting = [i for i, origin in enumerate(origins) if origin <= task.panel.origin]
        if not fitting:
            expected = f"a bundle trained up to {task.panel.origin} or less (cutoff {task.cutoff})"
            raise UsageError(f"ours: expected {expected}, found {', '.join(map(str, origins))}")
        return self._bundles[max(fitting, key=lambda i: origins[i])]


def _panel(task: Task) -> Panel:
    """Where stock is recorded the days in stock are scored, so that it is those that are asked for."""
    panel = task.panel
    return panel if panel.stocked_out_ST is None else given_stock(panel, task.horizon)
