"""What training reports while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One stretch of training between two reports.

    stage: "stage 1" ... or "final". seconds: since the start of the fit. fraction: of the budget that is
    spent, 0..1.
    loss: mean training loss of the stretch. validation: metrics on origins that the weights have not been
    trained on;
    empty in the final stage, which trains on everything. usage: what the stretch took of the machine (see
    `training.usage`).
    """

    stage: str
    step: int
    total_steps: int
    seconds: float
    fraction: float
    loss: float
    learning_rate: float
    origins_per_s: float
    validation: Mapping[str, float] = field(default_factory=dict)
    usage: Mapping[str, float] = field(default_factory=dict)
