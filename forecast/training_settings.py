"""`[training]` of the settings: how a model is trained, and the sizes of its network."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingSettings(BaseModel):
    """`[training]`: how a model is trained. The last eight are what `surgecast tune` searches."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    minutes: float = Field(
        default=10.0,
        gt=0,
        allow_inf_nan=False,
        description="Training stops after this many minutes at the latest.",
    )
    horizon: int = Field(default=28, ge=1, le=720, description="Periods that are forecast ahead.")
    seed: int = Field(
        default=0, ge=0, description="The same seed, data and settings give the same model on one device."
    )
    members: int = Field(
        default=1,
        ge=1,
        le=16,
        description="Networks whose forecasts are averaged: more accurate where there are minutes for each.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto", description="Where to compute: auto, cpu or cuda; auto takes CUDA when it is there."
    )
    devices: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto",
        description="GPUs, or processes on the CPU, that share the work; auto: all GPUs, one on the CPU.",
    )
    learning_rate: float = Field(
        default=3e-3, gt=0, le=1, description="Of the optimiser, at its highest. `surgecast tune` finds one."
    )
    weight_decay: float = Field(
        default=0.01, ge=0, le=10, description="Pull of the optimiser towards small weights."
    )
    batch: int = Field(
        default=0, ge=0, le=65_536, description="Windows of history a step; 0: by the size of the data."
    )
    half_life: int = Field(
        default=72,
        ge=1,
        description="Weeks (of hourly demand: days) after which older history is drawn half as often.",
    )
    cold: float = Field(
        default=0.04,
        ge=0,
        le=1,
        description="Share of the windows without their history, to learn what new series are like.",
    )
    parts: int = Field(
        default=4, ge=1, description="Into how many the horizon is cut; a step trains one of them."
    )
    channels: int = Field(
        default=64, ge=8, le=1024, description="Width of the network; a change trains from scratch."
    )
    hidden: int = Field(
        default=128, ge=8, le=4096, description="Width of its layers between; a change trains from scratch."
    )

    @property
    def number_of_devices(self) -> int | None:
        """None for auto."""
        return None if self.devices == "auto" else self.devices
