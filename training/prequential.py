"""Walks the curriculum while Lightning trains: reports, scores stages out of sample, ends early, ends in
time.

Letters: S series, N past origins, O origins of a stage, H horizon, Q levels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, cast

import lightning
import numpy as np
import torch
from numpy.typing import NDArray

from forecast.demand.panel import Panel
from forecast.errors import SurgecastError
from forecast.model.coupling import probability_integral_transform
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import score
from forecast.model.tensors import PanelTensors
from training.budget import Best, Budget, Patience
from training.config import TrainingConfig
from training.curriculum import Stage
from training.divergence import LastGood, first_bad
from training.feed import Draw, OriginFeed
from training.module import SurgeModule
from training.outcomes import ErrorSums, Outcome
from training.records import EpochRecord
from training.team import Team
from training.usage import Usage

Floats = NDArray[np.float32]
SPARE = 1.25
"""Times what the last origins are expected to take, by those of a stage, that is kept of the minutes."""


class Prequential(lightning.Callback):
    """The curriculum as a callback; `templates` collects where the truth fell out of sample, which couples
    the scenarios, `recent` demand and means of all series together, (2, O, H), at the origins of that name
    (`training.curriculum.recent_origins`), which sets the level; None where there are none. `stopped` says
    why training ended early for want of a loss, and is empty otherwise.

    The minutes hold the forecasts of these last origins too: by what the origins of the stage before took,
    the last stage ends earlier.

    A first stage without a share of the budget trains nothing: the weights come trained, and are scored on
    its origins, if any, as they came.

    In a team, each process scores its share of the series; templates are complete with the leader alone.
    """

    def __init__(
        self,
        *,
        panel: Panel,
        tensors: PanelTensors,
        stages: tuple[Stage, ...],
        feed: OriginFeed,
        budget: Budget,
        recent: tuple[int, ...],
        training: TrainingConfig,
        on_epoch: Callable[[EpochRecord], None] | None,
        team: Team | None = None,
    ) -> None:
        self._panel = panel
        self._tensors = tensors
        self._stages = list(stages)
        self._feed = feed
        self._budget = budget
        self._training = training
        self._on_epoch = on_epoch
        self._team = team or Team()
        self._rng = np.random.default_rng(training.seed)
        self._losses: list[torch.Tensor] = []
        self._since = time.monotonic()
        self._usage = Usage()
        self._patience, self._best = Patience(training.patience), Best()
        sample = self._rng.permutation(panel.n_series)[: training.validation_series]
        shared = np.sort(sample)[self._team.rank :: self._team.size]
        self._sample = torch.from_numpy(shared).to(tensors.device)
        if not self._team.leads:
            self._rng = np.random.default_rng((training.seed, self._team.rank))
        self._last_good = LastGood()
        self._recent = recent
        self.stopped = ""
        self.templates: list[Floats] = []
        self.recent: NDArray[np.float64] | None = None
        self.out_of_sample: dict[str, float] = {}

    def on_train_start(self, trainer: lightning.Trainer, module: Any) -> None:
        """Score weights that come trained; where no stage will be scored, see on a sample how long the last
        origins will take."""
        stage = self._stages[0]
        if stage.share == 0 and stage.origins:
            self._end_stage(module, stage)
        elif stage.share == 0:
            self._next_stage()
        if not stage.origins and self._training.minutes is not None and self._recent:
            began = time.monotonic()
            for _ in self._forecasts(module, self._recent, self._sample):
                pass
            share = self._panel.n_series / self._team.size / max(len(self._sample), 1)
            self._keep_time((time.monotonic() - began) * share, len(self._recent))

    def on_train_batch_end(
        self, trainer: lightning.Trainer, module: Any, outputs: Any, batch: Draw, batch_idx: int
    ) -> None:
        """Count the step; at the ends of epochs and stages, score."""
        self._budget.tick()
        self._losses.append(outputs["loss"].detach())
        self._last_good.saw(batch)
        stage = self._stages[0]
        left = self._budget.total_steps - self._budget.step
        over = self._budget.fraction >= stage.share or left < len(self._stages)
        if over or self._budget.step % self._training.epoch_steps == 0:
            if not self._team.every(self._last_good.healthy(module, self._losses)):
                self.stopped = self._give_up(module)
                trainer.should_stop = True
                return
            self._last_good.keep(module)
            over = self._report(module, stage, over=over) or over
        if not over:
            return
        if stage.origins:
            self._end_stage(module, stage)
        else:
            self._score_recent(module)
            trainer.should_stop = True

    def _end_stage(self, module: SurgeModule, stage: Stage) -> None:
        """Score a stage out of sample, and go on to the next."""
        began = time.monotonic()
        self._score_stage(module, stage)
        self._next_stage()
        if not self._stages[0].origins:
            self._keep_time(time.monotonic() - began, len(stage.origins))

    def _next_stage(self) -> None:
        self._stages.pop(0)
        self._feed.limit = self._stages[0].limit
        self._since = time.monotonic()

    def _give_up(self, module: SurgeModule) -> str:
        """Go back to the last good weights and say what happened, in the words of the process that it
        happened to first. Raises SurgecastError with the same words when no epoch went well."""
        step, n = self._budget.step, len(self._losses)
        good = self._last_good.restore(module)
        first = self._team.least(first_bad(self._losses))
        own = self._last_good.explain(module, self._losses, step, self._panel, self._tensors)
        message = self._team.text(own, first)
        if not good:
            raise SurgecastError(message)
        return f"{message}; training stopped with the weights of step {step - n}"

    def _report(self, module: SurgeModule, stage: Stage, *, over: bool) -> bool:
        """Report the epoch; true when the first stage has stopped gaining."""
        loss = self._team.mean(float(torch.stack(self._losses).mean()))
        model = module.network.config
        n_origins = len(self._losses) * self._feed.batch * model.origins * self._team.size
        rate = n_origins / max(time.monotonic() - self._since, 1e-9)
        validation: dict[str, float] = {}
        if stage.origins:
            errors = ErrorSums()
            for part in self._forecasts(module, stage.origins, self._sample):
                errors.add(part)
            validation = errors.metrics(self._team)
        if self._on_epoch is not None:
            self._on_epoch(
                EpochRecord(
                    stage=stage.name,
                    step=self._budget.step,
                    total_steps=self._budget.total_steps,
                    seconds=self._budget.seconds,
                    fraction=self._budget.fraction,
                    loss=loss,
                    learning_rate=module.optimizers().param_groups[0]["lr"],  # type: ignore[union-attr]
                    origins_per_s=rate,
                    validation=validation,
                    usage=self._usage.read(),
                )
            )
        self._losses.clear()
        self._since = time.monotonic()
        return stage.name == "stage 1" and self._judge(module, stage, validation["wql"], over=over)

    def _judge(self, module: SurgeModule, stage: Stage, wql: float, *, over: bool) -> bool:
        """Whether the first stage, by its validation, has nothing left to gain. It ends with its best weights
        and leaves the later stages, in their shares, as much as it took to them: what a network unlearns by
        learning a short history by heart, it would unlearn again."""
        worse = bool(self._team.decide(self._best.saw(wql, module, self._budget.mark)))
        lost = bool(self._team.decide(self._patience.lost(wql)))
        if worse and (lost or over):
            self._best.restore(module)
            self._budget.shorten(stage.share, self._best.mark)
        elif lost and not over:
            self._budget.shorten(stage.share)
        return lost

    def _forecasts(
        self, module: SurgeModule, origins: tuple[int, ...], series_S: torch.Tensor
    ) -> Iterator[Outcome]:
        """Forecasts from the origins, a patch apart, by the averaged weights, beside what came true."""
        network = cast(Ensemble, module.averaged.module)
        h = network.config.horizon
        truth_ST, stock_ST = self._panel.demand_ST, self._panel.stocked_out_ST
        rows_S = series_S.cpu().numpy()
        steps_OH = np.asarray(origins)[:, None] + np.arange(h)
        for part in score(network, self._tensors, origins[-1], len(origins), series_S):
            series_B = rows_S[part.rows]
            truth_BOH = truth_ST[series_B][:, steps_OH]
            yield Outcome(
                part.rows,
                truth_BOH,
                np.zeros(truth_BOH.shape, np.bool_)
                if stock_ST is None
                else stock_ST[series_B][:, steps_OH] > 0,
                part.mean_BOH.cpu().numpy(),
                part.quantiles_BOHQ.cpu().numpy(),
            )

    def _score_stage(self, module: SurgeModule, stage: Stage) -> None:
        """Forecast the stage's origins with the averaged weights; keep errors and where the truth fell."""
        h = module.network.config.horizon
        team, n = self._team, self._panel.n_series
        own_S = torch.arange(team.rank, n, team.size, device=self._sample.device)
        places_SOH = np.empty((len(own_S), len(stage.origins), h), np.float32)
        errors = ErrorSums()
        for part in self._forecasts(module, stage.origins, own_S):
            places_SOH[part.rows] = probability_integral_transform(
                part.truth_BOH, part.quantiles_BOHQ, part.censored_BOH, self._rng
            )
            errors.add(part)
        whole_SOH = team.gather(places_SOH, n)
        if whole_SOH is not None:
            self.templates.extend(whole_SOH.transpose(1, 0, 2))
        self.out_of_sample.update({f"{stage.name}_{k}": v for k, v in errors.metrics(team).items()})

    def _keep_time(self, seconds: float, n_origins: int) -> None:
        """Keep of the minutes what `_score_recent` will take, where n origins took these seconds."""
        self._budget.keep(self._team.decide(SPARE * seconds * len(self._recent) / n_origins))

    def _score_recent(self, module: SurgeModule) -> None:
        """Forecast the origins that tell the level with the weights as they end up."""
        if not self._recent:
            return
        team, n = self._team, self._panel.n_series
        own_S = torch.arange(team.rank, n, team.size, device=self._sample.device)
        totals_2OH = np.zeros((2, len(self._recent), module.network.config.horizon))
        for part in self._forecasts(module, self._recent, own_S):
            totals_2OH[0] += np.sum(part.truth_BOH, axis=0, where=part.counted_BOH, dtype=np.float64)
            totals_2OH[1] += np.sum(part.mean_BOH, axis=0, where=part.counted_BOH, dtype=np.float64)
        self.recent = team.total(totals_2OH)
