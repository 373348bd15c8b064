"""A search on disk: an Optuna study in HOME/jobs/tune.db, which a later call may go on with."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import optuna
from optuna.distributions import BaseDistribution
from optuna.pruners import MedianPruner
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, TrialState

from forecast.errors import IntegrityError, NotFoundError, UsageError

SETTING: Final = "setting"
REASON: Final = "reason"
STARTUP: Final = 4
"""Trials that are never pruned, for there is nothing to hold them against."""
RANDOM: Final = 8
"""Trials at random before the sampler learns from them."""


def open_study(
    path: Path,
    setting: Mapping[str, str],
    space: Mapping[str, BaseDistribution],
    *,
    resume: bool,
    seed: int,
) -> optuna.Study:
    """A new study, or the newest one to go on with; a trial that was cut off is to be tried again.

    setting: what must be the same for two trials to be comparable. Raises NotFoundError where there is none
    to go on with, UsageError where its setting was another, IntegrityError for a file that is no database.
    """
    _check(path)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.RDBStorage(
        f"sqlite:///{path.absolute()}", engine_kwargs={"connect_args": {"timeout": 60}}
    )
    pruner = MedianPruner(n_startup_trials=STARTUP, n_min_trials=2)
    if not resume:
        made = optuna.create_study(
            study_name=f"tune-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}",
            storage=storage,
            sampler=TPESampler(seed=seed, n_startup_trials=RANDOM),
            pruner=pruner,
            direction="minimize",
        )
        made.set_user_attr(SETTING, dict(setting))
        return made
    names = sorted(optuna.get_all_study_names(storage))
    if not names:
        raise NotFoundError("study", expected=f"one in {path}; `surgecast tune` begins one", found="none")
    study = optuna.load_study(study_name=names[-1], storage=storage, pruner=pruner)
    _check_setting(study, setting)
    study.sampler = TPESampler(seed=seed + len(study.trials), n_startup_trials=RANDOM)
    for trial in study.get_trials(states=(TrialState.RUNNING,)):
        give_back(study, trial.number, space)
    return study


def give_back(study: optuna.Study, number: int, space: Mapping[str, BaseDistribution]) -> None:
    """End a trial that was cut off, and put its values down to be tried again."""
    trial = study.trials[number]
    study.tell(number, state=TrialState.FAIL)
    if set(trial.params) == set(space):
        study.enqueue_trial(dict(trial.params), skip_if_exists=False)


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """The trials that were made: those that were cut off do not count, nor those that wait. A trial that
    failed says why; one that was cut off cannot."""
    over = study.get_trials(states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    return [trial for trial in over if trial.state != TrialState.FAIL or REASON in trial.user_attrs]


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """The trial with the lowest score; None where none came to its end."""
    done = study.get_trials(states=(TrialState.COMPLETE,))
    return min(done, key=lambda trial: trial.value or 0.0, default=None)


def _check_setting(study: optuna.Study, setting: Mapping[str, str]) -> None:
    was = study.user_attrs.get(SETTING, {})
    for name in {**was, **setting}:
        if was.get(name) != setting.get(name):
            raise UsageError(
                f"--resume: expected {name} {was.get(name)}, as {study.study_name} has it, found"
                f" {setting.get(name)}; without --resume another search begins"
            )


def _check(path: Path) -> None:
    if not path.is_file():
        return
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("pragma schema_version").fetchone()
    except sqlite3.DatabaseError as error:
        raise IntegrityError(str(path), expected="the searches' SQLite database", found=str(error)) from error
