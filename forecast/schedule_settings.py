"""`[schedule]` of the settings: when the model is trained again, and when it forecasts again.

```toml
[schedule]
every = "week"                     # or day; or cron = "0 3 * * mon,thu"
weekday = "monday"
at = "03:00"

[schedule.events.double-11]        # a kind of event of the calendars
days_before = 14                   # trained daily on so many days before it
on_day_every = "1h"                # forecast again so often on its days
```
"""

from __future__ import annotations

import difflib
import re
from datetime import time, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from forecast.zones import known_zone

_EVERY: Final = re.compile(r"([1-9]\d*)(m|h)")
_UNITS: Final = {"m": timedelta(minutes=1), "h": timedelta(hours=1)}
SHORTEST: Final = timedelta(minutes=5)


def _time_of_day(text: str) -> str:
    if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", text):
        raise ValueError("Input should be a time of the day, such as 03:00")
    return text


def _interval(text: str) -> str:
    step = interval(text)
    if text and (step is None or not SHORTEST <= step <= timedelta(days=1)):
        raise ValueError('Input should be 5m to 24h, such as "1h" or "30m", or empty')
    return text


def interval(text: str) -> timedelta | None:
    """`1h` or `30m` as a duration; None where it is neither."""
    found = _EVERY.fullmatch(text)
    return int(found[1]) * _UNITS[found[2]] if found else None


class EventDensity(BaseModel):
    """What changes around the occurrences of one kind of event."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    days_before: int = Field(default=14, ge=0, le=366)
    on_day_every: Annotated[str, AfterValidator(_interval)] = "1h"

    @model_validator(mode="before")
    @classmethod
    def _names(cls, values: Any) -> Any:
        if not isinstance(values, (dict, cls)):
            raise ValueError("Input should be a table such as { days_before = 14, on_day_every = '1h' }")
        for name in values if isinstance(values, dict) else ():
            if name not in cls.model_fields:
                near = difflib.get_close_matches(str(name), cls.model_fields, n=1)
                hint = f" (did you mean {near[0]} instead of {name}?)" if near else ""
                raise ValueError(f"Input should be keys {', '.join(cls.model_fields)}{hint}")
        return values

    @property
    def step(self) -> timedelta | None:
        """Time between two forecasts on the event's days; None for none."""
        return interval(self.on_day_every)


class ScheduleSettings(BaseModel):
    """`[schedule]`: when `surgecast schedule run` trains and publishes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: Literal["week", "day", "never"] = Field(
        default="week",
        description="How often to retrain: week, day or never (around events alone); cron wins over it.",
    )
    weekday: Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"] = Field(
        default="monday", description="The day of a weekly retraining."
    )
    at: Annotated[str, AfterValidator(_time_of_day)] = Field(
        default="03:00", description="Time of the day of a retraining."
    )
    cron: str = Field(
        default="",
        description="When to retrain, as cron has it: minute, hour, day, month, weekday; every, weekday where"
        " empty.",
    )
    timezone: Annotated[str, AfterValidator(lambda name: known_zone(name) if name else name)] = Field(
        default="", description="Zone of these times; that of [demand] where empty."
    )
    events: dict[str, EventDensity] = Field(
        default={},
        description="By kind of event: days_before, on which to retrain daily, and on_day_every, how often to"
        " publish on its days; a table each, as [schedule.events.double-11].",
    )
    catch_up_hours: float = Field(
        default=168.0,
        ge=0,
        le=8784,
        description="A run that was missed by no more than this (the machine was off) is made up for once.",
    )
    keep_history: int = Field(
        default=2000, ge=10, description="Runs that `surgecast schedule history` remembers."
    )

    @property
    def time_of_day(self) -> time:
        """`at`."""
        return time.fromisoformat(self.at)
