"""`surgecast export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from serving.commands.options import (
    AddressOption,
    CaOption,
    CertOption,
    InsecureOption,
    ItemOption,
    KeyOption,
    LocationOption,
    PlatformOption,
    TokenFileOption,
    WhereOption,
    connect,
    number,
    series_filter,
)


def export(
    file: Annotated[Path, typer.Argument(help="File to write: .parquet, .arrow or .csv.", dir_okay=False)],
    levels: Annotated[
        str, typer.Option(metavar="LEVEL,…", help="Quantile levels, such as 0.1,0.5,0.9; all by default.")
    ] = "",
    horizon: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Periods ahead; as many as were published by default."),
    ] = None,
    item: ItemOption = "",
    location: LocationOption = "",
    platform: PlatformOption = "",
    where: WhereOption = None,
    address: AddressOption = None,
    token_file: TokenFileOption = None,
    ca: CaOption = None,
    cert: CertOption = None,
    key: KeyOption = None,
    insecure: InsecureOption = False,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Write the forecasts of all series, or of some, to a file: a row for each series and period."""
    from forecast.cli.output import print_json, progress
    from serving.report import source_dict

    wanted = series_filter(item, location, platform, where)
    chosen = [number("--levels", text) for text in levels.split(",")] if levels else []
    with (
        connect(home, address, token_file, ca, cert, key, insecure=insecure) as client,
        progress("exporting") as advance,
    ):
        done = client.export(file, where=wanted, horizon=horizon, levels=chosen, on_rows=advance)
    if as_json:
        print_json({"file": done.path, "rows": done.n_rows} | source_dict(done.source))
    else:
        typer.echo(f"{done.n_rows:,} rows: {done.path}")
