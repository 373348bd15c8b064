"""`[monitor]` of the settings: when published forecasts are too far from what came true."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class MonitorSettings(BaseModel):
    """`[monitor]`: what `surgecast monitor` warns of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    window_days: int = Field(
        default=28,
        ge=1,
        le=3650,
        description="Forecasts published in so many days before the store's last period count as recent.",
    )
    min_periods: int = Field(
        default=7,
        ge=1,
        le=10_000,
        description="The model that serves is judged once so many of its forecast periods have come true.",
    )
    max_wql_factor: float = Field(
        default=1.25,
        gt=0,
        allow_inf_nan=False,
        description="Largest WQL, in times that of the backtest the model was promoted with.",
    )
    max_bias: float = Field(
        default=0.2, gt=0, allow_inf_nan=False, description="Largest bias, up or down, as a share of demand."
    )
    coverage_tolerance: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="How far the share of truths in the 50, 80 and 95 % bands may be from these.",
    )
    min_fva: float = Field(
        default=0.0,
        lt=1,
        allow_inf_nan=False,
        description="Least forecast value added: 1 - WQL / WQL of the seasonal naive.",
    )
    max_training_days: int = Field(
        default=35,
        ge=1,
        le=3650,
        description="Days of demand in the store that the model that serves may not have been trained on.",
    )
