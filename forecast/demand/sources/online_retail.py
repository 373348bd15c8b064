"""UCI Online Retail: order lines of a British web shop, 2010-12 to 2011-12. An item is a stock code, a
location the buyer's country. Returns and cancellations (negative quantities) are quarantined, not netted:
demand is what was asked for. CustomerID is never read."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from forecast.demand.incoming import Incoming, file_hash
from forecast.demand.schema import KEYS
from forecast.demand.sources.orders import gate_lines, sum_lines
from forecast.demand.sources.reading import Reading, read_rows

FILE = "order_lines.parquet"
COLUMNS = {
    "invoice": "InvoiceNo",
    "item": "StockCode",
    "quantity": "Quantity",
    "time": "InvoiceDate",
    "price": "UnitPrice",
    "location": "Country",
}
"""All that is read."""
MAX_QUANTITY = 10_000.0
"""The only three larger lines are two orders cancelled within minutes and a give-away."""
GOODS = r"^\d{5}"
"""Stock codes of goods start with five digits; the others are postage, fees, samples and manual entries."""


def online_retail_incoming(folder: Path, reading: Reading, *, min_lines: int) -> Incoming:
    """The order lines for the store, summed per day; series with fewer than `min_lines` are left out."""
    path = folder / FILE
    rows = read_rows([path], COLUMNS, zone=reading.timezone)
    lines = rows.with_columns(
        pl.col("item").str.strip_chars().str.to_uppercase(),
        pl.col("location").str.strip_chars(),
        pl.lit("online").alias("platform"),
        pl.col("quantity").cast(pl.Float64),
        pl.col("item").str.contains(GOODS).fill_null(False).alias("countable"),
        (pl.col("price") > 0).fill_null(False).alias("sold"),
        (~pl.struct(*COLUMNS).is_first_distinct()).alias("repeat"),
        pl.lit(False).alias("seen"),
    )
    gated = gate_lines(lines, reading, cap=MAX_QUANTITY, min_lines=min_lines)
    demand, series = sum_lines(gated.good.select("row", *KEYS, "time", "quantity"), "day", ())
    return Incoming(
        source="online-retail",
        kind="orders",
        period="day",
        hashes=(file_hash(path),),
        series=series,
        chunks=[demand],
        quarantine=gated.bad,
    )
