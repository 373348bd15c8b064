"""`surgecast events`: which surges are known ahead."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import BusyError, UsageError
from forecast.home import Home

if TYPE_CHECKING:
    from forecast.demand.events.model import Event

events = typer.Typer(help="List and add the surges that are known ahead.", no_args_is_help=True)


@events.command("list")
def list_events(
    home: HomeOption = DEFAULT_HOME,
    start: Annotated[
        datetime | None,
        typer.Option("--from", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="First day (today)."),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option("--to", formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="Last day (a year later)."),
    ] = None,
    calendar: Annotated[
        list[str] | None,
        typer.Option(help="Shipped calendar instead of those in the settings; may be given several times."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the events of the home's files and of the calendars in its settings."""
    from datetime import timedelta

    from forecast.cli.output import print_json, print_table
    from forecast.demand.events.calendars import combine
    from forecast.settings import load_settings

    first = (start or datetime.now()).date()
    last = end.date() if end else first + timedelta(days=365)
    if last < first:
        raise UsageError(f"--to: expected {first} or later, found {last}")
    place = Home(home)
    found = combine(place, calendar or load_settings(place).events.calendars, first, last)
    if as_json:
        print_json({"from": first, "to": last, "events": [_record(event) for event in found]})
        return
    rows = [
        (
            event.name,
            event.kind,
            _span(event.start, event.end),
            _phases(event),
            event.intensity,
            _prior(event),
            _scope(event),
        )
        for event in found
    ]
    print_table(("event", "kind", "days", "phases", "intensity", "if new", "where"), rows)
    if not found:
        from forecast.cli.output import say

        say("no events: name calendars in surgecast.toml, give --calendar china, or add a file (events add)")


@events.command()
def add(
    file: Annotated[Path, typer.Argument(help="Calendar file, .toml or .csv.", dir_okay=False)],
    home: HomeOption = DEFAULT_HOME,
) -> None:
    """Check a calendar file and copy it into the home."""
    import shutil

    from forecast.cli.output import say
    from forecast.demand.events.files import read_calendar

    calendar = read_calendar(file)
    folder = Home(home).events_dir
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / file.name
    if target.exists():
        raise BusyError(str(target), expected="no calendar of this name yet", found="one; remove it first")
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(file, part)
    part.replace(target)  # whole or not at all
    say(f"added {len(calendar.events)} events and {len(calendar.rules)} yearly rules as {target}")


@events.command()
def calendars(as_json: JsonOption = False) -> None:
    """List the shipped calendars."""
    from forecast.cli.output import print_json, print_table
    from forecast.demand.events.calendars import HOLIDAYS, SHIPPED, shipped

    kinds = {name: sorted({rule.kind for rule in shipped(name).rules}) for name in SHIPPED}
    if as_json:
        print_json({"calendars": kinds, "public_holidays": f"{HOLIDAYS}COUNTRY[-SUBDIVISION]"})
        return
    rows = [(name, ", ".join(of_name)) for name, of_name in kinds.items()]
    print_table(
        ("calendar", "kinds"), [*rows, (f"{HOLIDAYS}CC[-SUB]", "public holidays of a country or a part")]
    )


def _record(event: Event) -> dict[str, object]:
    return {
        "name": event.name,
        "kind": event.kind,
        "intensity": event.intensity,
        "like": event.like,
        "lift": event.lift,
        "platforms": event.platforms,
        "locations": event.locations,
        "phases": [
            {
                "phase": spell.name,
                "start": spell.start,
                "end": spell.end,
                "intensity": spell.intensity,
                "lift": spell.lift,
            }
            for spell in event.spells
        ],
    }


def _span(start: object, end: object) -> str:
    return str(start) if start == end else f"{start} – {end}"


def _phases(event: Event) -> str:
    return ", ".join(f"{phase.name} {_span(phase.start, phase.end)}" for phase in event.phases) or "–"


def _prior(event: Event) -> str | None:
    """What is expected of the event as long as no model has seen its kind."""
    if event.like is not None:
        return f"like {event.like}"
    return None if event.lift is None else f"× {event.lift:g}"


def _scope(event: Event) -> str:
    platforms = ", ".join(event.platforms) or "all platforms"
    locations = ", ".join(event.locations) or "all locations"
    return f"{platforms}; {locations}"
