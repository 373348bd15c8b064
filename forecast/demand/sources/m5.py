"""Walmart's M5 competition data: daily sales of 30,490 item x store series, prices, SNAP days, events.

A folder holds `sales.parquet` (one row a series, its sales as a list from d_1 on), `calendar.parquet` and
`sell_prices.parquet` (weekly; none before a series is on sale).

Letters: S series, T observed days, P calendar days, W weeks, E event names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forecast.demand.events.grid import event_grid
from forecast.demand.events.model import Event
from forecast.demand.incoming import Incoming, file_hash
from forecast.demand.panel import Floats, Panel, SeriesKeys
from forecast.demand.sources.reading import read_columns
from forecast.errors import InputError, NotFoundError

PLATFORM = "in-store"
KEYS = ("item_id", "dept_id", "cat_id", "store_id", "state_id")
STATICS = {"dept": "dept_id", "cat": "cat_id", "store": "store_id", "state": "state_id"}
"""Name of a static feature -> its column in `sales.parquet`."""
FILES = ("sales", "calendar", "sell_prices")
CHUNK = 500
"""Series per chunk on the way into the store: about a million rows."""


@dataclass(frozen=True, kw_only=True)
class M5Tables:
    """The three tables as arrays.

    series: key columns, row s = series s, in the file's order. sales_ST: units. price_SW: dollars, NaN when
    not on sale. week_P: week of each calendar day. snap_XP: 0/1 per state (rows as `states`).
    """

    start: np.datetime64
    series: pl.DataFrame
    sales_ST: NDArray[np.uint16]
    price_SW: Floats
    week_P: NDArray[np.intp]
    states: tuple[str, ...]
    snap_XP: Floats

    def price(self, rows: slice) -> Floats:
        """(n, P) price of some series on every calendar day."""
        return self.price_SW[rows][:, self.week_P]

    def snap(self, rows: slice) -> Floats:
        """(n, P) 1 on the SNAP days of the series' state."""
        index = {state: i for i, state in enumerate(self.states)}
        return self.snap_XP[[index[state] for state in self.series["state_id"][rows]]]

    def demand(self, rows: slice, price_SP: Floats) -> Floats:
        """(n, T) demand; missing before a series is on sale: before its first price and its first sale."""
        sales_ST = self.sales_ST[rows]
        first_sale_S = np.where((sales_ST > 0).any(axis=1), (sales_ST > 0).argmax(axis=1), sales_ST.shape[1])
        priced_SP = ~np.isnan(price_SP)
        first_price_S = np.where(priced_SP.any(axis=1), priced_SP.argmax(axis=1), price_SP.shape[1])
        launch_S = np.minimum(first_sale_S, first_price_S)
        demand_ST = sales_ST.astype(np.float32)
        demand_ST[np.arange(sales_ST.shape[1]) < launch_S[:, None]] = np.nan
        return demand_ST


def read_m5(folder: Path) -> M5Tables:
    """Read the three files. Raises NotFoundError, or InputError when sales are no counts of one length."""
    sales = read_columns(_file(folder, "sales"), (*KEYS, "sales"))
    states = tuple(sorted(sales["state_id"].unique()))
    snaps = tuple(f"snap_{state}" for state in states)
    calendar = read_columns(_file(folder, "calendar"), ("date", "wm_yr_wk", *snaps))
    lengths = sales["sales"].list.len().unique().to_list()
    if len(lengths) != 1 or lengths[0] > calendar.height:
        raise InputError(
            "sales", expected=f"one length up to {calendar.height} days", found=f"lengths {lengths[:5]}"
        )
    sales_ST = sales["sales"].explode().to_numpy().reshape(sales.height, lengths[0])
    series = sales.select(KEYS)
    _check(sales_ST, series)
    del sales
    weeks = calendar["wm_yr_wk"].unique(maintain_order=True).cast(pl.Int32)
    week_P = np.searchsorted(weeks.to_numpy(), calendar["wm_yr_wk"].to_numpy())
    return M5Tables(
        start=np.datetime64(calendar["date"][0], "s"),
        series=series,
        sales_ST=sales_ST,
        price_SW=_weekly_prices(_file(folder, "sell_prices"), series, weeks),
        week_P=week_P,
        states=states,
        snap_XP=np.stack([calendar[snap].to_numpy() for snap in snaps]).astype(np.float32),
    )


