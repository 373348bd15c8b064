"""The period of a table, inferred from its times."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from forecast.demand.panel import Period
from forecast.errors import InputError

ENOUGH = 0.75
"""Share of the distinct times that must fit; the others are quarantined later."""
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


def infer_period(times: pl.Series) -> Period:
    """hour, day or week. Raises InputError when the times fit none of them, or more than one."""
    distinct = times.drop_nulls().unique().sort()
    hint = "hourly, daily or weekly times, or --period"
    if distinct.len() < 2:
        raise InputError("period", expected=hint, found=f"{distinct.len()} distinct time")
    shortest = distinct.diff().drop_nulls().mode().min()
    midnight = _share(distinct.dt.truncate("1d") == distinct)
    weekday = _share(distinct.dt.weekday() == distinct.dt.weekday().mode().min())
    if midnight >= ENOUGH:
        if weekday >= ENOUGH and shortest == WEEK and distinct.len() > 2:
            return "week"
        if weekday < ENOUGH and shortest == DAY:
            return "day"
    elif _share(distinct.dt.truncate("1h") == distinct) >= ENOUGH and shortest == HOUR:
        return "hour"
    found = f"{distinct.len()} distinct times, mostly {shortest!s} apart, {midnight:.0%} of them at midnight"
    raise InputError("period", expected=hint, found=found)


def on_grid(times: pl.Series, period: Period) -> pl.Series:
    """Whether each time starts a period; weeks start on the commonest weekday. Null counts too."""
    aligned = times.dt.truncate("1h" if period == "hour" else "1d") == times
    if period == "week":
        aligned &= times.dt.weekday() == times.dt.weekday().mode().min()
    return aligned.fill_null(True)


def _share(fits: pl.Series) -> float:
    return float(fits.sum()) / fits.len()
