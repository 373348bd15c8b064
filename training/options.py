"""From what a user types to what a fit needs."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

import numpy as np

from forecast.errors import UsageError
from forecast.training_settings import TrainingSettings
from training.config import TrainingConfig


def parse_cutoff(text: str | None) -> np.datetime64 | None:
    """A day or a moment (2024-06-18, 2024-06-18T15:00) in the store's own time.

    Raises UsageError when it is neither, or has a zone.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"cutoff: expected a time such as 2024-06-18, found {text!r}") from error
    if moment.tzinfo is not None:
        raise UsageError(f"cutoff: expected a time without a zone, found {text!r}")
    return np.datetime64(moment, "s")


def parse_day(text: str, field: str = "cutoff") -> date:
    """A day. Raises UsageError, which names the field, when it is none."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{field}: expected a day such as 2024-06-18, found {text!r}") from error


def training_config(
    minutes: float | None,
    steps: int | None,
    seed: int,
    device: str,
    *,
    members: int = 1,
    devices: int | None = None,
) -> TrainingConfig:
    """The training settings, with the default number of steps where none is given."""
    training = TrainingConfig(minutes=minutes, seed=seed, device=device, members=members, devices=devices)
    return training if steps is None else replace(training, steps=steps)


def configured(
    settings: TrainingSettings, *, minutes: float | None = None, steps: int | None = None
) -> TrainingConfig:
    """How a fit goes by the settings, with other minutes or steps where they are given."""
    training = TrainingConfig(
        minutes=settings.minutes if minutes is None else minutes,
        batch=settings.batch or None,
        members=settings.members,
        channels=settings.channels,
        hidden=settings.hidden,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        half_life=settings.half_life,
        cold=settings.cold,
        parts=settings.parts,
        seed=settings.seed,
        device=settings.device,
        devices=settings.number_of_devices,
    )
    return training if steps is None else replace(training, steps=steps)
