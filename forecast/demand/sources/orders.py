"""Order lines: read by an allow-list of columns, gated line by line, then summed to demand per series and
period.

Whoever bought is never read: a column that the map does not name stays in the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from pydantic import Field

from forecast.demand.gate import QUARANTINE, Gated, gate, require_good
from forecast.demand.incoming import Incoming, file_hash, number_series
from forecast.demand.overlap import line_hashes
from forecast.demand.panel import Period
from forecast.demand.schema import KEYS, OrderLine, check_features
from forecast.demand.sources.reading import (
    FileModel,
    Reading,
    label,
    number,
    read_model,
    read_rows,
    read_toml,
)
from forecast.errors import UsageError

TRUNCATE: dict[Period, str] = {"hour": "1h", "day": "1d", "week": "1w"}
"""Periods as polars truncates to them; weeks start on Monday."""


class OrderColumns(FileModel):
    """Which column is what: the section `[columns]` of the map. item, time and quantity must be there.

    line: the order line's identifier; a second line with the same one is quarantined, also when a former
    import brought the first. static: labels of a series. Without a location or platform every line gets
    `all`.
    """

    item: str
    time: str
    quantity: str
    location: str | None = None
    platform: str | None = None
    line: str | None = None
    static: tuple[str, ...] = Field(default=())


class OrderMap(FileModel):
    """The map: a small TOML file. period: what lines are summed to. max_quantity: the cap of one line, the
    settings' `demand.max_units` when not given."""

    columns: OrderColumns
    period: Period = "day"
    max_quantity: float | None = Field(default=None, gt=0)


def read_order_map(path: Path) -> OrderMap:
    """Read a map. Raises UsageError naming the file, the key, expected and found."""
    return read_model(path, read_toml(path), OrderMap)


def orders_incoming(
    files: Sequence[Path],
    mapping: OrderMap,
    reading: Reading,
    *,
    known_lines: pl.Series | None = None,
    overlaps: bool = False,
) -> Incoming:
    """Order lines of some files for the store.

    known_lines: hashes of the lines imported before, which are quarantined. overlaps: as in Incoming.
    Raises InputError when nothing good is in the files.
    """
    columns = mapping.columns
    if not files:
        raise UsageError("files: expected at least one, found none")
    check_features(columns.static)
    named = {
        name: column
        for name in ("item", "time", "quantity", "location", "platform", "line")
        if (column := getattr(columns, name)) is not None
    }
    rows = read_rows(files, {**named, **{name: name for name in columns.static}}, zone=reading.timezone)
    lines = rows.with_columns(
        *((label(name) if name in named else pl.lit("all")).alias(name) for name in KEYS),
        *(label(name).alias(name) for name in columns.static),
        number(rows, "quantity").alias("quantity"),
        pl.lit(True).alias("countable"),
        pl.lit(True).alias("sold"),
        *([label("line")] if "line" in named else []),
        (_repeats("line") if "line" in named else pl.lit(False)).alias("repeat"),
    )
    if "line" in named:
        lines = lines.with_columns(line_hashes(lines))
    else:
        lines = lines.with_columns(pl.lit(None, pl.Int64).alias("hash"))
    seen = pl.col("hash").is_in((_NONE if known_lines is None else known_lines).implode())
    gated = gate_lines(
        lines.with_columns(seen.fill_null(False).alias("seen")), reading, cap=mapping.max_quantity
    )
    demand, series = sum_lines(gated.good, mapping.period, columns.static)
    return Incoming(
        source="orders",
        kind="orders",
        period=mapping.period,
        hashes=tuple(file_hash(path) for path in files),
        series=series,
        chunks=[demand],
        quarantine=gated.bad,
        lines=gated.good["hash"] if "line" in named else _NONE,
        overlaps=overlaps,
    )


_NONE = pl.Series("hash", dtype=pl.Int64)


def gate_lines(
    lines: pl.DataFrame, reading: Reading, *, cap: float | None = None, min_lines: int = 1
) -> Gated:
    """Split lines into good and bad. cap: largest quantity of a line, the reading's when None.

    min_lines: the lines of a series with fewer good ones are quarantined too. Raises InputError when none
    is good.
    """
    ready = lines.with_columns(
        pl.lit(reading.now, pl.Datetime("us")).alias("now"),
        pl.lit(reading.max_units if cap is None else cap).alias("cap"),
    )
    gated = gate(ready, OrderLine, value="quantity")
    if min_lines > 1:
        gated = _drop_thin(gated, min_lines)
    require_good(gated, "order lines")
    return gated


def sum_lines(
    lines: pl.DataFrame, period: Period, statics: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Demand per series and period with lines, as the store's chunks want it; and the series."""
    series, numbered = number_series(lines, KEYS, statics)
    demand = (
        numbered.group_by("series", pl.col("time").dt.truncate(TRUNCATE[period]))
        .agg(pl.col("quantity").sum().alias("demand"))
        .sort("series", "time")
        .with_columns(pl.lit(None, pl.Float32).alias("stocked_out"))
    )
    return demand, series


def _repeats(*columns: str) -> pl.Expr:
    """Whether an equal line came before; lines without an identifier repeat nothing."""
    return ~pl.struct(columns).is_first_distinct() & pl.all_horizontal(pl.col(columns).is_not_null())


def _drop_thin(gated: Gated, min_lines: int) -> Gated:
    thin = gated.good.filter(pl.len().over(KEYS) < min_lines)
    reason = pl.lit(f"series has fewer than {min_lines} lines").alias("reason")
    bad = thin.with_columns(reason, pl.col("quantity").alias("value")).select(
        pl.col(name).cast(dtype) for name, dtype in QUARANTINE.items()
    )
    good = gated.good.join(thin.select("row"), on="row", how="anti", maintain_order="left")
    return Gated(good=good, bad=pl.concat([gated.bad, bad]))
