"""`surgecast status` and `surgecast rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.home import Home

if TYPE_CHECKING:
    from forecast.cli.output import Cell
    from serving.operation.status import Status


def status(
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Server to ask; the one of this home's settings by default."),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65_535, help="Port of its metrics on this machine; as in the settings by default."
        ),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Tell what serves, since when and how well; exit status 1 when the server is not healthy."""
    from dataclasses import asdict

    from forecast.cli.output import print_json
    from forecast.settings import load_settings
    from serving.operation.status import ask

    settings = load_settings(Home(home), {"serve.metrics_port": metrics_port}).serve
    found = ask(address or f"{settings.host}:{settings.port}", settings.metrics_port)
    if as_json:
        print_json(asdict(found))
    else:
        _print_status(found)
    raise typer.Exit(0 if found.healthy else 1)


def rollback(
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="SNAPSHOT", help="Snapshot to serve again; the former one by default."),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Go back to the snapshot that served before; servers of this home follow within a second."""
    import getpass
    from dataclasses import asdict

    from forecast.cli.output import print_json
    from forecast.snapshot.rollback import roll_back
    from serving.operation.selfcheck import check_answers
    from serving.store import SnapshotStore

    store = SnapshotStore(Home(home), checks=(check_answers,))
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        who = "unknown"
    record = roll_back(Home(home), to, who=who, why=reason, check=store.open)
    if as_json:
        print_json(asdict(record))
    else:
        typer.echo(f"{record.snapshot} is published again instead of {record.former or 'a damaged pointer'}")


def _print_status(found: Status) -> None:
    from forecast.cli.output import cell_text, print_table

    workers = (
        f"{found.workers_serving} of {found.workers}, {found.worker_restarts} started again"
        if found.workers is not None
        else None
    )
    rows: list[tuple[str, Cell]] = [
        ("healthy", found.healthy),
        *((f"  {name or 'all'}", state) for name, state in found.health.items()),
        ("snapshot", found.snapshot),
        ("model version", found.model_version),
        ("forecast from", found.origin),
        ("written", found.created),
        ("age", duration(found.age_s)),
        ("serving since", found.serving_since),
        ("refused", found.refused),
        ("workers", workers),
        ("calls per second", found.calls_per_s),
        ("p99, ms", found.p99_ms),
        ("trouble", found.trouble),
    ]
    told = [(name, cell_text(value)) for name, value in rows if value is not None and value != ""]
    print_table(("server", found.address), told)


def duration(seconds: float | None) -> str | None:
    """Seconds as people say them."""
    if seconds is None:
        return None
    for size, unit in ((86_400, "days"), (3_600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} seconds"
