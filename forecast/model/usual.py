"""What a year before was like, left out: a horizon that remembers nothing of an event.

Letters: B windows, D periods of a window, H horizon, U unions.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from forecast.demand.panel import Period
from forecast.model.config import ModelConfig
from forecast.model.windows import Windows

WEEK: Final[dict[Period, int]] = {"hour": 168, "day": 7, "week": 1}
"""Periods of a week."""


def whole_weeks(config: ModelConfig) -> int:
    """Periods of the last whole weeks of the patches that the level is measured over, one at least."""
    week = WEEK[config.period]
    return max(min(config.scale, config.context) * config.patch // week, 1) * week


def usual_memory(windows: Windows, off_BH: Tensor, config: ModelConfig) -> Windows:
    """The windows whose analog features are, in the horizon's periods that are `off`, as they usually are:
    their median over the last whole weeks at the same place of the week."""
    analogs = {
        name: _usual(getattr(windows, name), off_BH, config)
        for name in Windows._fields
        if name.startswith("analog_")
    }
    return windows._replace(**analogs)


def _usual(values_BD: Tensor, off_BH: Tensor, config: ModelConfig) -> Tensor:
    """An analog feature, (B, D) or (B, D, U)."""
    h, week = config.horizon, WEEK[config.period]
    past_BD = values_BD[:, -h - whole_weeks(config) : -h]
    usual_BW = past_BD.unflatten(1, (-1, week)).median(dim=1).values
    usual_BH = usual_BW[:, torch.arange(h, device=values_BD.device) % week]
    off = off_BH if values_BD.dim() == 2 else off_BH[:, :, None]
    return torch.cat([values_BD[:, :-h], torch.where(off, usual_BH, values_BD[:, -h:])], dim=1)
