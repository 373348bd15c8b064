"""Hourly masks: how much of a day's demand was lost."""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forecast.demand.sources.freshretail_hours import hourly_sales, hours_are_known, lost_share
from forecast.errors import InputError
from tests.support.panels import make_panel

FIRST = date(2024, 1, 1)  # a Monday
BUSY = [0.0] * 9 + [6.0, 3.0] + [0.0] * 9 + [1.0] + [0.0] * 3
"""Sells 6 at nine, 3 at ten, 1 at twenty."""


def write(path: Path, masks: list[int], hours: list[list[float]], outs: list[int]) -> None:
    n = len(masks)
    pl.DataFrame(
        {
            "first_category_id": pl.Series([1] * n, dtype=pl.Int16),
            "store_id": pl.Series([5] * n, dtype=pl.Int16),
            "product_id": pl.Series([7] * n, dtype=pl.Int16),
            "dt": [FIRST + timedelta(days=i) for i in range(n)],
            "hours_sale": pl.Series(hours, dtype=pl.List(pl.Float32)),
            "stockout_mask": pl.Series(masks, dtype=pl.UInt32),
            "stockout_hours_6_22": pl.Series(outs, dtype=pl.UInt8),
        }
    ).write_parquet(path)


def test_lost_hours_weigh_what_they_usually_sell(tmp_path: Path) -> None:
    path = tmp_path / "hours.parquet"
    morning, evening, night = 1 << 9, sum(1 << h for h in range(11, 24)), 1 << 2
    write(path, [0, night, morning, evening, 1 << 15], [BUSY] * 5, [0, 0, 1, 11, 1])
    np.testing.assert_allclose(lost_share(path), [0, 0, 0.6, 0.1, 0.005], atol=1e-4)


def test_profiles_are_learned_up_to_a_day(tmp_path: Path) -> None:
    path = tmp_path / "hours.parquet"
    late = [0.0] * 20 + [5.0] + [0.0] * 3
    write(path, [0, 1 << 20, 0], [BUSY, BUSY, late], [0, 1, 0])
    np.testing.assert_allclose(lost_share(path, FIRST)[1], 0.1, atol=1e-4)
    assert lost_share(path)[1] == pytest.approx(0.4, abs=1e-4)  # (1 + 5) of 15


def test_a_day_without_24_hours_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "hours.parquet"
    write(path, [0], [[1.0] * 23], [0])
    with pytest.raises(InputError, match="24 hours"):
        lost_share(path)


def test_a_file_of_days_has_no_hours(tmp_path: Path) -> None:
    path = tmp_path / "days.parquet"
    pl.DataFrame({"dt": [FIRST], "stockout_hours_6_22": [3]}).write_parquet(path)
    assert not hours_are_known(path)


def test_hourly_sales_lie_by_series_and_day(tmp_path: Path) -> None:
    path = tmp_path / "hours.parquet"
    write(path, [0] * 3, [[float(i)] * 24 for i in range(3)], [0] * 3)
    panel = make_panel([[0, 24], [0, 0]], items=["7", "8"], locations=["5", "5"])
    hours = hourly_sales(path, panel)
    np.testing.assert_array_equal(hours.sum(2), [[0, 24], [0, 0]])
