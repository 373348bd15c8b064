"""`[data_gate]` of the settings: what demand must look like before a model is trained on it.

The defaults hold on the real days of M5 and FreshRetailNet; tests/bench/LOG.md has the numbers.
"""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class DataGateSettings(BaseModel):
    """`[data_gate]`: thresholds of the check that each retraining begins with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days: int = Field(default=7, ge=1, le=60, description="Last days (weeks of weekly data) that are judged.")
    reference_weeks: int = Field(
        default=8, ge=3, le=52, description="Weeks before them whose same weekdays say what is usual."
    )
    history_days: int = Field(
        default=800,
        ge=60,
        description="Days that are read, to learn what the events of the calendar do to demand.",
    )
    max_age_days: int = Field(
        default=7, ge=0, description="The last demand may be so many days old, where no cutoff is given."
    )
    least_units: float = Field(
        default=100.0,
        gt=0,
        allow_inf_nan=False,
        description="Stores, platforms, categories, items of fewer units a day stop nothing by themselves.",
    )
    spread: float = Field(
        default=5.0,
        gt=0,
        allow_inf_nan=False,
        description="A day is unusual this many robust standard deviations from the same weekdays.",
    )
    total_factor: float = Field(
        default=1.6,
        gt=1,
        allow_inf_nan=False,
        description="An unusual day stops when all demand is this many times too high or too low.",
    )
    part_factor: float = Field(
        default=4.0,
        gt=1,
        allow_inf_nan=False,
        description="The same for the demand of one location or platform.",
    )
    item_factor: float = Field(
        default=8.0,
        gt=1,
        allow_inf_nan=False,
        description="The same for one category or other label, and upwards for one item.",
    )
    missing: float = Field(
        default=0.1,
        gt=0,
        le=1,
        description="The share of missing demand, or of a missing known feature, may rise by so much.",
    )
    stocked_out: float = Field(
        default=0.25, gt=0, le=1, description="The share without stock may rise or fall by so much."
    )
    new_series: float = Field(
        default=0.3, gt=0, le=1, description="At most this share of the series may be new in these days."
    )
    vanished: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="At most this share of the usual demand may belong to series that fell silent.",
    )
    psi_warning: float = Field(
        default=0.25,
        gt=0,
        allow_inf_nan=False,
        description="A population stability index above this is a warning of drift.",
    )
    psi_blocking: float = Field(
        default=1.0,
        gt=0,
        allow_inf_nan=False,
        description="An index over all series above this stops the job.",
    )
    accepted: tuple[str, ...] = Field(
        default=(),
        description="Findings that stop nothing, as patterns of their first words:"
        ' "volume, 2024-02-10*" (a closed day), "*, location 17" (a closed store).',
    )