def read_m5_panel(folder: Path, cutoff_day: int) -> Panel:
    """The panel as known at the end of day `cutoff_day` (1913: the last day with demand is d_1913).

    Known features `price` and `snap` reach to the calendar's end; statics are dept, cat, store and state;
    each of the 30 events is a channel `name/day`. Raises InputError when the cutoff lies outside the data.
    """
    tables = read_m5(folder)
    n_days = tables.sales_ST.shape[1]
    if not 1 <= cutoff_day <= n_days:
        raise InputError("cutoff", expected=f"1..{n_days}", found=str(cutoff_day))
    everything = slice(None)
    price_SP = tables.price(everything)
    labels = {name: tables.series[column].to_numpy().astype(np.str_) for name, column in STATICS.items()}
    keys = SeriesKeys(
        item=tables.series["item_id"].to_numpy().astype(np.str_),
        location=labels["store"],
        platform=np.full(len(price_SP), PLATFORM),
    )
    return Panel(
        period="day",
        start=tables.start,
        keys=keys,
        demand_ST=tables.demand(everything, price_SP)[:, :cutoff_day],
        known={"price": price_SP, "snap": tables.snap(everything)},
        statics=labels,
        events=event_grid(m5_events(folder), keys, "day", tables.start, price_SP.shape[1]),
        data_version=f"m5:d_{n_days}",
    )


def m5_incoming(folder: Path) -> Incoming:
    """M5 for the store, streamed in chunks of series."""
    tables = read_m5(folder)
    labels = {name: pl.col(column) for name, column in STATICS.items()}
    return Incoming(
        source="m5",
        kind="table",
        period="day",
        hashes=(file_hash(*(_file(folder, name) for name in FILES)),),
        series=tables.series.select(item="item_id", location="store_id", platform=pl.lit(PLATFORM), **labels),
        known=("price", "snap"),
        chunks=_chunks(tables),
    )


def m5_events(folder: Path) -> list[Event]:
    """The calendar's named events, one of a single day for each day that names it, for all series."""
    calendar = read_columns(_file(folder, "calendar"), ("date", "event_name_1", "event_name_2"))
    named = calendar.unpivot(index="date").select("date", "value").drop_nulls().sort("date", "value")
    return [
        Event(name=f"{name} {day.year}", kind=slug(name), start=day, end=day)
        for day, name in named.iter_rows()
    ]


def _chunks(tables: M5Tables) -> Iterator[pl.DataFrame]:
    n_series, n_days = tables.sales_ST.shape
    n_known = len(tables.week_P)
    times = tables.start.astype("datetime64[us]") + np.arange(n_known) * np.timedelta64(86_400_000_000, "us")
    for first in range(0, n_series, CHUNK):
        rows = slice(first, min(first + CHUNK, n_series))
        n = rows.stop - rows.start
        price_SP = tables.price(rows)
        demand_SP = np.full((n, n_known), np.nan, dtype=np.float32)
        demand_SP[:, :n_days] = tables.demand(rows, price_SP)
        yield pl.DataFrame(
            {
                "series": np.repeat(np.arange(rows.start, rows.stop, dtype=np.int32), n_known),
                "time": np.tile(times, n),
                "demand": demand_SP.ravel(),
                "price": price_SP.ravel(),
                "snap": tables.snap(rows).ravel(),
            }
        ).with_columns(
            pl.col("demand", "price").fill_nan(None), pl.lit(None, pl.Float32).alias("stocked_out")
        )


def slug(name: str) -> str:
    """`Mother's day`, `MemorialDay` -> `mothers-day`, `memorial-day`."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.replace("'", ""))
    return re.sub(r"[^a-z0-9]+", "-", spaced.lower()).strip("-")


def _check(sales_ST: NDArray[np.generic], series: pl.DataFrame) -> None:
    """Types are most of this source's gate: counts cannot be NaN, infinite or absurd in 16 bits."""
    if sales_ST.dtype.kind != "u":
        raise InputError("sales", expected="unsigned whole numbers, none missing", found=str(sales_ST.dtype))
    if series.select("item_id", "store_id").is_duplicated().any():
        raise InputError("sales", expected="one row for each item and store", found="several")


def _file(folder: Path, name: str) -> Path:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        raise NotFoundError("m5 folder", expected=f"{name}.parquet in it", found=f"none in {folder}")
    return path


def _weekly_prices(path: Path, series: pl.DataFrame, weeks: pl.Series) -> Floats:
    """(S, W) prices, NaN where none is listed."""
    listed = read_columns(path, ("item_id", "store_id", "wm_yr_wk", "sell_price")).lazy()
    numbered = series.lazy().select("item_id", "store_id").with_row_index("row")
    rows = (
        listed.join(numbered, on=["item_id", "store_id"])
        .join(pl.LazyFrame({"wm_yr_wk": weeks}).with_row_index("week"), on="wm_yr_wk")
        .select("row", "week", pl.col("sell_price").cast(pl.Float32))
        .collect()
    )
    price_SW = np.full((series.height, len(weeks)), np.nan, dtype=np.float32)
    price_SW[rows["row"].to_numpy(), rows["week"].to_numpy()] = rows["sell_price"].to_numpy()
    return price_SW
