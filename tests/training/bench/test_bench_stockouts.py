"""`surgecast bench stockouts` on tiny data, and what `given_stock` adds."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forecast.cli.main import run
from tests.support.panels import make_panel
from training.features import SOLD_OUT, given_stock


def write(folder: Path, *, hours: bool) -> None:
    """Four products in two stores, 80 days of about 16 units; day 5 sold out at noon."""
    random = np.random.default_rng(0)
    rows = []
    for store, product, day in np.ndindex(2, 4, 80):
        sales = np.zeros(24)
        sales[6:22] = random.poisson(1.0, 16)
        sold_out = day == 5
        sales[12 if sold_out else 22 :] = 0
        rows.append(
            {
                "city_id": 0,
                "store_id": store,
                "management_group_id": 0,
                "first_category_id": product % 2,
                "second_category_id": 2,
                "third_category_id": 3,
                "product_id": 10 + product,
                "dt": date(2024, 3, 31) + timedelta(days=day),
                "discount": 1.0,
                "holiday_flag": 0,
                "activity_flag": 0,
                "precpt": 2.0,
                "avg_temperature": 20.0,
                "avg_humidity": 70.0,
                "avg_wind_level": 1.5,
                "sale_amount": float(sales.sum()),
                "stockout_hours_6_22": 10 if sold_out else 0,
                "hours_sale": sales.tolist(),
                "stockout_mask": sum(1 << h for h in range(12, 24)) if sold_out else 0,
            }
        )
    frame = pl.DataFrame(rows)
    days = frame if hours else frame.drop("hours_sale", "stockout_mask")
    days.write_parquet(folder / "train_hourly.parquet")


def bench(folder: Path, *flags: str) -> int:
    return run(["bench", "stockouts", "--data", str(folder), "--steps", "60", "--device", "cpu", *flags])


def test_hidden_demand_is_found_and_sales_fall_short(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, hours=True)
    assert bench(tmp_path, "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["bench"] == "stockouts"
    results = printed["results"]
    assert results["series"] == 8
    assert 0.15 < results["chosen_share"] < 0.35
    assert results["sales_bias"] < -0.2
    assert abs(results["recovered_bias"]) < 0.2
    assert results["ignoring_bias"] < results["forecast_bias"]


def test_data_that_cannot_be_used_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(tmp_path) == 1
    assert "train_hourly.parquet" in capsys.readouterr().err
    write(tmp_path, hours=False)
    assert bench(tmp_path) == 1
    assert "hourly sales" in capsys.readouterr().err
    write(tmp_path, hours=True)
    assert bench(tmp_path, "--cutoff", "2024-06-17") == 1
    assert "at most 2024-06-11" in capsys.readouterr().err
    assert bench(tmp_path, "--cutoff", "someday") == 2


def test_given_stock_knows_the_past_and_asks_for_days_in_stock() -> None:
    panel = make_panel([[1, 2, 3]], stocked_out_ST=np.array([[0, 0.4, np.nan]]))
    np.testing.assert_array_equal(given_stock(panel, 2).known[SOLD_OUT], [[0, 1, 0, 0, 0]])
    np.testing.assert_array_equal(given_stock(make_panel([[1]]), 2).known[SOLD_OUT], [[0, 0, 0]])
