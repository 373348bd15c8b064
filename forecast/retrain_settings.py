"""`[retrain]` of the settings: how the job that retrains, judges and publishes goes about it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RetrainSettings(BaseModel):
    """`[retrain]`: the retraining job."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Minutes for both fits of a job that starts from scratch, a warm start takes a quarter;"
        " 0: those of [training].",
    )
    steps: int = Field(
        default=0, ge=0, description="Optimiser steps of a fit at most; 0: no limit of one's own."
    )
    backtest_origins: int = Field(
        default=4, ge=1, le=52, description="Past origins that challenger and champion are compared from."
    )
    stride: int = Field(
        default=0, ge=0, description="Periods between these origins; 0: a quarter of the horizon."
    )
    warm: bool = Field(
        default=True, description="Start from the champion's weights where its features are still the same."
    )
    warm_in_a_row: int = Field(
        default=12,
        ge=1,
        description="Warm starts in a row at most; then a fit from scratch renews what they keep.",
    )
    keep_jobs: int = Field(
        default=50, ge=1, description="Records of finished jobs that are kept in the home's jobs folder."
    )
