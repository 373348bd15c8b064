"""Events that recur every year, as rules that give the occurrences of any span of time."""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Final

from forecast.demand.events.model import DAY, PHASES, Event, Phase, check_intensity, check_prior
from forecast.errors import InputError

Offsets = tuple[int, int]
"""First and last day relative to a rule's date, both included."""

_ORDINALS: Final = {"1st": 1, "2nd": 2, "3rd": 3, "4th": 4, "5th": 5, "last": -1}
_WEEKDAYS: Final = {name.lower(): number for number, name in enumerate(calendar.day_name)}
_MONTHS: Final = {name.lower(): number for number, name in enumerate(calendar.month_name) if name}
_FIXED: Final = re.compile(r"(lunar )?(\d\d)-(\d\d)")
_WEEKDAY: Final = re.compile(r"(\w+) (\w+) of (\w+)")
_LUNAR_YEARS: Final = range(1900, 2100)
FORMS: Final = "MM-DD, 'lunar MM-DD', '4th thursday of november', 'last monday of may' or 'easter'"


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A recurring event.

    on: when, in one of the forms of `FORMS`; the other days are counted from it.
    days: the event's own days; phases: the phases around it. since, until: first and last year, if any.
    like, lift: as of an event; the phases say nothing of their lift.
    """

    name: str
    kind: str
    on: str
    days: Offsets = (0, 0)
    phases: Mapping[str, Offsets] = field(default_factory=dict)
    platforms: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    intensity: float = 1.0
    since: int = date.min.year
    until: int = date.max.year
    like: str | None = None
    lift: float | None = None

    def __post_init__(self) -> None:
        anchor(self.on, 2024)  # a leap year, so that 02-29 is accepted
        check_intensity(self.intensity)
        check_prior(self.kind, self.like, self.lift)
        for name, (first, last) in {DAY: self.days, **self.phases}.items():
            if name not in PHASES:
                raise InputError("phases", expected=f"some of {', '.join(PHASES)}", found=repr(name))
            if last < first:
                raise InputError(name, expected=f"a last day of {first} or later", found=str(last))

    def occurrences(self, start: date, end: date) -> Iterator[Event]:
        """The occurrences of which any phase shares a day with `start`..`end`, in order of time."""
        for year in range(max(start.year - 1, self.since), min(end.year + 1, self.until) + 1):
            day = anchor(self.on, year)
            if day is None:
                continue
            event = self._on(day)
            if event.touches(start, end):
                yield event

    def _on(self, day: date) -> Event:
        def shifted(offsets: Offsets) -> tuple[date, date]:
            return day + timedelta(days=offsets[0]), day + timedelta(days=offsets[1])

        first, last = shifted(self.days)
        spans = {name: shifted(offsets) for name, offsets in self.phases.items()}
        return Event(
            name=f"{self.name} {day.year}",
            kind=self.kind,
            start=first,
            end=last,
            platforms=self.platforms,
            locations=self.locations,
            intensity=self.intensity,
            phases=tuple(Phase(name=name, start=span[0], end=span[1]) for name, span in spans.items()),
            like=self.like,
            lift=self.lift,
        )


def anchor(text: str, year: int) -> date | None:
    """The day that a rule's date means in a year; None when that year has no such day.

    Raises InputError when the text has none of the forms in `FORMS`, or a lunar date is outside 1900 to 2099.
    """
    if text == "easter":
        return easter(year)
    fixed, weekday = _FIXED.fullmatch(text), _WEEKDAY.fullmatch(text)
    if fixed and 1 <= int(fixed[2]) <= 12 and 1 <= int(fixed[3]) <= 31:
        month, day = int(fixed[2]), int(fixed[3])
        return _lunar(year, month, day) if fixed[1] else _solar(year, month, day)
    if weekday and weekday[1] in _ORDINALS and weekday[2] in _WEEKDAYS and weekday[3] in _MONTHS:
        return nth_weekday(year, _MONTHS[weekday[3]], _WEEKDAYS[weekday[2]], _ORDINALS[weekday[1]])
    raise InputError("date", expected=FORMS, found=repr(text))


def _solar(year: int, month: int, day: int) -> date | None:
    return date(year, month, day) if day <= calendar.monthrange(year, month)[1] else None


def _lunar(year: int, month: int, day: int) -> date | None:
    from lunar_python import Lunar, LunarMonth

    if year not in _LUNAR_YEARS:
        found = f"the year {year}"
        raise InputError(
            "lunar date", expected=f"a year {_LUNAR_YEARS[0]} to {_LUNAR_YEARS[-1]}", found=found
        )
    if day > LunarMonth.fromYm(year, month).getDayCount():
        return None
    return date.fromisoformat(Lunar.fromYmd(year, month, day).getSolar().toYmd())


def nth_weekday(year: int, month: int, weekday: int, n: int) -> date | None:
    """The n-th (from 1; -1 the last) `weekday` (Monday 0) of a month; None when there is no fifth."""
    days = [week[weekday] for week in calendar.monthcalendar(year, month) if week[weekday]]
    return date(year, month, days[n if n < 0 else n - 1]) if n <= len(days) else None


def easter(year: int) -> date:
    """Western Easter Sunday (the anonymous Gregorian computus; Meeus, Astronomical Algorithms, chapter 8)."""
    century, of_century = divmod(year, 100)
    golden = year % 19
    corrected = (century - (century + 8) // 25 + 1) // 3
    epact = (19 * golden + century - century // 4 - corrected + 15) % 30
    weekday = (32 + 2 * (century % 4) + 2 * (of_century // 4) - epact - of_century % 4) % 7
    late = (golden + 11 * epact + 22 * weekday) // 451
    month, day = divmod(epact + weekday - 7 * late + 114, 31)
    return date(year, month, day + 1)
