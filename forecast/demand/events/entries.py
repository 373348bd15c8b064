"""One entry of a calendar file, checked field by field, whatever the file's format."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

from forecast.demand.events.model import DAY, Event, Phase, check_lift
from forecast.demand.events.rules import Offsets, Rule
from forecast.errors import InputError

EVENT_KEYS = ("name", "kind", "start", "end", "platforms", "locations", "intensity", "phase", "like", "lift")
PHASE_KEYS = ("name", "start", "end", "intensity", "lift")
RULE_KEYS = (
    "name", "kind", "date", "days", "phases", "platforms", "locations", "intensity", "since", "until",
    "like", "lift",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A table of a calendar file and where it stands, so that errors can say so."""

    where: str
    values: Mapping[str, object]

    def error(self, field: str, expected: str, found: object) -> InputError:
        """An error about one field of this entry."""
        return InputError(f"{self.where}: {field}", expected=expected, found=str(found))

    def check_keys(self, known: tuple[str, ...]) -> None:
        """Raise InputError for a key that is not known, with the nearest that is."""
        for key in self.values:
            if key not in known:
                near = difflib.get_close_matches(key, known, n=1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise self.error(key, f"one of the fields {', '.join(known)}", f"{key!r}{hint}")

    def text(self, key: str) -> str:
        """A text that is not empty."""
        value = self.values.get(key)
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, "a text", "nothing" if value is None else repr(value))
        return value

    def day(self, key: str, default: date | None = None) -> date:
        """A day, given as a TOML date or as text YYYY-MM-DD."""
        value = self.values.get(key)
        if value is None and default is not None:
            return default
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        if isinstance(value, str):
            try:
                return date.fromisoformat(value)
            except ValueError as error:
                raise self.error(key, "a day YYYY-MM-DD", repr(value)) from error
        raise self.error(key, "a day YYYY-MM-DD", "nothing" if value is None else value)

    def number(self, key: str, default: float) -> float:
        """A number; whether it is finite and not negative is checked by what takes it."""
        value = self.values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise self.error(key, "a number", repr(value))
        return float(value)

    def multiple(self) -> float | None:
        """The lift, if one is given."""
        if "lift" not in self.values:
            return None
        value = self.number("lift", 1.0)
        with self.located():
            check_lift(value)
        return value

    def borrowed(self) -> str | None:
        """The kind that this one is like, if one is given."""
        return self.text("like") if "like" in self.values else None

    def year(self, key: str, default: int) -> int:
        """A year as an integer."""
        value = self.values.get(key, default)
        if (
            isinstance(value, bool)
            or not isinstance(value, int)
            or not date.min.year <= value <= date.max.year
        ):
            raise self.error(key, "a year", repr(value))
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; one text alone is a list of one."""
        value = self.values.get(key, ())
        items = [value] if isinstance(value, str) else value
        if not isinstance(items, (list, tuple)) or not all(isinstance(item, str) and item for item in items):
            raise self.error(key, "a list of texts", repr(value))
        return tuple(items)

    def offsets(self, key: str, value: object) -> Offsets:
        """Two whole numbers of days."""
        if isinstance(value, list) and len(value) == 2 and all(type(item) is int for item in value):
            return value[0], value[1]
        raise self.error(key, "two whole numbers of days, first and last", repr(value))

    def event(self) -> Event:
        """The entry as an event."""
        self.check_keys(EVENT_KEYS)
        start = self.day("start")
        kind = self.text("kind")
        with self.located():
            return Event(
                name=self.text("name") if "name" in self.values else f"{kind} {start.year}",
                kind=kind,
                start=start,
                end=self.day("end", start),
                platforms=self.texts("platforms"),
                locations=self.texts("locations"),
                intensity=self.number("intensity", 1.0),
                phases=tuple(self._phases(self.multiple())),
                like=self.borrowed(),
                lift=self.multiple(),
            )

    def _phases(self, lift: float | None) -> list[Phase]:
        tables = self.values.get("phase", [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            raise self.error("phase", "tables [[event.phase]]", repr(tables))
        return [
            Entry(where=f"{self.where}, phase {number}", values=table).phase(lift)
            for number, table in enumerate(tables, start=1)
        ]

    def phase(self, lift: float | None = None) -> Phase:
        """The entry as a phase of an event of that lift.

        A phase without a lift of its own has the event's to the power of its intensity, where that is given.
        Where neither is, its demand is ordinary; further days of the event are like the others.
        """
        self.check_keys(PHASE_KEYS)
        start = self.day("start")
        own, intensity = self.multiple(), self.number("intensity", 1.0)
        scaled = "intensity" in self.values or self.values.get("name") == DAY
        if own is None and lift is not None:
            own = _power(lift, intensity) if scaled else 1.0
        with self.located():
            return Phase(
                name=self.text("name"),
                start=start,
                end=self.day("end", start),
                intensity=intensity,
                lift=own,
            )

    def rule(self) -> Rule:
        """The entry as a recurring event."""
        self.check_keys(RULE_KEYS)
        phases = self.values.get("phases", {})
        if not isinstance(phases, dict):
            raise self.error("phases", "a table of phases", repr(phases))
        kind = self.text("kind")
        with self.located():
            return Rule(
                name=self.text("name") if "name" in self.values else kind,
                kind=kind,
                on=self.text("date"),
                days=self.offsets("days", self.values.get("days", [0, 0])),
                phases={name: self.offsets(name, value) for name, value in phases.items()},
                platforms=self.texts("platforms"),
                locations=self.texts("locations"),
                intensity=self.number("intensity", 1.0),
                since=self.year("since", date.min.year),
                until=self.year("until", date.max.year),
                like=self.borrowed(),
                lift=self.multiple(),
            )

    @contextmanager
    def located(self) -> Iterator[None]:
        """Say where in the file the field stands about which an event, a phase or a rule complains."""
        try:
            yield
        except InputError as error:
            if error.field.startswith(self.where):
                raise
            raise self.error(error.field, error.expected, error.found) from error


def _power(lift: float, intensity: float) -> float:
    try:
        return math.pow(lift, intensity)
    except OverflowError:
        return math.inf  # which the phase refuses
