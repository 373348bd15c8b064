"""`[tune]` of the settings: the search for a better configuration of the training."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class TuneSettings(BaseModel):
    """`[tune]`: `surgecast tune`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    trials: int = Field(default=20, ge=1, description="Configurations that are tried at most.")
    minutes: float = Field(
        default=60.0, gt=0, allow_inf_nan=False, description="Minutes of a whole search at most."
    )
    trial_minutes: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Minutes of a trial's fit; 0: those of [training].",
    )
    trial_steps: int = Field(
        default=0, ge=0, description="Optimiser steps of a trial's fit at most; 0: no limit of one's own."
    )
    origins: int = Field(default=4, ge=1, le=52, description="Past origins that a trial is scored from.")
    held_out: int = Field(
        default=2,
        ge=1,
        le=52,
        description="Horizons at the end that a search never sees; at least what [retrain] judges by.",
    )
    search: tuple[str, ...] = Field(
        default=(), description="Keys of [training] to search, all that there are where empty."
    )
