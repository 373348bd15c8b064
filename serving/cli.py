"""`surgecast serve`, `surgecast query` and `surgecast series`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import NotFoundError, UsageError
from forecast.home import Home

if TYPE_CHECKING:
    from serving.client import Client
    from serving.server import Server

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address", metavar="HOST:PORT", help="Server to ask; the one of this home's settings by default."
    ),
]

series = typer.Typer(help="The series of the published snapshot.", no_args_is_help=True)


def serve(
    home: HomeOption = DEFAULT_HOME,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Allow an address that other machines reach, without TLS.")
    ] = False,
    no_tokens: Annotated[
        bool, typer.Option("--no-tokens", help="Allow such an address with TLS but without tokens.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Serve the published snapshot over gRPC until stopped, following each new publication."""
    import logging
    import sys

    from forecast.cli.output import print_json
    from forecast.settings import load_settings
    from serving.access.configure import access_config, bounds
    from serving.server import ServerConfig, run

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    settings = load_settings(Home(home)).serve
    config = ServerConfig(
        host=host if host is not None else settings.host,
        port=port if port is not None else settings.port,
        access=access_config(Home(home), settings, insecure=insecure, no_tokens=no_tokens),
        bounds=bounds(settings),
    )

    def ready(server: Server) -> None:
        snapshot = server.store.current.snapshot.manifest.id
        refused = server.store.refused
        if as_json:
            about = {"snapshot": snapshot, "address": server.address, "port": server.port}
            print_json(about | {"refused": refused.reason if refused else None})
        else:
            typer.echo(f"serving {snapshot} on {server.address}")
        sys.stdout.flush()

    raise typer.Exit(run(Home(home), config, ready))


def query(
    item: Annotated[str, typer.Option(help="The item (SKU).")],
    location: Annotated[str, typer.Option(help="The store or warehouse.")],
    platform: Annotated[str, typer.Option(help="The sales channel.")],
    horizon: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Periods ahead; as many as were published by default."),
    ] = None,
    address: AddressOption = None,
    png: Annotated[Path | None, typer.Option(dir_okay=False, help="Write the fan as a picture too.")] = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Ask for one series: a table and a fan of its history, median, 80 % and 95 % bands and events."""
    from forecast.cli.output import print_json, say
    from serving.client import Client
    from serving.report import as_dict, print_report

    if png is not None and png.suffix.lower() != ".png":
        raise UsageError(f"--png: expected a file name ending in .png, found {png}")
    with Client(_address(address, home)) as client:
        forecast = client.forecast(item=item, location=location, platform=platform, horizon=horizon)
    if png is not None:
        from serving.picture import save_fan

        if not save_fan(forecast, png):
            say("no installed font has every character of the picture (Noto Sans CJK has the Chinese ones)")
    if as_json:
        print_json(as_dict(forecast))
    else:
        print_report(forecast)
    if png is not None:
        say(f"wrote {png}")


@series.command("list")
def list_series(
    item: Annotated[str, typer.Option(help="Only this item.")] = "",
    location: Annotated[str, typer.Option(help="Only this location.")] = "",
    platform: Annotated[str, typer.Option(help="Only this platform.")] = "",
    sort: Annotated[
        str, typer.Option(help="surge (largest peak over base), volume (largest total) or snapshot.")
    ] = "surge",
    min_base: Annotated[
        float, typer.Option("--min-base", min=0, help="Only series with this recent demand per period.")
    ] = 0.0,
    limit: Annotated[int, typer.Option(min=1, help="Series to print.")] = 20,
    address: AddressOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List series with their base, their expected demand and their strongest coming period."""
    from itertools import islice

    from forecast.cli.output import print_json, print_table, say
    from serving.client import Client, Order
    from serving.report import time_text

    orders: dict[str, Order] = {"surge": "surge", "volume": "volume", "snapshot": "snapshot"}
    if sort not in orders:
        raise UsageError(f"--sort: expected one of {', '.join(orders)}, found {sort!r}")
    with Client(_address(address, home)) as client:
        found = client.list_series(
            item=item,
            location=location,
            platform=platform,
            min_base=min_base,
            order=orders[sort],
            page_size=min(limit, 1_000),
        )
        rows = list(islice(found, limit))
        if not rows:
            say(f"no series matches{_unknown_item(client, item)}")
    columns = ("item", "location", "platform", "base", "zeros", "total", "peak", "peak ratio", "peak at")
    cells = [
        (*s.key, s.base, s.zero_share, s.total, s.peak, s.peak_ratio, time_text(s.peak_time)) for s in rows
    ]
    if as_json:
        names = [name.replace(" ", "_") for name in columns]
        listed = zip(rows, cells, strict=True)
        print_json(
            {"series": [dict(zip(names, row, strict=True), no_history=s.no_history) for s, row in listed]}
        )
    elif any(s.no_history for s in rows):
        told = [(*row, "none" if s.no_history else "yes") for s, row in zip(rows, cells, strict=True)]
        print_table((*columns, "history"), told)
    else:
        print_table(columns, cells)


def _unknown_item(client: Client, item: str) -> str:
    """Says so where no series at all has the item, with what is near; else nothing."""
    if not item or next(client.list_series(item=item, page_size=1), None) is not None:
        return ""
    try:
        client.forecast(item=item, location="-", platform="-")
    except NotFoundError as error:
        return f": {error.found}"
    return ""  # published between the two questions


def _address(address: str | None, home: Path) -> str:
    if address is None:
        from forecast.settings import load_settings

        settings = load_settings(Home(home)).serve
        return f"{settings.host}:{settings.port}"
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= 65_535:
        raise UsageError(f"--address: expected HOST:PORT, found {address!r}")
    return address
