"""A job at work: what it was asked, its ledger, what its steps share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np

from forecast.demand.panel import Panel
from forecast.evaluation.backtest import BacktestReport
from forecast.home import Home
from forecast.model.bundle import Bundle
from training.config import TrainingConfig
from training.gates.promotion import Cost
from training.jobs import BacktestPlan, origins_of, read_panel
from training.options import configured
from training.retraining.champion import Champion
from training.retraining.ledger import Ledger
from training.retraining.lock import Heartbeat
from training.retraining.request import RetrainRequest

CHALLENGER: Final = "challenger"
TWIN: Final = "twin"


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A backtest with its setting. rival: the champion's name among its forecasters, empty where there is
    none that can be compared; why: what there is to say of that. costs: of each forecaster's model."""

    report: BacktestReport
    origins: tuple[int, ...]
    rival: str
    why: str
    costs: Mapping[str, Cost]


@dataclass(kw_only=True)
class Work:
    """A job at work. champion: as it was when the job was made. tracked: whether MLflow's database was there
    then. compared: the backtest, where it was done by this process. seconds: of the steps that this process
    did."""

    home: Home
    request: RetrainRequest
    ledger: Ledger
    beat: Heartbeat
    champion: Champion | None
    tracked: bool
    compared: Comparison | None = None
    seconds: dict[str, float] = field(default_factory=dict)

    def step(self, name: str, do: Callable[[], Mapping[str, object]]) -> Mapping[str, Any]:
        """The result of a step, which is done unless the ledger has it."""
        result = self.ledger.result(name)
        if result is None:
            self.beat.step(name)
            self.ledger.start(name)
            began = time.monotonic()
            self.ledger.finish(name, do())
            self.seconds[name] = round(time.monotonic() - began, 3)
            result = self.ledger.result(name) or {}
        return result

    @property
    def cutoff(self) -> np.datetime64:
        """Last period whose demand may be seen."""
        return np.datetime64(self.ledger.fact("cutoff"), "s")

    @cached_property
    def panel(self) -> Panel:
        """The demand as of the job's version and cutoff."""
        version = self.ledger.fact("data_version")
        return read_panel(self.home, cutoff=self.cutoff, horizon=self.request.horizon, version=version)

    @cached_property
    def origins(self) -> tuple[int, ...]:
        """Those of the backtest. Raises InputError where the history is too short."""
        origins = self.request.settings.retrain.backtest_origins
        plan = BacktestPlan(origins=origins, stride=self.request.stride)
        return origins_of(self.panel, self.request.horizon, plan)

    @property
    def past(self) -> Panel:
        """What was known at the first origin of the backtest."""
        return self.panel.until(self.origins[0])

    @property
    def training(self) -> TrainingConfig:
        """How a fit from scratch goes: half of the minutes, for there are two."""
        settings, own = self.request.settings.training, self.request.settings.retrain
        training = configured(
            settings, minutes=(own.minutes or settings.minutes) / 2, steps=own.steps or None
        )
        return replace(training, minutes=None) if own.steps and not own.minutes else training

    def folder(self, name: str) -> Path:
        """Where a bundle of this job lies until it is put in place."""
        return self.ledger.folder / name

    def bundle_id(self, name: str) -> str:
        """The id of a bundle that was fitted."""
        return str((self.ledger.result(name) or {})["bundle_id"])

    def bundle(self, name: str) -> Bundle:
        """A bundle that was fitted, from the job's folder or from where it was put since."""
        folder = self.folder(name)
        placed = self.home.bundles_dir / self.bundle_id(name)
        return Bundle.load(placed if placed.is_dir() else folder)
