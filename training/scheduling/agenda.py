"""The plan of a home: its settings and calendars, looked at from any moment on."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from forecast.demand.events.calendars import SHIPPED, combine, shipped
from forecast.demand.events.model import Event
from forecast.errors import UsageError
from forecast.home import Home
from forecast.schedule_settings import ScheduleSettings
from forecast.settings import Settings, load_settings
from training.scheduling.plan import ACTIONS, Action, Firing, firings, regular

DAY: Final = timedelta(days=1)
LOOKS: Final = (40 * DAY, 400 * DAY, 3300 * DAY)
"""How far ahead the next firing is looked for, by and by; 29 February may be eight years off."""
KNOWN_AHEAD: Final = 1100 * DAY
"""How far ahead an event of a kind is looked for, before it is said never to come; and how far back."""


@dataclass(frozen=True, kw_only=True)
class Agenda:
    """When to do what in a home, as its settings and calendars are when this is made."""

    home: Home
    settings: ScheduleSettings
    calendars: tuple[str, ...]
    zone: ZoneInfo
    _events: dict[tuple[date, date], list[Event]] = field(default_factory=dict, repr=False, compare=False)

    def between(self, start: datetime, end: datetime) -> tuple[Firing, ...]:
        """All firings from `start` on and before `end`."""
        if end <= start:
            return ()
        first, last = (moment.astimezone(self.zone).date() for moment in (start, end))
        reach = max((one.days_before for one in self.settings.events.values()), default=0)
        events = self._wanted(first - 2 * DAY, last + (reach + 2) * DAY)
        return firings(self.settings, self.zone, events, start, end)

    def first(self, action: Action, moment: datetime) -> Firing | None:
        """The first firing of an action at a moment or later; None where there is none in years."""
        begin = moment
        for far in LOOKS:
            for one in self.between(begin, moment + far):
                if one.action == action:
                    return one
            begin = moment + far
        return None

    def at(self, action: Action, moment: datetime) -> Firing:
        """The firing of an action at a moment that is known to have one; its reason may be gone by now."""
        for one in self.between(moment, moment + timedelta(seconds=1)):
            if one.action == action:
                return one
        return Firing(at=moment, action=action, why="an earlier schedule")

    def _wanted(self, first: date, last: date) -> list[Event]:
        """Events of the kinds in the settings; whole years are read and kept, for reading is slow."""
        if not self.settings.events:
            return []
        span = date(first.year, 1, 1), date(min(last.year, 9998), 12, 31)
        if span not in self._events:
            found = combine(self.home, self.calendars, *span)
            self._events[span] = [event for event in found if event.kind in self.settings.events]
        return self._events[span]


def load_agenda(home: Home, now: datetime) -> Agenda:
    """The agenda by the home's settings. Raises UsageError for a schedule that never fires."""
    return make_agenda(home, load_settings(home), now)


def make_agenda(home: Home, settings: Settings, now: datetime) -> Agenda:
    """The agenda by these settings. Raises UsageError for a schedule, or a part of it, that never fires."""
    wanted = settings.schedule
    agenda = Agenda(
        home=home,
        settings=wanted,
        calendars=settings.events.calendars,
        zone=ZoneInfo(wanted.timezone or settings.demand.timezone),
    )
    cron, _ = regular(wanted)
    _check_kinds(agenda, now)
    if cron is None and all(agenda.first(action, now) is None for action in ACTIONS):
        expected = "something to do: every, cron, or an event that comes"
        raise UsageError(
            f"schedule: expected {expected}, found none in the next {LOOKS[-1].days // 365} years"
        )
    return agenda


def watched(home: Home) -> Mapping[Path, int]:
    """The files that the plan depends on and when they were written."""
    files = [home.settings_file]
    if home.events_dir.is_dir():
        files += sorted(home.events_dir.iterdir())
    found = {}
    for path in files:
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return found


def _check_kinds(agenda: Agenda, now: datetime) -> None:
    """Raise UsageError for a kind of event that no calendar knows, or that never comes again."""
    if not agenda.settings.events:
        return
    today = now.astimezone(agenda.zone).date()
    last = today + KNOWN_AHEAD
    coming = {
        event.kind for event in combine(agenda.home, agenda.calendars, today, last) if event.end >= today
    }
    for kind in agenda.settings.events:
        if kind in coming:
            continue
        where = f"schedule.events.{kind}"
        past = combine(agenda.home, agenda.calendars, today - KNOWN_AHEAD, today)
        if any(event.kind == kind for event in past):
            raise UsageError(
                f"{where}: expected a kind of event that comes, found none after {today} in the calendars"
            )
        raise UsageError(f"{where}: {_unknown(kind, coming, agenda.calendars)}")


def _unknown(kind: str, known: set[str], calendars: tuple[str, ...]) -> str:
    for name in SHIPPED:
        if name not in calendars and kind in _kinds(name):
            there = ", ".join(f'"{one}"' for one in (*calendars, name))
            return (
                f"expected a kind of event of the calendars in use, found {kind!r}, which is in {name!r};"
                f" say calendars = [{there}] in [events]"
            )
    others = {one for name in SHIPPED for one in _kinds(name)}
    near = difflib.get_close_matches(kind, known, n=1) or difflib.get_close_matches(kind, others, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    there = ", ".join(sorted(known)[:12]) or "none: name calendars in [events]"
    return f"expected a kind of event that a calendar knows ({there}), found {kind!r}{hint}"


def _kinds(name: str) -> set[str]:
    calendar = shipped(name)
    return {rule.kind for rule in calendar.rules} | {event.kind for event in calendar.events}
