"""`surgecast tune`: the search, trial after trial, within trials and minutes.

A search never sees the window that is reported: the last `tune.held_out` horizons of the demand, or as much
more as the backtest of a retraining takes, are cut off before anything else, so that its origins lie behind
all that was searched on. What is left is backtested from its own last origins, each trial's fit ending with
the first of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import optuna
import polars as pl
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial, TrialState

from forecast.cli.output import say
from forecast.demand.panel import Panel
from forecast.errors import InputError, SurgecastError, UsageError
from forecast.evaluation.backtest import backtest
from forecast.evaluation.backtest_table import headline
from forecast.evaluation.baselines import NAIVE, SeasonalNaive
from forecast.home import Home
from forecast.settings import Settings
from forecast.times import iso
from training.alone import alone
from training.devices import tell_device
from training.divergence import DIVERGED
from training.jobs import BacktestPlan, origins_of, read_panel
from training.tracking import Run, connect
from training.tuning.result import write_best
from training.tuning.space import applied, present, space_of
from training.tuning.study import REASON, best_of, counted, give_back, open_study
from training.tuning.trial import Bench, score

PATIENCE: Final = 3
"""Trials that may fail at first, before the search does."""


@dataclass(frozen=True, kw_only=True)
class TuneRequest:
    """What is asked for. settings: all that are in force. out: where the best configuration goes. cutoff:
    last period whose demand may be seen; the store's last when None."""

    settings: Settings
    out: Path
    cutoff: np.datetime64 | None = None
    resume: bool = False


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What came of a search. trials: those that count, in order. naive: the seasonal naive's score on the
    same origins. ended: `trials` or `minutes`, which were used up."""

    study: str
    trials: tuple[FrozenTrial, ...]
    best: FrozenTrial
    naive: float
    bench: Bench
    reported: Panel
    ended: str
    run_id: str


def tune(home: Home, request: TuneRequest) -> Tuned:
    """Search, write the best configuration down, again at each better one, and return what was found.

    Raises BusyError where another search is at work in the home, InputError for too short a history,
    UsageError for a key that is not searched, SurgecastError where no trial came to its end.
    """
    with alone(home.jobs_dir / "tune.lock", "tune"):
        settings = request.settings
        space = space_of(settings.tune.search, settings.training)
        panel = read_panel(home, cutoff=request.cutoff, horizon=settings.training.horizon)
        bench = make_bench(panel, settings)
        tell_device(settings.training.device)
        study = open_study(
            home.jobs_dir / "tune.db",
            _setting(bench, settings, space),
            space,
            resume=request.resume,
            seed=settings.training.seed,
        )
        if not study.trials:
            study.enqueue_trial(present(space, settings.training))
        _end_runs(home, study.study_name)
        tags = {"job": "tune", "purpose": "tune", "study": study.study_name}
        with Run(home, f"tune {iso(bench.past.origin)}", tags=tags) as run:
            run.data(bench.past, source=str(home.demand_dir))
            run.parameters({"tune": settings.tune.model_dump(), "held_out_from": iso(bench.past.origin)})
            search = _Search(run=run, study=study, space=space, bench=bench, request=request)
            return search.walk(panel)


def make_bench(panel: Panel, settings: Settings) -> Bench:
    """What trials are fitted on and scored from: nothing of the last `tune.held_out` horizons, nor of what a
    retraining is judged by.

    Raises InputError where the history is too short, UsageError where the minutes are too few for a trial.
    """
    wanted, horizon = settings.tune, settings.training.horizon
    stride = max(horizon // 4, 1)
    retrained = horizon + (settings.retrain.backtest_origins - 1) * (settings.retrain.stride or stride)
    held_out = max(wanted.held_out * horizon, retrained)
    n_past = panel.n_periods - held_out
    needed = held_out + 2 * horizon + (wanted.origins - 1) * stride
    minutes = wanted.trial_minutes or settings.training.minutes
    if minutes > wanted.minutes and not wanted.trial_steps:
        expected = f"at least the {minutes:g} of one trial (trial_minutes in [tune], minutes in [training])"
        raise UsageError(f"tune.minutes: expected {expected}, found {wanted.minutes:g}")
    if panel.n_periods < needed:
        expected = f"at least {needed} periods for a search (fewer tune.origins or held_out need less)"
        raise InputError("history", expected=expected, found=str(panel.n_periods))
    past = panel.until(n_past)
    return Bench(
        past=past,
        origins=origins_of(past, horizon, BacktestPlan(origins=wanted.origins, stride=stride)),
        horizon=horizon,
        minutes=minutes,
        steps=wanted.trial_steps or None,
    )


@dataclass(frozen=True, kw_only=True)
class _Search:
    """A search at work."""

    run: Run
    study: optuna.Study
    space: Mapping[str, BaseDistribution]
    bench: Bench
    request: TuneRequest

    def walk(self, panel: Panel) -> Tuned:
        """Trial after trial until trials or minutes are used up."""
        wanted = self.request.settings.tune
        naive = self._naive()
        deadline = time.monotonic() + wanted.minutes * 60
        say(self._plan())
        ended, longest = "trials", 0.0
        while len(counted(self.study)) < wanted.trials:
            began = time.monotonic()
            if (
                longest
                and began + max(longest, 0.0 if self.bench.steps else self.bench.minutes * 60) > deadline
            ):
                ended = "minutes"
                break
            self._try(naive)
            longest = max(longest, time.monotonic() - began)
        best = best_of(self.study)
        if best is None:
            raise SurgecastError(f"tune: expected a trial that comes to its end, found {self._last_reason()}")
        write_best(self.request.out, self.study, best, naive)
        self._log(best)
        return Tuned(
            study=self.study.study_name,
            trials=tuple(counted(self.study)),
            best=best,
            naive=naive,
            bench=self.bench,
            reported=panel,
            ended=ended,
            run_id=self.run.run_id,
        )

    def _plan(self) -> str:
        """What a person may expect: how many trials, how long each, when it ends."""
        wanted = self.request.settings.tune
        n_origins = len(self.bench.origins)
        fit = f"{self.bench.steps} steps" if self.bench.steps else f"{self.bench.minutes:g} minutes"
        return (
            f"up to {wanted.trials} trials, each a fit of {fit} and a backtest of {n_origins} origins;"
            f" it ends after {wanted.minutes:g} minutes at the latest, and after Ctrl-C --resume goes on"
        )

    def _try(self, naive: float) -> None:
        trial = self.study.ask(dict(self.space))
        number = trial.number
        base = self.request.settings.training
        tags = {"purpose": "tune", "study": self.study.study_name, "trial": str(number)}
        values = ", ".join(f"{name} {value:.4g}" for name, value in trial.params.items())
        say(f"trial {number} begins: {values}")
        try:
            with Run(self.run.home, f"trial {number}", parent=self.run, tags=tags) as run:
                value, reason, state = _outcome(
                    lambda: score(self.bench, applied(base, trial.params), trial, run)
                )
                if reason:
                    run.tag({state.name.lower(): reason})
        except BaseException:  # Ctrl-C, a signal, a bug: the trial is to be tried again
            give_back(self.study, number, self.space)
            raise
        if reason:
            trial.set_user_attr(REASON, reason)
        self.study.tell(trial, value, state=state)
        said = f"WQL {value:.4g}" if value is not None else f"{state.name.lower()}: {reason}"
        say(f"trial {number}: {said}")
        best = best_of(self.study)
        if best is not None and best.number == number:
            write_best(self.request.out, self.study, best, naive)
        over = counted(self.study)
        if best is None and sum(one.state == TrialState.FAIL for one in over) >= PATIENCE:
            raise SurgecastError(f"tune: expected a trial that comes to its end, found {reason}")

    def _naive(self) -> float:
        forecasters = {NAIVE: SeasonalNaive(seed=self.request.settings.training.seed)}
        report = backtest(self.bench.past, forecasters, self.bench.origins, self.bench.horizon)
        value = headline(report)["wql/seasonal_naive"]
        self.run.metrics({"backtest/wql/seasonal_naive": value})
        return value

    def _log(self, best: FrozenTrial) -> None:
        self.run.metrics({"tune/wql": best.value or 0.0})
        self.run.tag({"best_trial": str(best.number)})
        self.run.table(pl.DataFrame([trial_row(one) for one in counted(self.study)]), "tune/trials")

    def _last_reason(self) -> str:
        over = counted(self.study)
        return str(over[-1].user_attrs.get(REASON, "")) if over else "none"


def _outcome(do: Callable[[], float]) -> tuple[float | None, str, TrialState]:
    """The score of a trial, or why there is none and what that makes of it."""
    try:
        return do(), "", TrialState.COMPLETE
    except optuna.TrialPruned as error:
        return None, str(error), TrialState.PRUNED
    except SurgecastError as error:
        diverged = str(error).startswith(DIVERGED)
        return None, str(error), TrialState.PRUNED if diverged else TrialState.FAIL


def trial_row(trial: FrozenTrial) -> dict[str, Any]:
    """A trial as a row of a table. A score is that of the backtest, which a pruned trial has none of."""
    seconds = trial.duration.total_seconds() if trial.duration else None
    return {
        "trial": trial.number,
        "state": trial.state.name.lower(),
        "wql": trial.value if trial.state == TrialState.COMPLETE else None,
        "seconds": seconds,
        **trial.params,
        "reason": str(trial.user_attrs.get(REASON, "")),
    }


def _setting(bench: Bench, settings: Settings, space: Mapping[str, BaseDistribution]) -> dict[str, str]:
    """What must be the same for two trials to be comparable."""
    fixed = settings.training.model_dump(exclude={*space, "minutes", "device", "devices"})
    return {
        "data version": bench.past.data_version,
        "last day": iso(bench.past.origin),
        "origins": str(len(bench.origins)),
        "minutes of a trial": f"{bench.minutes:g}",
        "steps of a trial": str(bench.steps or "without limit"),
        "search": ", ".join(space),
        **{f"training.{name}": str(value) for name, value in fixed.items()},
    }


def _end_runs(home: Home, study: str) -> None:
    """End the runs that a search left open when it was killed."""
    client = connect(home)
    experiments = [one.experiment_id for one in client.search_experiments()]
    wanted = f"tags.study = '{study}' and attributes.status = 'RUNNING'"
    for run in client.search_runs(experiments, wanted):
        client.set_terminated(run.info.run_id, "KILLED")
