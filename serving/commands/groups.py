"""`surgecast aggregate` and `surgecast surges`."""

from __future__ import annotations

from typing import Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import UsageError
from serving.commands.options import (
    AddressOption,
    ByOption,
    CaOption,
    CertOption,
    FromOption,
    InsecureOption,
    ItemOption,
    KeyOption,
    LocationOption,
    PlatformOption,
    PngOption,
    TokenFileOption,
    ToOption,
    WhereOption,
    check_png,
    connect,
    day_range,
    series_filter,
    tell_picture,
)


def aggregate(
    by: ByOption = None,
    item: ItemOption = "",
    location: LocationOption = "",
    platform: PlatformOption = "",
    where: WhereOption = None,
    start: FromOption = None,
    end: ToOption = None,
    period: Annotated[
        str | None,
        typer.Option(metavar="day|week|total", help="Sums over days, weeks or all; else each period."),
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
    """Ask for the demand of many series together, with bands that hold for their sum."""
    from forecast.cli.output import print_json, say
    from serving.client import Span
    from serving.group_report import aggregate_dict, print_aggregate

    check_png(png)
    spans: dict[str | None, Span] = {None: "period", "day": "day", "week": "week", "total": "total"}
    if period not in spans:
        raise UsageError(f"--period: expected one of day, week, total, found {period!r}")
    first, last = day_range(start, end)
    wanted = series_filter(item, location, platform, where)
    with connect(home, address, token_file, ca, cert, key, insecure=insecure) as client:
        answer = client.aggregate(by or (), where=wanted, start=first, end=last, period=spans[period])
    if not answer.groups:
        say("no series matches")
    elif png is not None:
        from serving.group_picture import save_groups

        complete = save_groups(answer, png)
    if as_json:
        print_json(aggregate_dict(answer))
    else:
        print_aggregate(answer)
    if png is not None and answer.groups:
        tell_picture(png, complete=complete)


def surges(
    multiple: Annotated[
        float, typer.Option(min=0.001, max=1e6, help="Times the base that demand exceeds.")
    ] = 2.0,
    probability: Annotated[
        float, typer.Option(min=0.001, max=1.0, help="Least probability with which it does.")
    ] = 0.5,
    by: ByOption = None,
    item: ItemOption = "",
    location: LocationOption = "",
    platform: PlatformOption = "",
    where: WhereOption = None,
    start: FromOption = None,
    end: ToOption = None,
    limit: Annotated[int, typer.Option(min=1, help="Surges to print.")] = 20,
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
    """List where demand will probably exceed a multiple of its base: how much, when, driven by what."""
    from itertools import islice

    from forecast.cli.output import print_json, say
    from serving.group_report import print_surges, surges_dict

    check_png(png)
    first, last = day_range(start, end)
    wanted = series_filter(item, location, platform, where)
    with connect(home, address, token_file, ca, cert, key, insecure=insecure) as client:
        found = client.surges(
            by or (),
            where=wanted,
            start=first,
            end=last,
            multiple=multiple,
            probability=probability,
            page_size=min(limit, 1_000),
        )
        rows = list(islice(found, limit))
    if not rows:
        say(f"no surge above {multiple:g} times the base with a probability of {probability:g}")
    elif png is not None:
        from serving.surge_picture import save_surges

        about = f"demand above {multiple:g} x base with a probability of {probability:g}"
        complete = save_surges(rows, about, png)
    if as_json:
        print_json(surges_dict(rows, by or ()))
    else:
        print_surges(rows, by or (), multiple)
    if png is not None and rows:
        tell_picture(png, complete=complete)
