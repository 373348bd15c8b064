"""How much of a day's demand fell into its hours without stock, from FreshRetailNet's hourly sales and masks.

An hour before noon sells ten times one late at night, so hours are weighted by what the same category sells
in them on days of the same kind (working days, weekends) that were in stock all day.

Letters: N rows (series-days), G categories by kind of day.
"""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forecast.demand.panel import Panel
from forecast.demand.sources.reading import column_names, read_columns
from forecast.errors import InputError

HOURS: Final = 24
OPENING: Final = 6
"""Before it hardly anything is sold, in stock or not; such hours do not count as lost."""
LEAST: Final = 0.005
"""Share that a stock-out of any length costs at least, so that the day stays marked as one."""
COLUMNS: Final = ("first_category_id", "dt", "hours_sale", "stockout_mask", "stockout_hours_6_22")


def hours_are_known(path: Path) -> bool:
    """Whether the file has hourly sales and masks."""
    return set(COLUMNS) <= set(column_names(path))


def lost_share(path: Path, until: date | None = None) -> NDArray[np.float32]:
    """(N,) share of each day's usual demand that falls into its hours without stock; 0 on days in stock.

    until: hourly profiles are learned from the days up to it, from all days by default. A category without
    a day in stock weighs all hours alike. Raises InputError where a row has other than 24 hours.
    """
    rows = read_columns(path, COLUMNS)
    if not (rows["hours_sale"].list.len() == HOURS).all():
        raise InputError("hours_sale", expected=f"{HOURS} hours in every row", found="rows with others")
    sales_NH = np.nan_to_num(rows["hours_sale"].explode().cast(pl.Float32).to_numpy()).reshape(-1, HOURS)
    mask_N = rows["stockout_mask"].fill_null(0).to_numpy().astype(np.int64)
    out_N = rows["stockout_hours_6_22"].fill_null(0).to_numpy() > 0
    weekend_N = (rows["dt"].dt.weekday() > 5).to_numpy()
    _, category_N = np.unique(rows["first_category_id"].fill_null(-1).to_numpy(), return_inverse=True)
    group_N = 2 * category_N + weekend_N
    learned_N = ~out_N if until is None else ~out_N & (rows["dt"] <= until).to_numpy()
    profile_GH = hourly_profiles(sales_NH, group_N, learned_N)
    profile_GH[:, :OPENING] = 0.0
    lost_N = np.zeros(len(mask_N), np.float32)
    for hour in range(OPENING, HOURS):
        lost_N += ((mask_N >> hour) & 1) * profile_GH[group_N, hour]
    return np.where(out_N, np.clip(lost_N, LEAST, 1.0), 0.0).astype(np.float32)


def hourly_profiles(
    sales_NH: NDArray[np.float32], group_N: NDArray[np.intp], learned_N: NDArray[np.bool_]
) -> NDArray[np.float32]:
    """(G, 24) share of a day's sales in each hour, from the learned rows; uniform where nothing was sold."""
    profile_GH = np.full((int(group_N.max()) + 1, HOURS), 1e-6, np.float64)
    for group in range(len(profile_GH)):
        rows = np.flatnonzero(learned_N & (group_N == group))
        profile_GH[group] += np.maximum(sales_NH[rows], 0).sum(0, dtype=np.float64)
    shares: NDArray[np.float32] = (profile_GH / profile_GH.sum(1, keepdims=True)).astype(np.float32)
    return shares


def hourly_sales(path: Path, panel: Panel) -> NDArray[np.float32]:
    """(S, T, 24) sales by hour of the panel's series and days; 0 where the file has no row."""
    columns = ("store_id", "product_id", "dt", "hours_sale")
    rows = read_columns(path, columns)
    keys = {"store_id": panel.keys.location, "product_id": panel.keys.item}
    wanted = pl.DataFrame({name: pl.Series(labels.astype(np.int64)) for name, labels in keys.items()})
    wanted = wanted.select(pl.col(name).cast(rows.schema[name]) for name in keys).with_row_index("series")
    found = rows.join(wanted, on=list(keys), how="inner")
    day = (found["dt"].cast(pl.Datetime("us")) - panel.start.astype(datetime)).dt.total_days()
    found = found.with_columns(day.alias("day")).filter(pl.col("day").is_between(0, panel.n_periods - 1))
    hours_NH = found["hours_sale"].explode().cast(pl.Float32).to_numpy().reshape(-1, HOURS)
    hours_STH = np.zeros((panel.n_series, panel.n_periods, HOURS), np.float32)
    hours_STH[found["series"].to_numpy(), found["day"].to_numpy()] = hours_NH
    return hours_STH
