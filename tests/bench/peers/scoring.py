"""One scorer for everyone: the scores of a forecast, and the parts that differences are resampled from.

Letters: S series, H horizon, R resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from forecast.evaluation.bootstrap import Interval, paired_difference
from forecast.evaluation.m5 import M5Scorer
from forecast.evaluation.m5_hierarchy import aggregate as aggregate_levels
from forecast.evaluation.metrics import Doubles, aggregate, scales, statistics
from forecast.forecasts import Forecasts
from tests.bench.peers.resampling import Draws, centred_interval, draw, resampled_scores
from tests.bench.peers.task import Task


@dataclass(frozen=True, kw_only=True)
class Scored:
    """values: score by name. loss_S, units_S: summed quantile loss and demand of each series (scored days).
    draws: name -> (R,) the score in every resample, for scores that are no sums over series.
    """

    values: Mapping[str, float]
    loss_S: Doubles
    units_S: Doubles
    draws: Mapping[str, Doubles]


class TaskScorer:
    """Scores forecasts of one task; what does not depend on the forecast is computed once."""

    def __init__(self, task: Task) -> None:
        self.task = task

    @cached_property
    def _m5(self) -> tuple[M5Scorer, Draws]:
        scorer = M5Scorer.at(self.task.panel)
        items = scorer.hierarchy.levels[9]
        _, first = np.unique(items.node_S, return_index=True)
        return scorer, draw(self.task.panel.statics["dept"][first], self.task.horizon)

    def __call__(self, forecasts: Forecasts) -> Scored:
        """All scores of a forecast of the task's panel."""
        task = self.task
        compared = statistics(task.truth_SH, forecasts, scales(task.panel))
        found = aggregate(compared)
        values = {"wql": found.wql, "wape": found.wape, "bias": found.bias}
        values |= {f"coverage_{c}": getattr(found, f"coverage_{c}") for c in (50, 80, 95)}
        draws: dict[str, Doubles] = {}
        if task.dataset == "m5":
            scorer, drawn = self._m5
            levels = aggregate_levels(forecasts, scorer.hierarchy)
            official = scorer.score(task.truth_SH, levels)
            values = {"wrmsse": official.wrmsse, "wspl": official.wspl, **values, "wql": official.wql}
            for number in range(1, 13):
                values[f"wrmsse_level_{number}"] = official.wrmsse_by_level[number - 1]
                values[f"wspl_level_{number}"] = official.wspl_by_level[number - 1]
            resampled_R2 = resampled_scores(scorer, forecasts, levels, task.truth_SH, drawn)
            draws = {"wrmsse": resampled_R2[:, 0], "wspl": resampled_R2[:, 1]}
        return Scored(
            values=values,
            loss_S=_row_sums(compared.quantile_loss_SH, compared.scored_SH),
            units_S=_row_sums(np.abs(compared.truth_SH), compared.scored_SH),
            draws=draws,
        )


def differences(ours: Sequence[Scored], peer: Sequence[Scored]) -> dict[str, Interval]:
    """Ours minus the peer's, mean over the cutoffs (the same for both), with 95 % intervals.

    WQL: series drawn with all their cutoffs (`evaluation.bootstrap`), over the pooled demand. Others: see
    `resampling`.
    """
    result = {
        "wql": paired_difference(
            np.sum([one.loss_S for one in ours], axis=0),
            np.sum([one.loss_S for one in peer], axis=0),
            np.sum([one.units_S for one in ours], axis=0),
        )
    }
    for name in ours[0].draws:
        estimate = float(np.mean([a.values[name] - b.values[name] for a, b in zip(ours, peer, strict=True)]))
        draws = np.mean([a.draws[name] - b.draws[name] for a, b in zip(ours, peer, strict=True)], axis=0)
        result[name] = centred_interval(estimate, draws)
    return result


def _row_sums(values_SH: NDArray[np.floating], where_SH: NDArray[np.bool_]) -> Doubles:
    return np.sum(values_SH, axis=1, where=where_SH, dtype=np.float64)
