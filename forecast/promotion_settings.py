"""`[promotion]` of the settings: what a challenger must be like to become champion."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class PromotionSettings(BaseModel):
    """`[promotion]`: the promotion gate."""

    model_config = ConfigDict(frozen=True, extra="forbid")
