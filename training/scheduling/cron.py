"""Times as cron writes them: minute, hour, day of the month, month, weekday.

As in Vixie cron, 0 and 7 are Sunday, and where both day and weekday are restricted, either is enough. A time
that the clocks skip in spring comes as much later; one that they repeat in autumn comes once, but with every
hour (`*`) in both.
"""

from __future__ import annotations

import calendar
import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final
from zoneinfo import ZoneInfo

from forecast.errors import UsageError

FIELD: Final = "schedule.cron"
NICKNAMES: Final[Mapping[str, str]] = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS: Final = {name.lower(): number for number, name in enumerate(calendar.month_abbr) if name}
_WEEKDAYS: Final = {
    name: number for number, name in enumerate(("sun", "mon", "tue", "wed", "thu", "fri", "sat"))
}
_LONGEST: Final = {month: calendar.monthrange(2024, month)[1] for month in range(1, 13)}
_PART: Final = re.compile(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?")


@dataclass(frozen=True, kw_only=True)
class _Field:
    """One of the five: what it is called, its limits, and the names of its values."""

    name: str
    low: int
    high: int
    names: Mapping[str, int]


_FIELDS: Final = (
    _Field(name="minute", low=0, high=59, names={}),
    _Field(name="hour", low=0, high=23, names={}),
    _Field(name="day", low=1, high=31, names={}),
    _Field(name="month", low=1, high=12, names=_MONTHS),
    _Field(name="weekday", low=0, high=7, names=_WEEKDAYS),
)


@dataclass(frozen=True, kw_only=True)
class Cron:
    """Days and times of the day. weekdays: Sunday is 0. days, weekdays: None where any will do."""

    minutes: frozenset[int]
    hours: frozenset[int]
    days: frozenset[int] | None
    months: frozenset[int]
    weekdays: frozenset[int] | None

    def on(self, day: date) -> bool:
        """Whether it comes on a day."""
        if day.month not in self.months:
            return False
        given = (
            (self.days, day.day),
            (self.weekdays, day.isoweekday() % 7),
        )
        restricted = [value in values for values, value in given if values is not None]
        return any(restricted) or not restricted

    def moments(self, day: date, zone: ZoneInfo) -> Iterator[datetime]:
        """The moments of a day in a zone, in UTC, each once, in order."""
        if not self.on(day):
            return
        found = set()
        for wall in (time(hour, minute) for hour in self.hours for minute in self.minutes):
            found.add(datetime.combine(day, wall, zone).astimezone(UTC))
            again = datetime.combine(day, wall.replace(fold=1), zone).astimezone(UTC)
            if len(self.hours) == 24 and again.astimezone(zone).time() == wall:
                found.add(again)
        yield from sorted(found)

    @property
    def never(self) -> str:
        """Why it never comes; empty where it does."""
        if self.days is None or self.weekdays is not None:
            return ""
        longest = max(_LONGEST[month] for month in self.months)
        if min(self.days) <= longest:
            return ""
        names = ", ".join(calendar.month_name[month] for month in sorted(self.months))
        return f"day {min(self.days)} of {names}, which has {longest} at most"


def parse_cron(text: str) -> Cron:
    """Read the five fields. Raises UsageError that names the field, and one for a time that never comes."""
    written = text.strip().lower()
    if written.startswith("@"):
        if written not in NICKNAMES:
            raise UsageError(
                f"{FIELD}: expected one of {', '.join(NICKNAMES)}, found {text!r}{_near(written)}"
            )
        written = NICKNAMES[written]
    parts = written.split()
    if len(parts) != len(_FIELDS):
        expected = "five fields (minute, hour, day, month, weekday) such as 0 3 * * mon"
        raise UsageError(f"{FIELD}: expected {expected}, found {len(parts)} in {text!r}")
    minutes, hours, days, months, weekdays = (
        _values(part, field) for part, field in zip(parts, _FIELDS, strict=True)
    )
    cron = Cron(
        minutes=minutes,
        hours=hours,
        days=None if parts[2].startswith("*") and len(days) == 31 else days,
        months=months,
        weekdays=None if parts[4] == "*" else frozenset(value % 7 for value in weekdays),
    )
    if cron.never:
        raise UsageError(f"{FIELD}: expected a day that comes, found {text!r}: {cron.never}")
    return cron


def _values(text: str, field: _Field) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _wrong(field, part)
        first, last, step = match.groups()
        if first == "*":
            if last is not None:
                raise _wrong(field, part)
            low, high = field.low, 6 if field.name == "weekday" else field.high
        else:
            low = _number(first, field)
            high = _number(last, field) if last else (field.high if step else low)
        if high < low or step == "0":
            raise _wrong(field, part)
        found.update(range(low, high + 1, int(step or 1)))
    return frozenset(found)


def _number(text: str, field: _Field) -> int:
    value = field.names.get(text, int(text) if text.isdecimal() else -1)
    if not field.low <= value <= field.high:
        raise _wrong(field, text)
    return value


def _wrong(field: _Field, found: str) -> UsageError:
    expected = f"{field.low}..{field.high}" + (f", or {', '.join(field.names)}" if field.names else "")
    near = difflib.get_close_matches(found, field.names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return UsageError(f"{FIELD}: {field.name}: expected {expected}, found {found!r}{hint}")


def _near(written: str) -> str:
    near = difflib.get_close_matches(written, NICKNAMES, n=1)
    return f"; did you mean {near[0]}?" if near else ""
