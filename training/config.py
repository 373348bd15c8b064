"""How a model is trained: budget, optimiser, curriculum. Frozen, logged with every run."""

from __future__ import annotations

from dataclasses import dataclass

from forecast.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Training settings.

    minutes: wall-clock budget of the whole fit, validation included; whichever of minutes and steps ends first.
    steps: optimiser steps at most. batch: windows a step, each with many origins.
    half_life: periods (patches x 1) after which an older window is drawn half as often.
    stages: parts of training; each but the last sees the past up to a later origin and is scored on what follows.
    first_stage, last_stage: their shares of the budget. patience: validations without gain that end the first stage.
    """

    minutes: float | None = None
    steps: int = 3000
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    ema_decay: float = 0.999
    half_life: int = 72
    stages: int = 4
    first_stage: float = 0.4
    last_stage: float = 0.35
    epoch_steps: int = 100
    patience: int = 8
    validation_patches: int = 52
    validation_series: int = 1000
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"steps: expected at least 1, found {self.steps}")
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"minutes: expected more than 0, found {self.minutes}")
        if self.batch < 1:
            raise UsageError(f"batch: expected at least 1, found {self.batch}")
        if self.stages < 2:
            raise UsageError(f"stages: expected at least 2, found {self.stages}")
        if not (0 < self.first_stage and 0 < self.last_stage and self.first_stage + self.last_stage < 1):
            raise UsageError(f"first_stage and last_stage: expected shares below 1, found {self.first_stage}, {self.last_stage}")
