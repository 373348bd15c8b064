"""How a model is trained: budget, optimiser, curriculum. Frozen, logged with every run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from forecast.errors import UsageError
from forecast.model.config import ModelConfig

Precision = Literal["auto", "bf16", "float32"]
PAIRS = 64 * 40 * 7
"""Pairs of origin and step ahead that one optimiser step sees by default."""
PASS = 100
"""Steps at least to see a panel once: on small panels many small steps learn more in the same time than few
large ones."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Training settings.

    minutes: wall-clock budget of the whole fit, validation included. steps: optimiser steps at most. What
        ends first counts.
    batch: windows a step, each with many origins; by default what makes about `PAIRS` pairs of origin and
        step ahead, fewer on small panels.
    members: networks that are trained in turn and averaged (`forecast.model.ensemble`).
    plateau: share of the budget at the full learning rate, before a cosine to zero.
    channels, hidden: widths of the network (`forecast.model.config`).
    half_life: patches after which an older window is drawn half as often.
    cold: share of the windows whose own history is hidden, so that the model learns of new series.
    parts: into how many the horizon is cut; a step trains one of them.
    stages: parts of training; each but the last sees the past up to a later origin and is scored on what
        follows. first_stage, last_stage: their shares of the budget.
    precision: of the matrix products of a training step; `auto` takes bf16 where the device multiplies it in
        hardware, as scoring does. Sums, the last layer, the loss and the weights stay in float32.
    patience: validations without gain that end the first stage.
    devices: GPUs, or processes on the CPU, that share each batch; by default all GPUs that `device` means, or
        one process on the CPU.
    """

    minutes: float | None = None
    steps: int = 12_000
    batch: int | None = None
    members: int = 1
    channels: int = 64
    hidden: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    warmup_steps: int = 100
    plateau: float = 0.5
    ema_decay: float = 0.999
    half_life: int = 72
    cold: float = 0.04
    parts: int = 4
    stages: int = 4
    first_stage: float = 0.4
    last_stage: float = 0.35
    epoch_steps: int = 100
    patience: int = 8
    validation_patches: int = 52
    validation_series: int = 500
    seed: int = 0
    device: str = "auto"
    devices: int | None = None
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"steps: expected at least 1, found {self.steps}")
        if self.minutes is not None and not self.minutes > 0:
            raise UsageError(f"minutes: expected more than 0, found {self.minutes}")
        if self.batch is not None and self.batch < 1:
            raise UsageError(f"batch: expected at least 1, found {self.batch}")
        if self.devices is not None and self.devices < 1:
            raise UsageError(f"devices: expected at least 1, found {self.devices}")
        if not 0 <= self.cold <= 1:
            raise UsageError(f"cold: expected 0..1, found {self.cold}")
        if not 0 <= self.plateau <= 1:
            raise UsageError(f"plateau: expected 0..1, found {self.plateau}")
        if self.parts < 1:
            raise UsageError(f"parts: expected at least 1, found {self.parts}")
        if self.stages < 2:
            raise UsageError(f"stages: expected at least 2, found {self.stages}")
        first, last = self.first_stage, self.last_stage
        if not (first > 0 and last > 0 and first + last < 1):
            raise UsageError(
                f"first_stage, last_stage: expected shares that sum below 1, found {first}, {last}"
            )

    def part(self, model: ModelConfig) -> int:
        """Steps ahead that one optimiser step trains: a share of the horizon in whole patches."""
        return min(-(-model.horizon // (self.parts * model.patch)) * model.patch, model.horizon)

    def windows(self, model: ModelConfig, n_series: int, n_periods: int) -> int:
        """Windows a step; by default so few that it takes `PASS` steps to cover a panel of this size once."""
        enough = max(n_series * n_periods // (PASS * model.patch * model.origins), 8)
        return self.batch or min(max(PAIRS // (model.origins * self.part(model)), 8), 1024, enough)
