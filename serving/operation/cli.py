"""`surgecast status`, `snapshots`, `reload` and `rollback`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import UsageError
from forecast.home import Home
from serving.commands.options import (
    AddressOption,
    CaOption,
    CertOption,
    InsecureOption,
    KeyOption,
    ServerOption,
    TokenFileOption,
    connect,
)

if TYPE_CHECKING:
    from forecast.cli.output import Cell
    from serving.client import PublishedModel, ServingModel
    from serving.operation.status import Status

CHANGE_S = 60.0
"""Seconds that a change may take: a snapshot is read from end to end before it serves."""


def status(
    metrics_port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="Port of its metrics on this machine; as in the settings by default, of this home's server.",
        ),
    ] = None,
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    insecure: InsecureOption = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Tell what serves, since when and how well; exit status 1 when the server is not healthy."""
    from dataclasses import asdict

    from forecast.cli.output import print_json
    from forecast.settings import load_settings
    from serving.operation.status import ask

    settings = load_settings(Home(home), {"serve.metrics_port": metrics_port})
    elsewhere = address is not None or settings.client.address
    port = 0 if elsewhere and metrics_port is None else settings.serve.metrics_port
    with connect(home, address, token_file, ca, cert, key, insecure=insecure) as client:
        found = ask(client, port)
    if as_json:
        print_json(asdict(found))
    else:
        _print_status(found)
    raise typer.Exit(0 if found.healthy else 1)


def snapshots(
    address: ServerOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    insecure: InsecureOption = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List the snapshots that a server, or servers of the home, could serve, the newest first."""
    from dataclasses import asdict

    from forecast.cli.output import print_json
    from serving.operation.snapshots import of_home

    if _asks_server(address, token_file, ca, cert, key, insecure):
        with connect(home, address, token_file, ca, cert, key, insecure=insecure) as client:
            found = list(client.list_models())
    else:
        found = of_home(Home(home))
    if as_json:
        print_json({"snapshots": [asdict(one) for one in found]})
    else:
        _print_snapshots(found)


def reload(
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    insecure: InsecureOption = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Have a server look at once at what is published; exit status 1 when it refuses that."""
    with connect(home, address, token_file, ca, cert, key, insecure=insecure) as client:
        serving = client.reload(timeout_s=CHANGE_S)
        _tell(serving, f"{serving.source.snapshot} serves at {client.address}", as_json=as_json)
    raise typer.Exit(1 if serving.refused else 0)


def rollback(
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    to: Annotated[
        str | None,
        typer.Option(metavar="SNAPSHOT", help="Snapshot to serve again; the former one by default."),
    ] = None,
    address: ServerOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    insecure: InsecureOption = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Go back to the snapshot that served before; servers of the home follow within a second."""
    if _asks_server(address, token_file, ca, cert, key, insecure):
        with connect(home, address, token_file, ca, cert, key, insecure=insecure) as client:
            serving = client.rollback(reason, snapshot=to or "", timeout_s=CHANGE_S)
            _tell(serving, f"{serving.source.snapshot} serves again at {client.address}", as_json=as_json)
    else:
        _roll_back_home(Home(home), to, reason, as_json=as_json)


def _roll_back_home(home: Home, to: str | None, reason: str, *, as_json: bool) -> None:
    import getpass
    from dataclasses import asdict

    from forecast.cli.output import print_json
    from forecast.snapshot.rollback import roll_back
    from serving.operation.selfcheck import check_answers
    from serving.store import SnapshotStore

    store = SnapshotStore(home, checks=(check_answers,))
    try:
        who = getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in some containers
        who = "unknown"
    record = roll_back(home, to, who=who, why=reason, check=store.open)
    if as_json:
        print_json(asdict(record))
    else:
        typer.echo(f"{record.snapshot} is published again instead of {record.former or 'a damaged pointer'}")


def _asks_server(address: str | None, *options: object) -> bool:
    """Whether a server is asked; UsageError for options of a connection without one."""
    if address is None and any(options):
        raise UsageError("connection: expected --address with its options, found them without")
    return address is not None


def _tell(serving: ServingModel, text: str, *, as_json: bool) -> None:
    from forecast.cli.output import print_json, say
    from serving.report import source_dict

    if as_json:
        print_json(source_dict(serving.source) | {"refused": serving.refused or None})
        return
    typer.echo(text)
    if serving.refused:
        say(f"refused: {serving.refused}")


def _print_snapshots(found: list[PublishedModel]) -> None:
    from forecast.cli.output import print_table, say
    from serving.report import time_text

    columns = ("snapshot", "model version", "forecast from", "series", "written (UTC)", "serves")
    rows = [
        (m.snapshot, m.model_version, time_text(m.origin), m.n_series, time_text(m.created), m.serving)
        for m in found
    ]
    if rows:
        print_table(columns, rows)
    else:
        say("no snapshot: surgecast publish makes one")


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
