"""Fit a model on a panel: one Lightning run through the curriculum, and the bundle that comes of it."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from forecast.cli.output import say
from forecast.demand.panel import Panel
from forecast.errors import InputError
from forecast.model.allocation import keep_large_blocks
from forecast.model.bundle import Bundle
from forecast.model.calibration import level_correction
from forecast.model.config import ModelConfig
from forecast.model.coupling import scenario_ranks
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import choose_device
from forecast.model.schema import FeatureSchema
from forecast.model.sharded import count_devices
from forecast.model.tensors import build_tensors
from training.budget import Budget
from training.config import TrainingConfig
from training.curriculum import plan, recent_origins
from training.distributed import fit_in_processes
from training.feed import OriginFeed
from training.handover import Job
from training.memory import named_where_full
from training.module import SurgeModule, use_bf16
from training.prequential import Prequential
from training.records import EpochRecord
from training.team import Team
from training.trainer import make_trainer
from training.warm import WarmStart, why_not


def fit(
    panel: Panel,
    *,
    model: ModelConfig,
    training: TrainingConfig,
    on_epoch: Callable[[EpochRecord], None] | None = None,
    start: Bundle | None = None,
) -> Bundle:
    """Train on all of a panel; what must not be seen is cut off before (`panel.until`).

    The same panel, configurations and seed give the same weights on one device, unless `training.minutes`
    ends the run. Several devices share each batch, in a process each: process r of N draws from the series
    r, r + N, r + 2 N ... and gradients are averaged. There are never more processes than series.

    start: go on from its weights (`training.warm`, whose `why_not` tells whether that is possible, and whose
    `shortened` tells what `training` needs then).

    Raises:
        InputError: no demand to learn from, or a start that is not possible. UsageError: devices that are
        not there. SurgecastError: no step had a loss, a process died, or the device has too little memory.
    """
    if not np.nansum(np.abs(panel.demand_ST)) > 0:
        raise InputError("demand", expected="at least one period with demand", found="none")
    if start is not None and (reason := why_not(start, panel, model)):
        raise InputError("start", expected="a bundle that training can go on from", found=reason)
    n = min(count_devices(training.device, training.devices), panel.n_series)
    device, team = choose_device(training.device), Team()
    _tell_precision(training, device)
    if n > 1:
        job = Job(panel=panel, model=model, training=training, began=time.time(), start=start)
        return fit_in_processes(job, n, on_epoch)
    with named_where_full(device, team):
        job = Job(panel=panel, model=model, training=training, began=time.time(), start=start)
        return train_together(job, on_epoch, team, device).bundle()


def train_together(
    job: Job,
    on_epoch: Callable[[EpochRecord], None] | None,
    team: Team,
    device: torch.device,
) -> Fitted:
    """This process's part of a fit; the whole of it for a team of one.

    A process alone draws fewer windows where a step does not fit into the device's memory
    (`training.memory`).
    """
    keep_large_blocks()
    panel, model, training, start = job.panel, job.model, job.training, job.start
    budget = Budget(training, team, spent=max(time.time() - job.began, 0.0))
    facts = {"seed": training.seed, **({} if team.alone else {"devices": team.size})}
    warm = None if start is None else WarmStart.on(start, panel)
    if warm is not None:
        training = replace(training, seed=warm.seed(training.seed))
    torch.manual_seed(training.seed)
    schema = FeatureSchema.fit(panel, model.horizon) if warm is None else warm.schema
    tensors = build_tensors(panel, model, schema, device, horizon=0)
    network = Ensemble(model, schema)
    if warm is not None:
        network.load_state_dict(dict(warm.weights))
    if not team.leads:  # the same weights as the leader's, other random numbers from here on
        torch.manual_seed(team.seed(training.seed))
    stages = plan(panel.n_periods, model, training) if warm is None else warm.stages(panel, model, training)
    feed = OriginFeed(tensors, model, training, stages[0].limit, team)
    module = SurgeModule(network, tensors, training, lambda: budget.fraction)
    walk = Prequential(
        panel=panel,
        tensors=tensors,
        stages=stages,
        feed=feed,
        budget=budget,
        recent=recent_origins(panel, model),
        training=training,
        on_epoch=on_epoch,
        team=team,
    )
    with _quiet(), _interruptible():
        make_trainer(device, walk, team, feed).fit(module, DataLoader(feed, batch_size=None))
    facts = {"steps": budget.step, **facts}
    return Fitted(panel, schema, cast(Ensemble, module.averaged.module), walk, facts, warm)


class Fitted(NamedTuple):
    """A trained network, and what its training measured on its way; `facts` of the run; what it started
    from, if anything."""

    panel: Panel
    schema: FeatureSchema
    network: Ensemble
    walk: Prequential
    facts: Mapping[str, int]
    warm: WarmStart | None

    def bundle(self) -> Bundle:
        """The bundle; only the leader of a team has all that it takes."""
        panel, walk, model = self.panel, self.walk, self.network.config
        self.network.level_H = torch.from_numpy(_level(walk, model))
        return Bundle(
            config=model,
            schema=self.schema,
            weights={name: value.detach().cpu() for name, value in self.network.state_dict().items()},
            ranks_SHK=self._ranks(),
            keys=panel.keys,
            facts={
                "origin": str(panel.origin),
                "data_version": panel.data_version,
                "series": panel.n_series,
                "periods": panel.n_periods,
                **self.facts,
                **({} if self.warm is None else self.warm.facts()),
                **({"stopped": walk.stopped} if walk.stopped else {}),
                **{name: round(value, 6) for name, value in walk.out_of_sample.items()},
            },
        )

    def _ranks(self) -> NDArray[np.uint8]:
        """The coupling of the scenarios, from every scored origin and from what it started from; independent
        ranks where there is neither."""
        templates, model, seed = self.walk.templates, self.network.config, self.facts["seed"]
        if self.warm is not None:
            return self.warm.ranks(self.panel, templates, seed)
        nothing = np.zeros((0, self.panel.n_series, model.horizon), np.float32)
        templates_NSH = np.stack(templates) if templates else nothing
        return scenario_ranks(templates_NSH, model.scenarios, np.random.default_rng(seed))


def _tell_precision(training: TrainingConfig, device: torch.device) -> None:
    """Say that bf16 is slow where it was asked for and the device has no instructions for it."""
    if training.precision == "bf16" and not use_bf16("auto", device):
        say(f"precision bf16: {device} has no instructions for it, so that float32 would be faster")


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays a KeyboardInterrupt; Lightning would end the program and leave the signal ignored."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what Lightning says of choices made on purpose, or of its own use of torch."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # The panel lies on the device and windows are cut there, so loader workers would have nothing to do.
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        yield


def _level(walk: Prequential, model: ModelConfig) -> NDArray[np.float32]:
    """The level correction from the last origins whose truth is known; none where they tell nothing."""
    if walk.recent is None:
        return np.ones(model.horizon, np.float32)
    return level_correction(*walk.recent, patch=model.patch)
