"""Calendars that ship with surgecast, public holidays, and all the events that an installation knows."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import date, timedelta
from importlib import resources
from typing import Final

from forecast.demand.events.files import Calendar, parse_toml, read_calendar
from forecast.demand.events.model import Event
from forecast.errors import UsageError
from forecast.home import Home
from forecast.settings import Settings

SHIPPED: Final[tuple[str, ...]] = ("china", "us-retail")
HOLIDAYS: Final = "holidays:"
"""Prefix of the public holidays of a country (`holidays:US`) or a part of it (`holidays:US-CA`)."""


def occurrences(name: str, start: date, end: date) -> list[Event]:
    """The events of one calendar of which any phase shares a day with `start`..`end`, in order of time.

    Raises UsageError for a calendar that is not shipped.
    """
    if name.startswith(HOLIDAYS):
        return _public_holidays(name.removeprefix(HOLIDAYS), start, end)
    return shipped(name).occurrences(start, end)


def shipped(name: str) -> Calendar:
    """A calendar of `SHIPPED`."""
    if name not in SHIPPED:
        near = difflib.get_close_matches(name, SHIPPED, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join(SHIPPED)
        raise UsageError(f"events.calendars: expected {known} or {HOLIDAYS}COUNTRY, found {name!r}{hint}")
    file = resources.files("forecast.demand.events") / "data" / f"{name}.toml"
    return parse_toml(file.read_text(encoding="utf-8"), f"{name}.toml")


def load_events(home: Home, settings: Settings, start: date, end: date) -> list[Event]:
    """All events that touch `start`..`end`: the calendars that the settings name and the files of the home.

    Without either there are none. Raises UsageError for an unknown calendar, InputError for a bad file.
    """
    return combine(home, settings.events.calendars, start, end)


def combine(home: Home, calendars: Sequence[str], start: date, end: date) -> list[Event]:
    """Like `load_events`, with the calendars given by name."""
    found: list[Event] = []
    for name in calendars:
        found += occurrences(name, start, end)
    files = sorted(home.events_dir.iterdir()) if home.events_dir.is_dir() else []
    for path in files:
        if path.suffix in (".toml", ".csv") and not path.name.startswith("."):
            found += read_calendar(path).occurrences(start, end)
    return sorted(found, key=lambda event: (event.start, event.kind, event.name))


def _public_holidays(place: str, start: date, end: date) -> list[Event]:
    import holidays

    country, _, subdivision = place.partition("-")
    years = range(start.year, end.year + 1)
    try:
        days = holidays.country_holidays(
            country, subdiv=subdivision or None, years=years, language=_english(country), expand=False
        )
    except NotImplementedError as error:
        expected = "a country (ISO 3166) or its part that the holidays package knows"
        raise UsageError(f"events.calendars: expected {expected}, found {place!r} ({error})") from error
    named = sorted((day, part.strip()) for day, names in days.items() for part in names.split(";"))
    return [
        Event(name=f"{title} {first.year}", kind=f"{place.lower()}-{_slug(title)}", start=first, end=last)
        for title, first, last in _joined(named)
        if first <= end and last >= start
    ]


def _english(country: str) -> str | None:
    import holidays

    languages = holidays.list_localized_countries().get(country, [])
    return next((language for language in languages if language.startswith("en")), None)


def _joined(named: list[tuple[date, str]]) -> list[tuple[str, date, date]]:
    """Name, first and last day of each holiday; days of one name that follow each other are one holiday."""
    spans: dict[str, list[tuple[date, date]]] = {}
    for day, raw in named:
        title = re.sub(r"\s*\([^)]*\d[^)]*\)|\s*\((observed|estimated)[^)]*\)", "", raw).strip()
        earlier = spans.setdefault(title, [])
        if earlier and day - earlier[-1][1] <= timedelta(days=1):
            earlier[-1] = (earlier[-1][0], day)
        else:
            earlier.append((day, day))
    return sorted(
        ((title, first, last) for title, pairs in spans.items() for first, last in pairs),
        key=lambda item: (item[1], item[0]),
    )


def _slug(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower().replace("'", "")).strip("-")
