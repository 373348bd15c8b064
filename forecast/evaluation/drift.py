"""Drift: how far the distribution of a feature has moved, by segment.

Two distances between a reference sample x_1..x_n and a recent one y_1..y_m of one feature in one segment.

Population stability index (Siddiqi, Credit Risk Scorecards, 2006): with bins b at the reference's quantiles
and shares p_b of the reference, q_b of the recent sample in them,

    PSI = sum_b (q_b - p_b) ln(q_b / p_b).

Below 0.1 it is read as stable, above 0.25 as a shift. Shares are smoothed, (count + 1/2) / (n + B/2) of B
bins, so that an empty bin is no infinity. Without any drift PSI / (1/n + 1/m) is close to chi-squared with
B - 1 degrees of freedom (Yurdakul and Naranjo, Statistical properties of the population stability index,
Journal of Risk Model Validation 14(4), 2020): what small samples show by chance is `noise`, the 99.9 %
quantile of that.

Wasserstein-1 distance (Vallender, Theory of Probability and Its Applications 18(4), 1974): the area between
the two cumulative distribution functions,

    W = integral |F(v) - G(v)| dv,

in the feature's units; `moved` is W in standard deviations of the reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

BINS: Final = 10
CERTAIN: Final = 3.0902
"""The standard normal's 99.9 % quantile."""
KEYS: Final = ("segment", "feature")


def drift(
    reference: pl.DataFrame, recent: pl.DataFrame, features: Sequence[str], *, segment: str | None = None
) -> pl.DataFrame:
    """Both distances of each feature in each segment.

    reference, recent: one row an observation; nulls and NaN are left out. segment: a column of labels; all
    rows are the one segment "all" where None. Segments that one of the two lacks are not listed.

    Returns segment, feature, psi, noise, wasserstein, moved, n_reference, n_recent, in the order of segments
    and features. moved is null where the reference does not vary.
    """
    x, y = (_long(frame, features, segment) for frame in (reference, recent))
    rows = _psi(x, y).join(_wasserstein(x, y), on=KEYS)
    order = pl.DataFrame({"feature": list(features)}).with_row_index("order")
    return (
        rows.join(order, on="feature")
        .sort("segment", "order")
        .select(
            *KEYS,
            "psi",
            _noise(),
            "wasserstein",
            pl.when(pl.col("scale") > 0).then(pl.col("wasserstein") / pl.col("scale")).alias("moved"),
            "n_reference",
            "n_recent",
        )
    )


def _long(frame: pl.DataFrame, features: Sequence[str], segment: str | None) -> pl.DataFrame:
    """segment, feature, value: one row a value that is there."""
    label = pl.lit("all") if segment is None else pl.col(segment).cast(pl.String)
    return (
        frame.select(label.alias("segment"), pl.col(*features).cast(pl.Float64))
        .unpivot(index="segment", variable_name="feature")
        .filter(pl.col("value").is_finite())
    )


def _psi(x: pl.DataFrame, y: pl.DataFrame) -> pl.DataFrame:
    """psi, bins, n_reference and n_recent by segment and feature."""
    quantiles = [pl.col("value").quantile(i / BINS, "linear").alias(str(i)) for i in range(1, BINS)]
    inner = x.group_by(KEYS).agg(quantiles).unpivot(index=list(KEYS), value_name="edge").drop("variable")
    lowest = inner.select(KEYS).unique().with_columns(edge=pl.lit(float("-inf")))
    edges = pl.concat([lowest, inner.unique()]).sort("edge")
    counted = edges
    for name, sample in (("n_reference", x), ("n_recent", y)):
        binned = sample.sort("value").join_asof(
            edges, left_on="value", right_on="edge", by=KEYS, check_sortedness=False
        )
        counts = binned.group_by(*KEYS, "edge").agg(pl.len().cast(pl.Float64).alias(name))
        counted = counted.join(counts, on=[*KEYS, "edge"], how="left").with_columns(pl.col(name).fill_null(0))
    p, q = (_share(name) for name in ("n_reference", "n_recent"))
    return (
        counted.group_by(KEYS)
        .agg(
            ((q - p) * (q / p).log()).sum().alias("psi"),
            pl.len().alias("bins"),
            pl.col("n_reference", "n_recent").sum().cast(pl.Int64),
        )
        .filter(pl.col("n_recent") > 0)
    )


def _share(name: str) -> pl.Expr:
    """Smoothed shares of the bins of a group."""
    return (pl.col(name) + 0.5) / (pl.col(name).sum() + 0.5 * pl.len())


def _noise() -> pl.Expr:
    """What PSI exceeds once in a thousand without drift; the quantile of chi-squared after Wilson and
    Hilferty (1931)."""
    df = (pl.col("bins").cast(pl.Float64) - 1).clip(1)
    chi_squared = df * (1 - 2 / (9 * df) + CERTAIN * (2 / (9 * df)).sqrt()).pow(3)
    return (chi_squared * (1 / pl.col("n_reference") + 1 / pl.col("n_recent"))).alias("noise")


def _wasserstein(x: pl.DataFrame, y: pl.DataFrame) -> pl.DataFrame:
    """wasserstein, and scale, the reference's standard deviation, by segment and feature."""
    both = pl.concat([x.with_columns(from_x=pl.lit(1.0)), y.with_columns(from_x=pl.lit(0.0))])
    own, other = pl.col("from_x"), 1 - pl.col("from_x")
    gap = (own.cum_sum() / own.sum() - other.cum_sum() / other.sum()).abs()
    step = pl.col("value").shift(-1) - pl.col("value")
    areas = (
        both.sort("value").group_by(KEYS, maintain_order=True).agg((gap * step).sum().alias("wasserstein"))
    )
    return areas.join(x.group_by(KEYS).agg(pl.col("value").std(ddof=0).alias("scale")), on=KEYS)
