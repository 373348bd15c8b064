"""Rows in and out of Delta tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake import DeltaTable, WriterProperties, write_deltalake
from deltalake.exceptions import DeltaError

from forecast.errors import IntegrityError, SurgecastError

_PARQUET = WriterProperties(compression="ZSTD", compression_level=1, max_row_group_size=2_000_000)


@dataclass
class Tally:
    """Counts what streams by: rows, the span of the demand, the last row, and whether stock is recorded."""

    rows: int = 0
    first: datetime | None = None
    last: datetime | None = None
    known_last: datetime | None = None
    stock: bool = False

    def count(self, chunk: pl.DataFrame) -> None:
        """Count a chunk."""
        observed = pl.col("time").filter(pl.col("demand").is_not_null())
        first, last, known_last, stock = chunk.select(
            observed.min().alias("first"),
            observed.max().alias("last"),
            pl.col("time").max().alias("known_last"),
            pl.col("stocked_out").is_not_null().any(),
        ).row(0)
        self.rows += chunk.height
        self.first = min(filter(None, (self.first, first)), default=None)
        self.last = max(filter(None, (self.last, last)), default=None)
        self.known_last = max(filter(None, (self.known_last, known_last)), default=None)
        self.stock = self.stock or stock


def write_chunks(path: Path, chunks: Iterator[pl.DataFrame], known: tuple[str, ...], number: int) -> None:
    """Append all chunks in one commit."""
    features = ("demand", "stocked_out", *known)
    schema = pa.schema(
        [
            pa.field("series", pa.int32()),
            pa.field("time", pa.timestamp("us")),
            *(pa.field(name, pa.float32()) for name in features),
            pa.field("import", pa.int32()),
        ]
    )
    batches = _Remembered(
        batch
        for chunk in chunks
        for batch in chunk.with_columns(pl.lit(number, pl.Int32).alias("import"))
        .to_arrow(compat_level=pl.CompatLevel.oldest())
        .cast(schema)
        .to_batches()
    )
    try:
        write_deltalake(
            path,
            pa.RecordBatchReader.from_batches(schema, batches),
            mode="append",
            schema_mode="merge",
            partition_by=["import"],
            writer_properties=_PARQUET,
        )
    except DeltaError:
        if batches.failure is not None:
            raise batches.failure from None
        raise


class _Remembered:
    """Passes batches on and keeps what went wrong in making one; the writer turns all into a DeltaError."""

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._batches = batches
        self.failure: SurgecastError | KeyboardInterrupt | None = None

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from self._batches
        except (SurgecastError, KeyboardInterrupt) as error:
            self.failure = error
            raise


def append(path: Path, rows: pl.DataFrame, number: int) -> None:
    """Append rows in one commit, with the import's number."""
    write(path, rows.with_columns(pl.lit(number, pl.Int32).alias("import")))


def write(path: Path, rows: pl.DataFrame) -> None:
    """Append rows in one commit; new columns are added to the table."""
    table = rows.to_arrow(compat_level=pl.CompatLevel.oldest())
    write_deltalake(path, table, mode="append", schema_mode="merge")


def count_missing(files: list[Path], last: datetime) -> int:
    """Rows up to `last` in which the demand is missing."""
    missing = pl.col("demand").is_null() & (pl.col("time") <= pl.lit(last, pl.Datetime("us")))
    counted = pl.scan_parquet(files, hive_partitioning=False).select(missing.sum()).collect()
    return int(counted.item())


def read(path: Path, version: int | None) -> pl.DataFrame:
    """All rows of a version, the newest when None. Raises IntegrityError when they cannot be read."""
    try:
        table = DeltaTable(str(path), version=version)
        empty = pl.DataFrame(pa.schema(table.schema().to_arrow()).empty_table())
        parts = [pl.read_parquet(file, hive_partitioning=False) for file in table.file_uris()]
        return pl.concat([empty, *parts], how="diagonal_relaxed")
    except (pl.exceptions.PolarsError, DeltaError, OSError) as error:
        found = str(error).splitlines()[0]
        raise IntegrityError(path.name, expected="a readable Delta table", found=found) from error
