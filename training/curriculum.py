"""The curriculum: training walks forward through time and is scored on each stretch before it is trained on
it.

A prequential pass (Dawid 1984): stage i trains on the periods before its limit; its averaged weights then
forecast the origins from that limit to the next. Every one of those forecasts is out of sample, which is
what scenario coupling and early stopping need, and none of the work is thrown away: the last stage goes on
with the same weights up to the cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from forecast.demand.panel import Panel
from forecast.model.config import ModelConfig
from training.config import TrainingConfig

RECENT = 8
"""Origins, a patch apart, whose errors set the level."""
RARE_STOCK_OUTS = 0.02
"""Share of periods that may have sold out for totals of in-stock demand to tell the level."""


@dataclass(frozen=True)
class Stage:
    """Train on the first `limit` periods until `share` of the budget is spent, then score `origins` (in
    periods, ascending)."""

    name: str
    limit: int
    share: float
    origins: tuple[int, ...]


def plan(n_periods: int, model: ModelConfig, training: TrainingConfig) -> tuple[Stage, ...]:
    """Stages over a history; one stage only where the history is too short to hold anything back."""
    p = model.patch
    reach = -(-model.horizon // p)
    spare = n_periods // p - reach - 2
    n_validation = min(training.validation_patches, max(spare // 2, 0))
    n_stages = min(training.stages, n_validation + 1, training.steps)
    if n_stages < 2:
        return (final_stage(n_periods),)
    last_origin = n_periods - model.horizon
    origins = [last_origin - p * i for i in range(n_validation)][::-1]
    n_scored = n_stages - 1
    bounds = [round(i * n_validation / n_scored) for i in range(n_scored + 1)]
    step = (1 - training.first_stage - training.last_stage) / max(n_scored - 1, 1)
    stages = []
    for i in range(n_scored):
        share = training.first_stage + i * step if n_scored > 1 else 1 - training.last_stage
        part = tuple(origins[bounds[i] : bounds[i + 1]])
        stages.append(Stage(f"stage {i + 1}", part[0], share, part))
    return (*stages, final_stage(n_periods))


def final_stage(n_periods: int) -> Stage:
    """Train on everything until the budget is spent; nothing is left to score."""
    return Stage("final", n_periods, 1.0, ())


def recent_origins(panel: Panel, model: ModelConfig) -> tuple[int, ...]:
    """The last origins whose horizon is known, `RECENT` at most, in periods, ascending: those whose errors
    tell the level of the forecasts.

    None where stock-outs are common: the days that did not sell out are those of low demand, and their total
    would draw the level of all days down.
    """
    stock_ST = panel.stocked_out_ST
    if stock_ST is not None and np.mean(stock_ST > 0) > RARE_STOCK_OUTS:
        return ()
    last = panel.n_periods - model.horizon
    return tuple(last - model.patch * i for i in reversed(range(RECENT)) if last - model.patch * i > 0)
