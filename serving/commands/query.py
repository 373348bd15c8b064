"""`surgecast query` and `surgecast series`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import NotFoundError, UsageError
from serving.commands.options import (
    AddressOption,
    CaOption,
    CertOption,
    InsecureOption,
    ItemOption,
    KeyOption,
    LocationOption,
    PlatformOption,
    PngOption,
    TokenFileOption,
    WhereOption,
    check_png,
    connect,
    series_filter,
    tell_picture,
)

if TYPE_CHECKING:
    from serving.client import Client

series = typer.Typer(help="The series of the published snapshot.", no_args_is_help=True)


def query(
    item: Annotated[str, typer.Option(help="The item (SKU).")],
    location: Annotated[str, typer.Option(help="The store or warehouse.")],
    platform: Annotated[str, typer.Option(help="The sales channel.")],
    horizon: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Periods ahead; as many as were published by default."),
    ] = None,
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    insecure: InsecureOption = False,
    png: PngOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Ask for one series: a table and a fan of its history, median, 80 % and 95 % bands and events."""
    from forecast.cli.output import print_json
    from serving.report import as_dict, print_report

    check_png(png)
    with connect(home, address, token_file, ca, cert, key, insecure=insecure) as client:
        forecast = client.forecast(item=item, location=location, platform=platform, horizon=horizon)
    if png is not None:
        from serving.picture import save_fan

        complete = save_fan(forecast, png)
    if as_json:
        print_json(as_dict(forecast))
    else:
        print_report(forecast)
    if png is not None:
        tell_picture(png, complete=complete)


@series.command("list")
def list_series(
    item: ItemOption = "",
    location: LocationOption = "",
    platform: PlatformOption = "",
    where: WhereOption = None,
    sort: Annotated[
        str, typer.Option(help="surge (largest peak over base), volume (largest total) or snapshot.")
    ] = "surge",
    min_base: Annotated[
        float, typer.Option("--min-base", min=0, help="Only series with this recent demand per period.")
    ] = 0.0,
    limit: Annotated[int, typer.Option(min=1, help="Series to print.")] = 20,
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    insecure: InsecureOption = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """List series with their base, their expected demand and their strongest coming period."""
    from itertools import islice

    from forecast.cli.output import print_json, print_table, say
    from serving.client import Order
    from serving.report import time_text

    orders: dict[str, Order] = {"surge": "surge", "volume": "volume", "snapshot": "snapshot"}
    if sort not in orders:
        raise UsageError(f"--sort: expected one of {', '.join(orders)}, found {sort!r}")
    with connect(home, address, token_file, ca, cert, key, insecure=insecure) as client:
        found = client.list_series(
            item=item,
            location=location,
            platform=platform,
            labels=series_filter(item, location, platform, where).labels,
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
