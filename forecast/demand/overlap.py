"""Keeps order lines from being counted twice when exports overlap.

Where the map names the lines' identifiers, the store keeps a 64-bit hash of each line's identifier, location
and platform (table `lines`: import, line; null for lines without an identifier), and an import leaves out
the lines it has. Where identifiers lack, imports of one location and platform must not overlap in time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from forecast.demand.delta import append, read
from forecast.errors import InputError

PLACE = ("location", "platform")
_SALT = b"order line"


def line_hashes(lines: pl.DataFrame) -> pl.Series:
    """One Int64 per line, stable over versions of everything; null for a line without an identifier.

    lines: columns location, platform and line, all strings.
    """
    hashes = [
        None if line is None else _hash(f"{location}\n{platform}\n{line}")
        for location, platform, line in lines.select(*PLACE, "line").iter_rows()
    ]
    return pl.Series("hash", hashes, dtype=pl.Int64)


def read_lines(folder: Path, n_imports: int) -> pl.DataFrame:
    """import, line of the imports that ended well."""
    if not DeltaTable.is_deltatable(str(folder)):
        return pl.DataFrame(schema={"import": pl.Int32, "line": pl.Int64})
    return read(folder, None).filter(pl.col("import") <= n_imports).select("import", "line")


def write_lines(folder: Path, lines: pl.Series, number: int) -> None:
    """Keep the hashes of an import's lines."""
    if len(lines):
        append(folder, lines.unique().alias("line").to_frame(), number)


def undo_lines(folder: Path, n_imports: int) -> None:
    """Take back the lines of an import that died. Only imports read this table, one at a time."""
    if not DeltaTable.is_deltatable(str(folder)):
        return
    table = DeltaTable(str(folder))
    table.delete(f'"import" > {n_imports}')
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)


def spans(files: list[Path], series: pl.DataFrame) -> pl.DataFrame:
    """location, platform, first and last period with demand in some Parquet files of the store."""
    return (
        pl.scan_parquet(files, hive_partitioning=False)
        .filter(pl.col("demand").is_not_null())
        .join(series.lazy().select("series", *PLACE), on="series")
        .group_by(PLACE)
        .agg(first=pl.col("time").min(), last=pl.col("time").max())
        .collect()
    )


def refuse_overlap(earlier: pl.DataFrame, new: pl.DataFrame, number: int) -> None:
    """Raise InputError where the spans `new` lie over those of import `number`."""
    both = earlier.join(new, on=PLACE, suffix="_new").filter(
        (pl.col("first_new") <= pl.col("last")) & (pl.col("first") <= pl.col("last_new"))
    )
    if both.is_empty():
        return
    row = both.sort(PLACE).row(0, named=True)
    begin, end = max(row["first"], row["first_new"]), min(row["last"], row["last_new"])
    where = f"{row['location']} on {row['platform']}"
    raise InputError(
        "orders",
        expected="periods that were not imported before, or the lines' identifiers (`line` in the map)"
        " in all imports",
        found=f"{begin} to {end} again for {where}, which import {number} holds"
        f"{f' (and {both.height - 1} more places)' if both.height > 1 else ''};"
        " import only new periods, or say --add where these are other orders",
    )


def _hash(text: str) -> int:
    digest = hashlib.blake2b(text.encode(), digest_size=8, salt=_SALT).digest()
    return int.from_bytes(digest, "little", signed=True)
