"""The jobs that the command line and a scheduler run: train and backtest.

Letters: S series, H horizon.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np

from forecast.cli.output import progress, say
from forecast.demand.panel import Panel
from forecast.demand.panel_build import load_panel
from forecast.errors import InputError, UsageError
from forecast.evaluation.backtest import BacktestReport, backtest, rolling_origins
from forecast.evaluation.baselines import NAIVE, ForecastFunction, baselines
from forecast.evaluation.event_origins import LEADS, event_origins
from forecast.evaluation.slices import slices, slices_with_events
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.sharded import forecaster
from forecast.times import iso
from training.config import TrainingConfig
from training.devices import tell_device
from training.features import usable
from training.fit import fit
from training.records import EpochRecord
from training.registry import CHAMPION, MODEL, Registered, bundle_folder, follow_rollback, register
from training.retraining.lock import job_lock
from training.story import fit_metrics, log_backtest, log_card, log_fit, model_card, refresh_overview
from training.tracking import Run

MODEL_NAME = "surgecast"
"""The model's name among the forecasters of a backtest."""
"""The baseline that a model is held against, slice by slice."""
OnEpoch = Callable[[EpochRecord], None]


@dataclass(frozen=True, kw_only=True)
class BacktestPlan:
    """Which past origins are forecast again: how many, how many periods apart (a horizon when None).

    With `event`, a kind of event, the origins lie `leads` days before each of its last `origins` occurrences.
    """

    origins: int = 2
    stride: int | None = None
    event: str | None = None
    leads: tuple[int, ...] = LEADS


@dataclass(frozen=True, kw_only=True)
class TrainJob:
    """What `surgecast train` is asked to do.

    cutoff: last period whose demand may be seen; the store's last when None. The minutes of `training` are
    for the whole job: a backtest, which needs a model of its own, takes half of them.
    """

    horizon: int
    training: TrainingConfig
    plan: BacktestPlan
    cutoff: np.datetime64 | None = None
    promote: bool = True


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training job made. report: None where no backtest was asked for. promoted: is the champion now;
    a model whose training lost its loss is not, whatever was asked."""

    bundle: Bundle
    registered: Registered
    promoted: bool
    run_id: str
    report: BacktestReport | None


def read_panel(
    home: Home, *, cutoff: np.datetime64 | None, horizon: int, version: str | None = None
) -> Panel:
    """The home's panel up to the cutoff, with the known features that reach over the horizon, as of a version
    of the store; the newest when None.

    Raises NotFoundError for an empty store, InputError for a cutoff outside of the demand.
    """
    panel, dropped = usable(load_panel(home, cutoff=cutoff, horizon=horizon, version=version), horizon)
    if dropped:
        reason = f"not known for the {horizon} periods after {iso(panel.origin)}"
        say(f"left out, because {reason}: {', '.join(dropped)}")
    return panel


def model_config(panel: Panel, horizon: int, training: TrainingConfig) -> ModelConfig:
    """The model for a panel's history."""
    return ModelConfig.for_history(
        panel.period,
        horizon=horizon,
        n_periods=panel.n_periods,
        members=training.members,
        channels=training.channels,
        hidden=training.hidden,
    )


def fit_shown(
    panel: Panel,
    horizon: int,
    training: TrainingConfig,
    title: str,
    on_epoch: OnEpoch = lambda _record: None,
) -> Bundle:
    """Fit with a progress bar on stderr."""
    model = model_config(panel, horizon, training)
    shown = 0.0
    with progress(title, total=1.0) as advance:

        def report(record: EpochRecord) -> None:
            nonlocal shown
            advance(max(record.fraction - shown, 0.0))
            shown = max(record.fraction, shown)
            on_epoch(record)

        bundle = fit(panel, model=model, training=training, on_epoch=report)
    if "stopped" in bundle.facts:
        say(str(bundle.facts["stopped"]))
    return bundle


def origins_of(panel: Panel, horizon: int, wanted: BacktestPlan) -> tuple[int, ...]:
    """The origins of a backtest. Raises InputError, with a way out, where the history is too short."""
    if wanted.event is not None:
        return event_origins(panel, wanted.event, horizon, wanted.origins, wanted.leads)
    try:
        return rolling_origins(panel, horizon, wanted.origins, wanted.stride or horizon)
    except InputError as error:
        expected = f"{error.expected} for the backtest (fewer origins or a shorter horizon need less)"
        raise InputError(error.field, expected=expected, found=error.found) from error


