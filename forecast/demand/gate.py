"""The gate: good rows go on, bad ones to the quarantine with one named reason each: rows in = good + bad."""

from __future__ import annotations

from dataclasses import dataclass

import dataframely as dy
import polars as pl

from forecast.errors import InputError

QUARANTINE = pl.Schema(
    {
        "row": pl.UInt32(),
        "reason": pl.String(),
        "item": pl.String(),
        "location": pl.String(),
        "platform": pl.String(),
        "time": pl.Datetime("us"),
        "value": pl.Float64(),
    }
)
"""Columns of a quarantined row; `value` is its demand or quantity. Nothing about a buyer is among them."""


@dataclass(frozen=True, kw_only=True)
class Gated:
    """good: the rows that passed, all columns. bad: the others as in QUARANTINE."""

    good: pl.DataFrame
    bad: pl.DataFrame

    def reasons(self) -> dict[str, int]:
        """Reason -> number of quarantined rows, the commonest first."""
        return count_reasons(self.bad)


def gate(rows: pl.DataFrame, schema: type[dy.Schema], *, value: str) -> Gated:
    """Split rows by the schema's rules; a row that breaks several takes the first in the order they are
    declared.

    rows: has the schema's columns and may have more. value: the column that the quarantine keeps as `value`.
    """
    wanted = rows.select(schema.column_names())
    _, failure = schema.filter(wanted)
    details = failure.details()
    rules = [name for name in details.columns if name not in wanted.columns]
    if details.is_empty():
        return Gated(good=rows, bad=pl.DataFrame(schema=QUARANTINE))
    first_broken = pl.coalesce(
        pl.when(pl.col(r) == "invalid").then(pl.lit(r.replace("_", " "))) for r in rules
    )
    bad = details.with_columns(reason=first_broken, value=pl.col(value).cast(pl.Float64)).select(
        pl.col(name).cast(dtype) for name, dtype in QUARANTINE.items()
    )
    return Gated(good=rows.join(bad.select("row"), on="row", how="anti", maintain_order="left"), bad=bad)


def count_reasons(bad: pl.DataFrame) -> dict[str, int]:
    """Reason -> number of rows, the commonest first."""
    counts = bad.group_by("reason").len().sort("len", "reason", descending=[True, False])
    return {str(reason): int(n) for reason, n in counts.iter_rows()}


def require_good(gated: Gated, what: str) -> None:
    """Raise InputError when not one row passed."""
    if gated.good.is_empty():
        reasons = ", ".join(f"{n} x {reason}" for reason, n in gated.reasons().items())
        raise InputError(what, expected="at least one good row", found=reasons or "no rows")
