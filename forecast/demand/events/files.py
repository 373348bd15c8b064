"""Calendar files: TOML with events and recurring rules, or CSV with one row per event and phase.

```toml
[[event]]
name = "Singles' Day 2026"          # default: kind and year
kind = "double-11"                  # what it shares with its other years
start = 2026-11-11
end = 2026-11-11                    # default: start
platforms = ["tmall", "taobao"]     # glob patterns; default: all
locations = ["shanghai-*"]
intensity = 3.0                     # 1 is ordinary; default 1
like = "618"                        # for a new kind: it borrows this kind's response, memory and, without
                                    # its own, phases; intensity 1 is then as strong as that kind
lift = 4.0                          # or instead: the expected multiple of ordinary demand on its days

[[event.phase]]                     # as many as there are; their intensity multiplies the event's
name = "pre-sale"                   # pre-sale, warm-up, day or after
start = 2026-10-20
end = 2026-10-31
intensity = 0.5                     # default 1; where it is given, the lift is the event's ** intensity
lift = 1.5                          # or the phase's own; where neither is given, demand is ordinary

[[rule]]                            # an event of every year
kind = "mid-autumn"
date = "lunar 08-15"                # MM-DD, lunar MM-DD, 4th thursday of november, last monday of may, easter
days = [0, 0]                       # first and last day, counted from date
phases = { warm-up = [-14, -1] }
since = 2015                        # first and last year, if any
```

Rules may have like and lift too; demand in their phases is then ordinary. Both count only as long as a model
has not seen the kind (and phase) in training; then what it has learned counts.

CSV columns: kind, start (required), name, end, phase (default `day`), platforms, locations (patterns
separated by `|`), intensity, like, lift. Rows of other phases belong to the event that has the same kind and
name.
"""

from __future__ import annotations

import csv
import os
import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Final

from forecast.demand.events.entries import Entry
from forecast.demand.events.model import DAY, Event
from forecast.demand.events.rules import Rule
from forecast.errors import InputError, NotFoundError

CSV_COLUMNS: Final = (
    "name",
    "kind",
    "start",
    "end",
    "phase",
    "platforms",
    "locations",
    "intensity",
    "like",
    "lift",
)
SPELL_KEYS: Final = ("start", "end", "intensity", "lift")


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Events of given days and rules for events of every year."""

    events: tuple[Event, ...] = ()
    rules: tuple[Rule, ...] = ()

    def occurrences(self, start: date, end: date) -> list[Event]:
        """Everything of which any phase shares a day with `start`..`end`, in order of time."""
        found = [event for event in self.events if event.touches(start, end)]
        for rule in self.rules:
            found.extend(rule.occurrences(start, end))
        return sorted(found, key=lambda event: (event.start, event.kind, event.name))


def read_calendar(path: Path) -> Calendar:
    """Read a calendar file (.toml or .csv).

    Raises NotFoundError when it is not there, InputError naming file, line, entry and field when it is wrong.
    """
    readers = {".toml": parse_toml, ".csv": parse_csv}
    if path.suffix not in readers:
        raise InputError(
            str(path), expected="a calendar file .toml or .csv", found=path.suffix or "no suffix"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise NotFoundError(str(path), expected="a calendar file", found="nothing") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(str(path), expected="a readable UTF-8 text file", found=str(error)) from error
    return readers[path.suffix](text, str(path))


def parse_toml(text: str, source: str) -> Calendar:
    """The calendar in a TOML text; `source` is named in errors."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(source, expected="TOML", found=str(error)) from error
    for key in content:
        if key not in ("event", "rule"):
            raise InputError(source, expected="entries [[event]] and [[rule]]", found=repr(key))
    events = tuple(entry.event() for entry in _toml_entries(content, "event", text, source))
    rules = tuple(entry.rule() for entry in _toml_entries(content, "rule", text, source))
    if not events and not rules:
        raise InputError(source, expected="at least one entry [[event]] or [[rule]]", found="none")
    return Calendar(events=events, rules=rules)


