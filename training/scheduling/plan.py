"""The plan: what is to be done when, and why. A pure function of settings, events and a span of time.

Days and times of the day are those of the schedule's zone; moments are in UTC. A time that the clocks skip in
spring comes as much later, one that they repeat in autumn comes once; a day's hourly forecasts are as many as
the day has hours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final, Literal
from zoneinfo import ZoneInfo

from forecast.demand.events.model import Event
from forecast.schedule_settings import ScheduleSettings
from training.scheduling.cron import Cron, parse_cron

Action = Literal["retrain", "publish"]
ACTIONS: Final[tuple[Action, ...]] = ("retrain", "publish")
DAY: Final = timedelta(days=1)
HOUR: Final = timedelta(hours=1)


@dataclass(frozen=True, kw_only=True, order=True)
class Firing:
    """Something to do. at: when, in UTC. why: the rules that ask for it, in words."""

    at: datetime
    action: Action
    why: str


def firings(
    settings: ScheduleSettings, zone: ZoneInfo, events: Sequence[Event], start: datetime, end: datetime
) -> tuple[Firing, ...]:
    """All that is to be done from `start` on and before `end`, in order; nothing twice at one moment.

    events: those that touch the span, with the days before them; other kinds than the settings name do not
    matter. Raises UsageError for a cron text that is none.
    """
    reasons: dict[tuple[datetime, Action], list[str]] = {}
    first, last = (moment.astimezone(zone).date() for moment in (start, end))
    for at, action, why in (
        *_regular(settings, zone, first, last),
        *(one for event in events for one in _around(settings, zone, event)),
    ):
        if start <= at < end:
            reasons.setdefault((at, action), []).append(why)
    found = (
        Firing(at=at, action=action, why=" + ".join(dict.fromkeys(words)))
        for (at, action), words in reasons.items()
    )
    return tuple(sorted(found, key=lambda one: (one.at, ACTIONS.index(one.action))))


def regular(settings: ScheduleSettings) -> tuple[Cron | None, str]:
    """The regular times, None where there are none, and how to call them."""
    if settings.cron:
        return parse_cron(settings.cron), f"cron {settings.cron}"
    if settings.every == "never":
        return None, "never"
    at = settings.time_of_day
    weekday = settings.weekday[:3] if settings.every == "week" else "*"
    name = "weekly" if settings.every == "week" else "daily"
    return parse_cron(f"{at.minute} {at.hour} * * {weekday}"), name


_Found = tuple[datetime, Action, str]


def _regular(settings: ScheduleSettings, zone: ZoneInfo, first: date, last: date) -> Iterator[_Found]:
    cron, name = regular(settings)
    if cron is not None:
        for n in range(-1, (last - first).days + 1):  # a time that is skipped at midnight comes a day later
            for at in cron.moments(first + n * DAY, zone):
                yield at, "retrain", name


def _around(settings: ScheduleSettings, zone: ZoneInfo, event: Event) -> Iterator[_Found]:
    density = settings.events.get(event.kind)
    if density is None:
        return
    for days in range(density.days_before, 0, -1):
        day = event.start - days * DAY
        at = datetime.combine(day, settings.time_of_day, zone).astimezone(UTC)
        yield at, "retrain", f"{days} day{'s' if days > 1 else ''} before {event.name}"
    if density.step is None:
        return
    n_days = (event.end - event.start).days + 1
    for n in range(n_days):
        midnight, next_midnight = (
            datetime.combine(event.start + k * DAY, time(), zone).astimezone(UTC) for k in (n, n + 1)
        )
        which = f", day {n + 1} of {n_days}" if n_days > 1 else ""
        at = midnight
        while at < next_midnight:
            yield at, "publish", f"{_hour(at - midnight)} of {event.name}{which}"
            at += density.step


def _hour(since: timedelta) -> str:
    hours, rest = divmod(since, HOUR)
    return f"hour {hours}" + (f":{rest // timedelta(minutes=1):02}" if rest else "")
