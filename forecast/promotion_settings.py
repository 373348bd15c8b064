"""`[promotion]` of the settings: what a new model must show before it serves."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class PromotionSettings(BaseModel):
    """`[promotion]`: the gate between a challenger and the champion. Shares are of the champion's error, 0.01
    is 1 %."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    confidence: float = Field(
        default=0.95,
        ge=0.5,
        lt=1,
        description="Of intervals; and that no equal model is kept back for a loss on a slice by chance.",
    )
    margin: float = Field(
        default=0.01,
        ge=0,
        allow_inf_nan=False,
        description="What a challenger may be worse overall, as a share of the champion's WQL.",
    )
    segment_margin: float = Field(
        default=0.03,
        ge=0,
        allow_inf_nan=False,
        description="A loss on a segment (fast, slow, intermittent, normal days) that is surely larger"
        " keeps a challenger back.",
    )
    peak_margin: float = Field(
        default=0.02,
        ge=0,
        allow_inf_nan=False,
        description="The same for peaks, the days after them and around events.",
    )
    fewest_series: int = Field(
        default=20, ge=1, description="A slice with fewer series that sell is not judged, with a warning."
    )
    bias_limit: float = Field(
        default=0.1,
        ge=0,
        allow_inf_nan=False,
        description="Largest bias, up or down, as a share of demand; or the champion's if that is larger.",
    )
    bias_step: float = Field(
        default=0.03,
        ge=0,
        allow_inf_nan=False,
        description="How much further from 0 than the champion's the bias may be.",
    )
    coverage_limit: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="How far the share of the truth inside the 50, 80 and 95 % bands may be off;"
        " or the champion's distance if that is larger.",
    )
    coverage_step: float = Field(
        default=0.03, ge=0, le=1, description="How much further off than the champion's it may be."
    )
    sums_limit: float = Field(
        default=0.2, ge=0, le=1, description="As coverage_limit, for sums of series by level."
    )
    sums_step: float = Field(
        default=0.1, ge=0, le=1, description="As coverage_step, for sums of series by level."
    )
    slower: float = Field(
        default=3.0,
        ge=1,
        allow_inf_nan=False,
        description="Times the champion's seconds that scoring may take.",
    )
    seconds_per_1000_series: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Seconds that scoring 1,000 series may take; 0 for no limit but the champion's.",
    )
    larger: float = Field(
        default=3.0,
        ge=1,
        allow_inf_nan=False,
        description="Times the champion's bytes that a bundle may have.",
    )
    bundle_mb: float = Field(
        default=0.0,
        ge=0,
        allow_inf_nan=False,
        description="Megabytes that a bundle may have; 0 for no limit but the champion's.",
    )
