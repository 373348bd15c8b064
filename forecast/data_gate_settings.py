"""`[data_gate]` of the settings: what demand must be like before a model is trained on it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class DataGateSettings(BaseModel):
    """`[data_gate]`: the data gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")
