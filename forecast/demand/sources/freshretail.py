"""FreshRetailNet-50K: a fresh-food e-grocer's 50,000 product x store series by day, with stock-outs by the
hour.

Weather, discounts and activities are as observed: at serving time they must be forecasts or plans. Demand is
the day's sales, in the source's normalised units; `stocked_out` is the share of the day's usual demand that
falls into hours that were sold out (`freshretail_hours`), or of the hours 6 to 22 where the file lacks hours.
"""

from __future__ import annotations

import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import polars as pl

from forecast.demand.gate import gate, require_good
from forecast.demand.incoming import Incoming, file_hash, number_series
from forecast.demand.panel import Panel
from forecast.demand.panel_build import build_panel
from forecast.demand.schema import KEYS, TableRow
from forecast.demand.sources.freshretail_hours import hours_are_known, lost_share
from forecast.demand.sources.reading import Reading, read_rows
from forecast.demand.sources.table import no_events
from forecast.demand.store import DemandStore

FILE = "train_hourly.parquet"
PLATFORM = "online"
STATICS = {
    "city": "city_id",
    "store": "store_id",
    "group": "management_group_id",
    "category1": "first_category_id",
    "category2": "second_category_id",
    "category3": "third_category_id",
}
KNOWN = {
    "discount": "discount",
    "holiday": "holiday_flag",
    "activity": "activity_flag",
    "precipitation": "precpt",
    "temperature": "avg_temperature",
    "humidity": "avg_humidity",
    "wind": "avg_wind_level",
}
"""Name of a feature -> its column."""
COLUMNS = {
    "item": "product_id",
    "location": "store_id",
    "time": "dt",
    "demand": "sale_amount",
    "stocked_out": "stockout_hours_6_22",
}
OPEN_HOURS = 16
"""Hours from 6 to 22."""


def freshretail_incoming(folder: Path, reading: Reading, *, until: date | None = None) -> Incoming:
    """The daily demand for the store; `until` is the last day that hourly profiles are learned from."""
    path = folder / FILE
    rows = read_rows([path], {**COLUMNS, **KNOWN, **STATICS}, zone=reading.timezone)
    share = pl.col("stocked_out") / OPEN_HOURS
    if hours_are_known(path):
        share = pl.lit(pl.Series(lost_share(path, until), dtype=pl.Float64))
    checked = rows.with_columns(
        pl.col("item", "location", *STATICS).cast(pl.String),
        pl.lit(PLATFORM).alias("platform"),
        pl.col("demand").cast(pl.Float64),
        pl.col("demand").is_null().alias("demand_unreadable"),
        share.alias("stocked_out"),
        pl.all_horizontal(pl.col(*KNOWN).is_finite()).alias("known_readable"),
        (pl.col("time").dt.truncate("1d") == pl.col("time")).alias("on_grid"),
        (~pl.struct("item", "location", "time").is_first_distinct()).alias("repeat"),
        pl.lit(False).alias("conflict"),
        pl.lit(reading.now, pl.Datetime("us")).alias("now"),
        pl.lit(reading.max_units).alias("cap"),
    )
    gated = gate(checked, TableRow, value="demand")
    require_good(gated, FILE)
    series, numbered = number_series(gated.good, KEYS, tuple(STATICS))
    return Incoming(
        source="freshretail",
        kind="table",
        period="day",
        hashes=(file_hash(path),),
        series=series,
        known=tuple(KNOWN),
        chunks=[numbered],
        quarantine=gated.bad,
    )


def read_freshretail_panel(folder: Path, cutoff: date) -> Panel:
    """The panel as known at the end of the day `cutoff`. Raises InputError when it lies outside the data.

    All known features are unknown after the cutoff: the data holds what was observed, never what was
    forecast or planned, and a score on observed weather would be that of a model nobody can run.
    """
    with tempfile.TemporaryDirectory(prefix="surgecast-") as scratch:
        store = DemandStore(Path(scratch))
        store.add(freshretail_incoming(folder, Reading(now=Reading.today()), until=cutoff))
        panel = build_panel(store, no_events, cutoff=np.datetime64(cutoff, "s"))
    for values_SP in panel.known.values():
        values_SP[:, panel.n_periods :] = np.nan
    return panel
