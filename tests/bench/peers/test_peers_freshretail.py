"""FreshRetailNet in the comparison: what is held back, what is scored, what the table shows."""

from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from panels import random_forecasts

from tests.bench.peers.runner import run
from tests.bench.peers.table import print_results
from tests.bench.peers.task import Task, freshretail_tasks

FIRST, DAYS = date(2024, 4, 20), 60


def write(folder: Path) -> None:
    """Four products in two stores; everything is sold out on the third of the last seven days."""
    random = np.random.default_rng(0)
    constant = {"city_id": 0, "management_group_id": 0, "first_category_id": 1, "second_category_id": 2}
    constant |= {"third_category_id": 3, "holiday_flag": 0, "activity_flag": 0}
    weather = {"precpt": 2.0, "avg_temperature": 20.0, "avg_humidity": 70.0, "avg_wind_level": 1.5}
    rows = [
        {
            **constant,
            **weather,
            "discount": 1.0,
            "store_id": store,
            "product_id": product,
            "dt": FIRST + timedelta(days=day),
            "sale_amount": float(random.gamma(2.0)),
            "stockout_hours_6_22": 16 if day == DAYS - 5 else 0,
        }
        for store in (1, 2)
        for product in (10, 11, 12, 13)
        for day in range(DAYS)
    ]
    pl.DataFrame(rows).write_parquet(folder / "train_hourly.parquet")


class Random:
    """Random forecasts."""

    def identity(self, task: Task) -> object:
        return "random"

    def __call__(self, task: Task):
        return random_forecasts(task.panel, task.horizon), {}


def test_the_last_week_is_held_back_and_scored_in_stock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path)
    last = FIRST + timedelta(days=DAYS - 1)
    (task,) = freshretail_tasks(tmp_path, [last], 3)
    assert task.cutoff == str(last - timedelta(days=7))
    assert str(task.panel.origin)[:10] == task.cutoff
    assert task.panel.n_series == 4  # two whole products
    assert task.panel.known == {}  # weather and discounts are observed, not known ahead
    assert np.isnan(task.truth_SH[:, 2]).all()
    assert np.isfinite(np.delete(task.truth_SH, 2, axis=1)).all()
    results = run([task], {"random": Random()}, tmp_path / "out")
    print_results(results)
    header = capsys.readouterr().out.split("\n")[1].split()
    assert header == ["cutoff", "forecaster", "WQL", "WAPE", "bias", "s"]
