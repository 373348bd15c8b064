"""Warm start."""

from __future__ import annotations

from forecast.demand.panel import Panel
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from training.config import TrainingConfig


def why_not(start: Bundle, panel: Panel, model: ModelConfig) -> str:
    """Why a fit cannot start from a bundle; empty where it can."""
    return "a warm start is not there yet"


def shortened(training: TrainingConfig) -> TrainingConfig:
    """What a warm start needs."""
    return training
