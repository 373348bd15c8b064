"""The scores' table: HOME/monitoring/scores.parquet, a row per snapshot and part.

It is derived from snapshots and store, so that a table that is damaged or of another release is made anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final

import polars as pl

from forecast.demand.panel import STEP
from forecast.home import Home
from training.files import write_parquet
from training.monitoring.candidates import Ripe
from training.monitoring.scoring import Comparison
from training.monitoring.tally import ALL, BANDS, SUMS

ABOUT: Final = pl.Schema(
    {
        "snapshot": pl.String(),
        "bundle": pl.String(),
        "created": pl.String(),
        "period": pl.String(),
        "origin": pl.Datetime("us"),
        "last": pl.Datetime("us"),
        "horizon": pl.Int32(),
        "periods": pl.Int32(),
        "series": pl.Int64(),
        "gone": pl.Int64(),
        "data_version": pl.String(),
        "basis": pl.String(),
        "dimension": pl.String(),
        "value": pl.String(),
    }
)
"""What a row is about. last: the last period that was known; periods: how many of the horizon; series: of the
snapshot, in the store; gone: not in the store; data_version: of the store that it was scored by."""
METRICS: Final = (
    *("wql", "wape", "bias"),
    *(f"coverage_{band}" for band in BANDS),
    *("naive_wql", "naive_wape", "fva"),
)
"""As `forecast.evaluation.metrics.Metrics`, null where nothing is scored or no demand was; naive_*: of the
seasonal naive; fva: forecast value added, 1 - WQL / WQL of the seasonal naive (Gilliland, "The Business
Forecasting Deal", 2010), in whose sense a step of a process adds value if its forecasts err less than those
without it."""
SCHEMA: Final = pl.Schema(
    {**ABOUT, **dict.fromkeys(SUMS, pl.Float64()), **dict.fromkeys(METRICS, pl.Float64())}
)


def scores_file(home: Home) -> Path:
    """Where the table lies."""
    return home.monitoring_dir / "scores.parquet"


def read_scores(home: Home) -> tuple[pl.DataFrame, str]:
    """The table; empty, with a word why, where it cannot be used."""
    path = scores_file(home)
    if not path.is_file():
        return pl.DataFrame(schema=SCHEMA), ""
    try:
        found = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = (str(error).splitlines() or ["unreadable"])[0]
        return pl.DataFrame(schema=SCHEMA), f"{path} cannot be read ({reason}); all is scored anew"
    if found.schema != SCHEMA:
        return pl.DataFrame(schema=SCHEMA), f"{path} is of another release; all is scored anew"
    return found, ""


def write_scores(home: Home, scores: pl.DataFrame) -> None:
    """Replace the table, whole."""
    write_parquet(scores, scores_file(home))


def fresh(scores: pl.DataFrame, ripe: Ripe) -> bool:
    """Whether a snapshot was scored already with all the demand that concerns it."""
    mine = scores.filter(pl.col("snapshot") == ripe.manifest.id)
    row = mine.select("basis", "periods").row(0) if mine.height else None
    return row == (ripe.basis, ripe.n_periods)


def rows_of(found: Comparison, ripe: Ripe, data_version: str) -> pl.DataFrame:
    """The rows of a snapshot that was compared."""
    manifest = ripe.manifest
    last = manifest.origin + ripe.n_periods * STEP[manifest.period]
    about = {
        "snapshot": manifest.id,
        "bundle": manifest.bundle_id,
        "created": manifest.created,
        "period": manifest.period,
        "origin": manifest.origin.astype("datetime64[us]").item(),
        "last": last.astype("datetime64[us]").item(),
        "horizon": manifest.horizon,
        "periods": ripe.n_periods,
        "series": found.n_series,
        "gone": found.n_gone,
        "data_version": data_version,
        "basis": ripe.basis,
    }
    schema = {**ABOUT, **dict.fromkeys(SUMS, pl.Float64())}
    return with_metrics(pl.DataFrame([{**about, **row} for row in found.tally.rows()], schema=schema))


def with_metrics(sums: pl.DataFrame) -> pl.DataFrame:
    """`METRICS` beside `SUMS`."""

    def per(name: str, whole: str) -> pl.Expr:
        return pl.when(pl.col(whole) > 0).then(pl.col(name) / pl.col(whole))

    return sums.with_columns(
        per("quantile_loss", "units").alias("wql"),
        per("absolute_error", "units").alias("wape"),
        per("error", "units").alias("bias"),
        *(per(f"inside_{band}", "n").alias(f"coverage_{band}") for band in BANDS),
        per("naive_quantile_loss", "units").alias("naive_wql"),
        per("naive_absolute_error", "units").alias("naive_wape"),
        (1 - per("quantile_loss", "naive_quantile_loss")).alias("fva"),
    )


def merged(scores: pl.DataFrame, new: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """The table with the rows of newly scored snapshots in place of their old ones, by origin."""
    parts = list(new)
    names = [name for part in parts for name in part["snapshot"].unique()]
    kept = scores.filter(~pl.col("snapshot").is_in(names))
    return pl.concat([kept, *parts]).sort("origin", "created", maintain_order=True)


def pooled(scores: pl.DataFrame) -> pl.DataFrame:
    """dimension, value, sums and metrics of all snapshots of a table together."""
    sums = scores.group_by("dimension", "value", maintain_order=True).agg(pl.col(SUMS).sum())
    return with_metrics(sums)


def overall(scores: pl.DataFrame) -> pl.DataFrame:
    """The rows over all series and periods: one a snapshot."""
    return scores.filter((pl.col("dimension") == ALL.dimension) & (pl.col("value") == ALL.value))
