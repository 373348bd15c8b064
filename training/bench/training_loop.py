"""Our training loop for benchmarks: the product's feed, module and trainer, with a say after every step.

Letters: S series, H horizon, Q levels.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any, cast

import lightning
import numpy as np
import torch
from torch.utils.data import DataLoader

from forecast.demand.panel import Floats, Panel
from forecast.model.config import ModelConfig
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import choose_device, score
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import build_tensors
from forecast.quantiles import LEVELS
from training.bench.speed_data import HORIZON
from training.config import TrainingConfig
from training.feed import Draw, OriginFeed
from training.module import SurgeModule
from training.team import Team
from training.trainer import make_trainer

OnStep = Callable[[Draw], bool]
"""Is told of every step that was done; true ends training."""


class TrainingLoop:
    """Training on all of a panel, with no end and no curriculum.

    The learning rate stays on its plateau after the warm-up, since nobody says how long training will last.
    """

    def __init__(self, panel: Panel, training: TrainingConfig) -> None:
        self.device = choose_device(training.device)
        torch.manual_seed(training.seed)
        self.model = ModelConfig.for_history(
            panel.period, horizon=HORIZON, n_periods=panel.n_periods, members=training.members
        )
        self.schema = FeatureSchema.fit(panel, HORIZON)
        self.tensors = build_tensors(panel, self.model, self.schema, self.device, horizon=HORIZON)
        self.network = Ensemble(self.model, self.schema)
        self.feed = OriginFeed(self.tensors, self.model, training, panel.n_periods)
        self.module = SurgeModule(self.network, self.tensors, training, lambda: 0.0)

    @property
    def parameters(self) -> int:
        """Of one member: what a step trains."""
        return sum(int(one.numel()) for one in self.network.members[0].parameters())

    def pairs(self, draw: Draw) -> int:
        """Pairs of origin and step ahead that a step on this draw sees."""
        steps: int = draw.ahead.stop - draw.ahead.start
        return self.feed.batch * self.model.origins * steps

    def run(self, on_step: OnStep) -> None:
        """Train until `on_step` says so."""
        with quiet():
            make_trainer(self.device, _OnStep(on_step), Team(), self.feed).fit(
                self.module, DataLoader(self.feed, batch_size=None)
            )

    def quantiles(self) -> Floats:
        """(S, H, Q) forecasts after the panel's end by the averaged weights, in units."""
        network = cast(Ensemble, self.module.averaged.module)
        found = np.empty((self.tensors.n_series, HORIZON, len(LEVELS)), np.float32)
        for part in score(network, self.tensors, self.tensors.n_periods, 1):
            found[part.rows] = part.quantiles_BOHQ[:, 0].float().cpu().numpy()
        return found


class _OnStep(lightning.Callback):
    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Draw, batch_idx: int
    ) -> None:
        trainer.should_stop = self._on_step(batch)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Lightning's advice, ours or a peer's; what goes wrong raises."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
