"""One trial: a fit by some configuration, given up where it falls behind, and its backtest."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import optuna

from forecast.demand.panel import Panel
from forecast.evaluation.backtest import backtest
from forecast.evaluation.backtest_table import headline
from forecast.model.sharded import forecaster
from forecast.training_settings import TrainingSettings
from training.config import TrainingConfig
from training.jobs import MODEL_NAME, fit_shown
from training.options import configured
from training.records import EpochRecord
from training.tracking import Run

MARKS: Final = 20
"""Into so many parts of the budget a fit is cut; at the end of each it is held against the others."""
SCORE: Final = "wql"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What all trials have in common.

    past: the demand that a search may see. origins: of `past`, for the backtest; a fit ends with the first.
    minutes, steps: of a fit, None for no limit of one's own.
    """

    past: Panel
    origins: tuple[int, ...]
    horizon: int
    minutes: float
    steps: int | None

    @property
    def panel(self) -> Panel:
        """What a fit sees."""
        return self.past.until(self.origins[0])

    def training(self, settings: TrainingSettings) -> TrainingConfig:
        """How a trial's fit goes."""
        return configured(settings, minutes=self.minutes, steps=self.steps)


def score(bench: Bench, settings: TrainingSettings, trial: optuna.Trial, run: Run) -> float:
    """The WQL of the backtest; everything is logged in `run`.

    Raises TrialPruned, with the reason, where the trial falls behind the others on its out-of-sample
    validation, or where a loss or the score is no number.
    """
    training = bench.training(settings)
    run.parameters({"training": training, "horizon": bench.horizon})
    run.data(bench.panel, source=str(run.home.demand_dir))
    follow = _follower(trial, run)
    bundle = fit_shown(bench.panel, bench.horizon, training, f"trial {trial.number}", follow)
    if "stopped" in bundle.facts:
        raise optuna.TrialPruned(str(bundle.facts["stopped"]))
    model = forecaster(bundle, training.device, training.devices)
    report = backtest(bench.past, {MODEL_NAME: model}, bench.origins, bench.horizon)
    found = headline(report)
    run.metrics({f"backtest/{name}": value for name, value in found.items()})
    value = found[f"{SCORE}/{MODEL_NAME}"]
    if not math.isfinite(value):
        raise optuna.TrialPruned(f"backtest: expected a score, found {value}")
    return value


def _follower(trial: optuna.Trial, run: Run) -> Callable[[EpochRecord], None]:
    """Logs epochs, and ends the fit where the median of the others was better at the same share of the
    budget."""
    reported = -1

    def follow(record: EpochRecord) -> None:
        nonlocal reported
        found = {f"validation/{name}": value for name, value in record.validation.items()}
        run.metrics({"train/loss": record.loss, **found}, step=record.step)  # no picture of each trial
        mark = int(record.fraction * MARKS)
        value = record.validation.get(SCORE)
        if value is None or not math.isfinite(value) or mark <= reported:
            return
        reported = mark
        trial.report(value, mark)
        if trial.should_prune():
            share = f"after {100 * record.fraction:.0f} % of the fit"
            raise optuna.TrialPruned(f"validation {SCORE} {value:.4g} {share}, worse than the others' median")

    return follow