def run_backtest(
    run: Run, panel: Panel, horizon: int, wanted: BacktestPlan, training: TrainingConfig
) -> tuple[BacktestReport, Bundle]:
    """Backtest of a model that is fitted on what was known at the first origin, against the baselines; and
    that model.

    The fit is a run of its own below `run`, which gets metrics, table and pictures.
    """
    origins = origins_of(panel, horizon, wanted)
    past = panel.until(origins[0])
    with Run(run.home, f"backtest model {iso(past.origin)}", parent=run, tags={"purpose": "train"}) as child:
        child.parameters({"training": training, "horizon": horizon})
        child.data(past, source=str(run.home.demand_dir))
        bundle = fit_shown(past, horizon, training, "training the backtest's model", child.epoch)
        child.metrics(fit_metrics(bundle))
    own = {MODEL_NAME: forecaster(bundle, training.device, training.devices)}
    forecasters: dict[str, ForecastFunction] = {**own, **baselines(seed=training.seed)}
    with progress("backtest", total=len(origins) * len(forecasters)) as advance:
        cut = slices if wanted.event is None else slices_with_events([wanted.event])
        report = backtest(panel, forecasters, origins, horizon, cut=cut, advance=advance)
    log_backtest(run, panel, report, origins, own=MODEL_NAME, rivals=(NAIVE,))
    return report, bundle


def train(home: Home, job: TrainJob) -> Trained:
    """Train up to the cutoff, save the bundle, register it, and make it champion unless told not to.

    Everything is logged in one MLflow run. When the job fails or is interrupted, there is no version. The
    model of the backtest is kept as the version's twin, which stands for it where a later model is compared
    with it. Raises BusyError while another job is at work.
    """
    panel = read_panel(home, cutoff=job.cutoff, horizon=job.horizon)
    tested = job.plan.origins > 0
    training = halved(job.training) if tested else job.training
    if tested:
        origins_of(panel, job.horizon, job.plan)
    tell_device(job.training.device)
    name = f"train {iso(panel.origin)} {panel.n_series:,} series"
    with job_lock(home, what="train"):
        follow_rollback(home)
        with Run(home, name, tags={"purpose": "train"}) as run:
            _log_setting(run, panel, job.horizon, training, job.plan)
            report = twin = None
            if tested:
                report, twin = run_backtest(run, panel, job.horizon, job.plan, training)
            bundle = fit_shown(panel, job.horizon, training, "training", run.epoch)
            promoted = job.promote and "stopped" not in bundle.facts
            registered = _keep(run, panel, Pair(bundle, twin), training, promoted)
            card = model_card(bundle, panel, report, own=MODEL_NAME, training=asdict(training))
            log_card(run, registered.version, card)
            run.tag({"outcome": "promoted" if promoted else "registered"})
        refresh_overview(home)
    return Trained(bundle=bundle, registered=registered, promoted=promoted, run_id=run.run_id, report=report)


class Pair(NamedTuple):
    """A model, and its twin: the same recipe on what was known before the backtest; None where none was."""

    bundle: Bundle
    twin: Bundle | None


def _keep(run: Run, panel: Panel, pair: Pair, training: TrainingConfig, promoted: bool) -> Registered:
    """Save a model and its twin, log what there is to know of it, and register both as one version."""
    bundle, twin = pair
    folder = bundle_folder(run.home, bundle.bundle_id)
    bundle.save(folder)
    log_fit(run, panel, bundle, device=training.device)
    if twin is not None:
        twin.save(bundle_folder(run.home, twin.bundle_id))
    registered = register(run, bundle, folder, aliases=(CHAMPION,) if promoted else ())
    if twin is not None:
        run.client.set_model_version_tag(MODEL, registered.version, "twin_id", twin.bundle_id)
    return registered


def score_past(home: Home, job: TrainJob) -> BacktestReport:
    """The backtest alone: no bundle, nothing registered."""
    if job.plan.origins < 1:
        raise UsageError(f"origins: expected at least 1, found {job.plan.origins}")
    panel = read_panel(home, cutoff=job.cutoff, horizon=job.horizon)
    origins_of(panel, job.horizon, job.plan)
    tell_device(job.training.device)
    name = f"backtest {iso(panel.origin)} {panel.n_series:,} series"
    with Run(home, name, tags={"purpose": "backtest"}) as run:
        _log_setting(run, panel, job.horizon, job.training, job.plan)
        report, _ = run_backtest(run, panel, job.horizon, job.plan, job.training)
    return report


def halved(training: TrainingConfig) -> TrainingConfig:
    """Half of the minutes, for a job that fits twice."""
    return training if training.minutes is None else replace(training, minutes=training.minutes / 2)


def _log_setting(
    run: Run, panel: Panel, horizon: int, training: TrainingConfig, wanted: BacktestPlan
) -> None:
    run.data(panel, source=str(run.home.demand_dir))
    model = model_config(panel, horizon, training)
    features = ", ".join(panel.known) or "none"
    run.parameters({"model": model, "training": training, "backtest": wanted, "known_features": features})