def _toml_entries(content: dict[str, object], key: str, text: str, source: str) -> Iterator[Entry]:
    tables = content.get(key, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{source}: {key}", expected=f"entries [[{key}]]", found=repr(tables))
    header = re.compile(rf"\s*\[\[\s*{key}\s*\]\]")
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if header.match(line)]
    for number, table in enumerate(tables, start=1):
        line = f"line {lines[number - 1]}, " if len(lines) == len(tables) else ""
        yield Entry(where=f"{source}, {line}{key} {number}", values=table)


def parse_csv(text: str, source: str) -> Calendar:
    """The calendar in a CSV text; `source` is named in errors."""
    reader = csv.DictReader(text.splitlines())
    columns = reader.fieldnames or []
    for column in ("kind", "start"):
        if column not in columns:
            raise InputError(
                f"{source}, line 1", expected=f"a column {column!r}", found=", ".join(columns) or "nothing"
            )
    for column in columns:
        if column not in CSV_COLUMNS:
            raise InputError(
                f"{source}, line 1", expected=f"columns {', '.join(CSV_COLUMNS)}", found=repr(column)
            )
    events: dict[tuple[str, str], Event] = {}
    phases: list[tuple[Entry, tuple[str, str]]] = []
    for row in reader:
        entry = _csv_entry(row, f"{source}, line {reader.line_num}")
        values = dict(entry.values)
        phase = str(values.pop("phase", DAY))
        owner = (
            str(values.get("kind")),
            str(values.get("name", values.get("start") if phase == DAY else "")),
        )
        if phase == DAY and owner not in events:
            events[owner] = replace(entry, values=values).event()
        else:
            spell = {"name": phase} | {key: cell for key, cell in values.items() if key in SPELL_KEYS}
            phases.append((replace(entry, values=spell), owner))
            phases[-1][0].phase()
    for entry, owner in phases:
        if owner not in events:
            raise entry.error("phase", f"a row of the phase {DAY!r} with the same kind and name", "none")
        with entry.located():
            found = entry.phase(events[owner].lift)
            events[owner] = replace(events[owner], phases=(*events[owner].phases, found))
    if not events:
        raise InputError(source, expected="at least one row", found="none")
    return Calendar(events=tuple(events.values()))


def _csv_entry(row: dict[str | None, str | list[str] | None], where: str) -> Entry:
    values: dict[str, object] = {}
    for column, cell in row.items():
        if column is None or cell is None or isinstance(cell, list):
            raise InputError(where, expected="as many cells as there are columns", found="more or fewer")
        if not cell.strip():
            continue
        if column in ("platforms", "locations"):
            values[column] = [part.strip() for part in cell.split("|") if part.strip()]
        elif column in ("intensity", "lift"):
            try:
                values[column] = float(cell)
            except ValueError as error:
                raise InputError(f"{where}: {column}", expected="a number", found=repr(cell)) from error
        else:
            values[column] = cell.strip()
    return Entry(where=where, values=values)


def write_calendar(path: Path, events: Iterable[Event]) -> None:
    """Write events as a TOML calendar file that `read_calendar` reads back equal; the file appears whole.

    Raises InputError when there are no events: a file without entries would be refused when it is read.
    """
    text = "\n".join(_event_toml(event) for event in events)
    if not text:
        raise InputError("events", expected="at least one to write", found="none")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def _event_toml(event: Event) -> str:
    lines = ["[[event]]", f"name = {_quoted(event.name)}", f"kind = {_quoted(event.kind)}"]
    lines += [f"start = {event.start}", f"end = {event.end}"]
    for key, patterns in (("platforms", event.platforms), ("locations", event.locations)):
        if patterns:
            lines.append(f"{key} = [{', '.join(map(_quoted, patterns))}]")
    lines.append(f"intensity = {event.intensity!r}")
    if event.like is not None:
        lines.append(f"like = {_quoted(event.like)}")
    if event.lift is not None:
        lines.append(f"lift = {event.lift!r}")
    for phase in event.phases:
        lines += ["", "[[event.phase]]", f"name = {_quoted(phase.name)}", f"start = {phase.start}"]
        lines += [f"end = {phase.end}", f"intensity = {phase.intensity!r}"]
        if phase.lift is not None or event.lift is not None:
            lines.append(f"lift = {phase.lift or 1.0!r}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped) + '"'
