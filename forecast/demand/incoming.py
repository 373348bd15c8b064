"""What a source hands to the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from forecast.demand.gate import QUARANTINE
from forecast.demand.panel import Period

Kind = Literal["orders", "table"]
STEP_US: dict[Period, int] = {"hour": 3_600_000_000, "day": 86_400_000_000, "week": 7 * 86_400_000_000}


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """Demand that passed the gate.

    kind: `orders` for sums of order lines: a period without a line is a period without demand, from the
        series' first line to the end of the import, and two imports of one period add up (see overlaps).
        `table` for demand as given: a period without a row is missing, and a later import of one period
        replaces the former.
    hashes: SHA-256 of each input; what the store already has is not added again.
    series: item, location, platform and static labels, all strings; row s is series s of the chunks.
    known: names of the known-future features.
    chunks: frames of series (row of `series`, ascending), time (start of the period), demand (null: missing),
        stocked_out (share, null: not recorded) and the known features; one row per series and period.
    quarantine: bad rows, as gate.QUARANTINE.
    lines: of `orders`, the hash of each good line (overlap.line_hashes); empty where none has an identifier.
    overlaps: whether order lines without identifiers may lie in periods imported before, to be added up.
    """

    source: str
    kind: Kind
    period: Period
    hashes: tuple[str, ...]
    series: pl.DataFrame
    known: tuple[str, ...] = ()
    chunks: Iterable[pl.DataFrame]
    quarantine: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=QUARANTINE))
    lines: pl.Series = field(default_factory=lambda: pl.Series("line", dtype=pl.Int64))
    overlaps: bool = False

    def frames(self) -> Iterator[pl.DataFrame]:
        """The chunks in the columns and types of the store."""
        return (chunk.select(self.columns()) for chunk in self.chunks)

    def columns(self) -> list[pl.Expr]:
        """Columns of a stored chunk."""
        features = ("demand", "stocked_out", *self.known)
        return [
            pl.col("series").cast(pl.Int32),
            pl.col("time").cast(pl.Datetime("us")),
            *(pl.col(name).cast(pl.Float32) for name in features),
        ]


def file_hash(*paths: Path) -> str:
    """SHA-256 over the contents of some files, in the order given."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def number_series(
    rows: pl.DataFrame, keys: Sequence[str], statics: Sequence[str]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The series of some rows in the order of their keys, with their first known static labels; and the
    rows with a column `series`, ordered by series and time."""
    labels = [pl.col(name).drop_nulls().first() for name in statics]
    series = rows.group_by(keys).agg(labels).sort(keys).with_columns(pl.col(statics).fill_null(""))
    numbered = rows.join(series.select(keys).with_row_index("series"), on=list(keys))
    return series, numbered.sort("series", "time")
