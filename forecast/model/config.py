"""What shapes the model: sizes and windows, frozen with the weights in a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from forecast.demand.panel import Period
from forecast.errors import UsageError

PATCH: dict[Period, int] = {"hour": 24, "day": 7, "week": 1}
YEAR: dict[Period, int] = {"hour": 364 * 24, "day": 364, "week": 52}
"""Periods of a year that keep weekday and hour in step."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the network and of its window, counted in patches (a patch is a day of hours, a week of days,
    one week).

    horizon: periods ahead, H.
    context: patches of history that the encoder sees before an origin.
    origins: consecutive patch ends of one window that are trained at once (forking sequences).
    scale: patches of the trailing mean that scales a series.
    event_reach: periods before and after an event that may feel it.
    """

    period: Period
    horizon: int
    context: int = 32
    origins: int = 40
    scale: int = 13
    event_reach: int = 14
    channels: int = 64
    hidden: int = 64
    event_channels: int = 16
    static_dim: int = 16
    dropout: float = 0.1
    scenarios: int = 100

    @classmethod
    def for_history(cls, period: Period, *, horizon: int, n_periods: int) -> Self:
        """Windows that fit a history of `n_periods`: shorter where there is less of it."""
        n_patches = n_periods // PATCH[period]
        return cls(
            period=period,
            horizon=horizon,
            context=min(max(n_patches // 2, 4), 32),
            origins=min(max(n_patches - 6, 4), 40),
        )

    def __post_init__(self) -> None:
        if not 1 <= self.horizon <= 1024:
            raise UsageError(f"horizon: expected 1..1024 periods, found {self.horizon}")
        if not 2 <= self.scenarios <= 256:
            raise UsageError(f"scenarios: expected 2..256, found {self.scenarios}")

    @property
    def patch(self) -> int:
        """Periods of a patch."""
        return PATCH[self.period]

    @property
    def week(self) -> int:
        """Patches of a week, 1 where a patch is a week or more."""
        return 7 if self.period == "hour" else 1

    @property
    def window(self) -> int:
        """Patches of a training window: context and origins."""
        return self.context + self.origins - 1

    @property
    def year(self) -> int:
        """Periods back to the same season, at least a horizon."""
        return YEAR[self.period] * -(-self.horizon // YEAR[self.period])
