"""Tables: demand already counted per series and period, with what is known ahead and what never changes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
from pydantic import Field

from forecast.demand.events.grid import event_grid
from forecast.demand.gate import gate, require_good
from forecast.demand.incoming import Incoming, file_hash, number_series
from forecast.demand.panel import EventGrid, Panel, Period, SeriesKeys
from forecast.demand.panel_build import Grid, build_panel
from forecast.demand.schema import KEYS, TableRow, check_features
from forecast.demand.sources.period import infer_period, on_grid
from forecast.demand.sources.reading import (
    FileModel,
    Reading,
    column_names,
    label,
    number,
    read_model,
    read_rows,
    read_toml,
)
from forecast.demand.store import DemandStore
from forecast.errors import UsageError

OPTIONAL = frozenset({"location", "platform", "stocked_out"})

ONE_SHOT_MAX_UNITS = 1e9
"""Without a home there are no settings; this much is absurd even for the total of a network."""


class TableColumns(FileModel):
    """Which column of a table is what: the section `[columns]` of a TOML file, or the plain names.

    known: features known ahead, numbers; empty or NaN means unknown. static: labels that never change.
    Without a location or platform column every row gets `all`; without stocked_out nothing is known of the
    stock.
    """

    item: str = "item"
    location: str = "location"
    platform: str = "platform"
    time: str = "time"
    demand: str = "demand"
    stocked_out: str = "stocked_out"
    known: tuple[str, ...] = Field(default=())
    static: tuple[str, ...] = Field(default=())


def read_table_columns(path: Path) -> TableColumns:
    """`[columns]` of a TOML file. Raises UsageError naming the file, the key, expected and found."""
    return read_model(path, read_toml(path).get("columns", {}), TableColumns)


def table_incoming(
    files: Sequence[Path],
    columns: TableColumns,
    reading: Reading,
    *,
    period: Period | None = None,
    cutoff: np.datetime64 | None = None,
) -> Incoming:
    """Tables for the store.

    period: inferred from the times when None. cutoff: demand and stock after it are dropped unseen.
    Raises InputError when files or columns lack, the period is ambiguous, or not one row is good.
    """
    _check_columns(files, columns)
    rows = _read(files, columns, reading)
    period = period or infer_period(rows["time"])
    if cutoff is not None:
        unseen = pl.col("time") > pl.lit(cutoff.astype("datetime64[us]").item(), pl.Datetime("us"))
        hidden = [pl.when(~unseen).then(pl.col(name)).alias(name) for name in ("demand", "stocked_out")]
        rows = rows.with_columns(*hidden, demand_unreadable=pl.col("demand_unreadable") & ~unseen)
    gated = gate(_with_checks(rows, columns, period), TableRow, value="demand")
    require_good(gated, "table")
    series, numbered = number_series(gated.good, KEYS, columns.static)
    return Incoming(
        source="table",
        kind="table",
        period=period,
        hashes=tuple(file_hash(path) for path in files),
        series=series,
        known=columns.known,
        chunks=[numbered],
        quarantine=gated.bad,
    )


def read_table_panel(
    files: Sequence[Path],
    columns: TableColumns,
    *,
    period: Period | None = None,
    cutoff: np.datetime64 | None = None,
    horizon: int = 0,
    grid: Grid | None = None,
) -> tuple[Panel, dict[str, int]]:
    """A panel straight from tables, through the same gate as an import; and why how many rows were left out.

    cutoff: the last observed period; rows after it give known features only. grid: makes the event grid; no
    events when None. Errors as `table_incoming`.
    """
    reading = Reading(now=Reading.today(), max_units=ONE_SHOT_MAX_UNITS)
    incoming = table_incoming(files, columns, reading, period=period, cutoff=cutoff)
    with tempfile.TemporaryDirectory(prefix="surgecast-") as folder:
        store = DemandStore(Path(folder))
        report = store.add(incoming)
        return build_panel(store, grid or no_events, cutoff=cutoff, horizon=horizon), dict(report.quarantined)


def no_events(keys: SeriesKeys, period: Period, start: np.datetime64, n_periods: int) -> EventGrid:
    """An event grid without events."""
    return event_grid([], keys, period, start, n_periods)


def _check_columns(files: Sequence[Path], columns: TableColumns) -> None:
    """Raise UsageError for a column in two roles. Demand or stock as a feature would tell the future."""
    single = (*KEYS, "time", "demand", "stocked_out")
    roles: dict[str, tuple[str, ...]] = {name: (getattr(columns, name),) for name in single}
    roles |= {"known": columns.known, "static": columns.static}
    for role in ("time", "demand", "stocked_out"):
        for name, taken in roles.items():
            if name != role and getattr(columns, role) in taken:
                found = getattr(columns, role)
                raise UsageError(f"columns.{name}: expected another column than {role}'s, found {found!r}")
    check_features((*columns.known, *columns.static))
    if not files:
        raise UsageError("files: expected at least one, found none")


def _read(files: Sequence[Path], columns: TableColumns, reading: Reading) -> pl.DataFrame:
    """The rows in the columns of TableRow, as far as they can be known row by row."""
    names = {name: getattr(columns, name) for name in (*KEYS, "time", "demand", "stocked_out")}
    features = {name: name for name in (*columns.known, *columns.static)}
    rows = read_rows(files, {**names, **features}, zone=reading.timezone, optional=OPTIONAL)
    present = {column for path in files for column in column_names(path)}
    absent = [name for name in ("location", "platform") if names[name] not in present]
    values = {name: number(rows, name) for name in ("demand", "stocked_out", *columns.known)}
    unreadable = {name: pl.col(name).is_not_null() & value.is_null() for name, value in values.items()}
    wrong = [unreadable[name] | values[name].is_infinite().fill_null(False) for name in columns.known]
    stock = pl.when(unreadable["stocked_out"]).then(-1.0).otherwise(values["stocked_out"])
    return rows.with_columns(
        *(pl.lit("all").alias(name) if name in absent else label(name).alias(name) for name in KEYS),
        *(label(name).alias(name) for name in columns.static),
        *(values[name].fill_nan(None).alias(name) for name in columns.known),
        values["demand"].fill_nan(None).alias("demand"),
        unreadable["demand"].alias("demand_unreadable"),
        stock.fill_nan(None).alias("stocked_out"),
        (~pl.any_horizontal(pl.lit(False), *wrong)).alias("known_readable"),
        pl.lit(reading.now, pl.Datetime("us")).alias("now"),
        pl.lit(reading.max_units).alias("cap"),
    )


def _with_checks(rows: pl.DataFrame, columns: TableColumns, period: Period) -> pl.DataFrame:
    """Add what only the other rows tell: the grid of periods, repeats and contradictions."""
    place = [*KEYS, "time"]
    values = ["demand", "stocked_out", *columns.known]
    checked = rows.with_columns(on_grid(rows["time"], period).alias("on_grid"))
    several = rows.group_by(place).len().filter(pl.col("len") > 1).select(place)
    if several.is_empty():
        return checked.with_columns(repeat=pl.lit(False), conflict=pl.lit(False))
    verdicts = rows.join(several, on=place, how="semi", nulls_equal=True).select(
        "row",
        repeat=pl.col("row") > pl.col("row").min().over(place),
        conflict=~pl.all_horizontal(pl.col(values).n_unique().over(place) == 1),
    )
    judged = checked.join(verdicts, on="row", how="left", maintain_order="left")
    return judged.with_columns(pl.col("repeat", "conflict").fill_null(False))
