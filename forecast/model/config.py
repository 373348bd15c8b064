"""What shapes the model: sizes and windows, frozen with the weights in a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from forecast.demand.panel import Period
from forecast.errors import UsageError

PATCH: dict[Period, int] = {"hour": 24, "day": 7, "week": 1}
YEAR: dict[Period, int] = {"hour": 364 * 24, "day": 364, "week": 52}
"""Periods of a year that keep weekday and hour in step."""

DILATIONS = (1, 2, 4, 8)
"""Of the encoder's causal convolutions over patches, three taps each."""
REACH = 1 + 2 * sum(DILATIONS)
"""Patches that the encoder sees: the one at the origin and those before it."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the network and of its window, counted in patches (a patch is a day of hours, a week of days,
    one week).

    horizon: periods ahead, H.
    context: patches of history that every origin of a window has in it, at least `REACH`.
    origins: consecutive patch ends of one window that are trained at once (forking sequences).
    scale: patches of the trailing mean that scales a series.
    event_reach: periods before and after an event that may feel it.
    members: networks whose forecasts are averaged.
    label_dropout: share of static labels hidden in training, so that a label never seen has a use.
    """

    period: Period
    horizon: int
    context: int = 32
    origins: int = 40
    scale: int = 13
    event_reach: int = 14
    channels: int = 64
    hidden: int = 128
    event_channels: int = 16
    members: int = 1
    static_dim: int = 16
    label_dropout: float = 0.1
    scenarios: int = 100

    @classmethod
    def for_history(
        cls,
        period: Period,
        *,
        horizon: int,
        n_periods: int,
        members: int = 1,
        channels: int = 64,
        hidden: int = 128,
    ) -> Self:
        """As many origins in a window as a history of `n_periods` has, 40 at most."""
        n_patches = n_periods // PATCH[period]
        return cls(
            period=period,
            horizon=horizon,
            origins=min(max(n_patches - 6, 4), 40),
            members=members,
            channels=channels,
            hidden=hidden,
        )

    def __post_init__(self) -> None:
        if not 1 <= self.horizon <= 1024:
            raise UsageError(f"horizon: expected 1..1024 periods, found {self.horizon}")
        if self.context < REACH:
            raise UsageError(f"context: expected at least {REACH} patches, found {self.context}")
        if not 1 <= self.members <= 16:
            raise UsageError(f"members: expected 1..16, found {self.members}")
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
    def analog_gap(self) -> int:
        """Periods at least between a period and the past one that it resembles: the horizon, and half a
        patch, since the past level is a mean over as much to either side. So all of it lies before the
        origin."""
        return self.horizon + self.patch // 2

    @property
    def year(self) -> int:
        """Periods back to the same season, at least `analog_gap`."""
        return YEAR[self.period] * -(-self.analog_gap // YEAR[self.period])
