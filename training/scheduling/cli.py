"""`surgecast schedule`: the plan, the program that keeps to it, and what it did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.home import Home

if TYPE_CHECKING:
    from training.scheduling.history import RunRecord

schedule = typer.Typer(
    help="Retrain and publish by themselves: weekly or as the settings say, more often before events.",
    no_args_is_help=True,
)


@schedule.command()
def show(
    home: HomeOption = DEFAULT_HOME,
    until: Annotated[
        str | None, typer.Option(metavar="DAY", help="Last day to show, as 2026-11-12; four weeks ahead.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List what comes next, and why: weekly, 9 days before Singles' Day, hour 14 of Singles' Day."""
    from datetime import datetime, time, timedelta

    from forecast.cli.output import print_json, print_table, say
    from forecast.errors import UsageError
    from training.options import parse_day
    from training.scheduling.agenda import load_agenda
    from training.scheduling.keeper import utc_now

    now = utc_now()
    agenda = load_agenda(Home(home), now)
    today = now.astimezone(agenda.zone).date()
    last = today + timedelta(days=27) if until is None else parse_day(until, "until")
    if not today <= last <= today + timedelta(days=3660):
        raise UsageError(f"until: expected a day from today, {today}, on for ten years, found {last}")
    end = datetime.combine(last + timedelta(days=1), time(), agenda.zone)
    found = agenda.between(now, end)
    local = [one.at.astimezone(agenda.zone) for one in found]
    if as_json:
        rows = [
            {"at": at, "action": one.action, "why": one.why} for at, one in zip(local, found, strict=True)
        ]
        print_json({"timezone": str(agenda.zone), "until": last, "firings": rows})
        return
    cells = [
        (f"{at:%a %Y-%m-%d %H:%M %Z}", one.action, one.why) for at, one in zip(local, found, strict=True)
    ]
    print_table(("when", "what", "why"), cells)
    if not found:
        say(f"nothing until {last}; --until DAY looks further")


@schedule.command()
def run(home: HomeOption = DEFAULT_HOME) -> None:
    """Keep to the schedule in the foreground, until SIGTERM or Ctrl-C; one job at a time."""
    from training.scheduling import keeper

    keeper.run(Home(home))


@schedule.command()
def history(
    home: HomeOption = DEFAULT_HOME,
    limit: Annotated[int, typer.Option(min=1, help="Runs to show, the last ones.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List what the schedule did: when, why, how it ended; --json has what each job said and printed."""
    from dataclasses import asdict

    from forecast.cli.output import print_json, print_table, say
    from training.scheduling.history import History

    runs = History(Home(home).jobs_dir / "history.jsonl").runs()
    if as_json:
        print_json({"runs": [asdict(one) for one in runs[-limit:]]})
        return
    columns = ("started", "what", "why", "outcome", "seconds", "exit", "reason")
    print_table(columns, [_row(one) for one in runs[-limit:]])
    if not runs:
        say("nothing has run yet; `surgecast schedule run` keeps to the schedule")


def _row(record: RunRecord) -> tuple[str | float | int | None, ...]:
    return (
        record.started[:16].replace("T", " ") + " UTC",
        record.action,
        record.why,
        record.outcome,
        record.seconds,
        record.exit if record.ended and record.exit != -1 else None,
        record.reason,
    )
