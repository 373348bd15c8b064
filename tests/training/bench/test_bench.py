"""Benchmarks through the command line, on data of M5's and FreshRetailNet's form."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forecast.cli.main import run

DAYS = 130
STATES = ("CA", "TX", "WI")


def write_m5(folder: Path) -> None:
    """Two items in each of three stores, 130 days of sales and a calendar 28 days beyond."""
    random = np.random.default_rng(0)
    items = [("FOODS_1_001", "FOODS_1", "FOODS"), ("HOBBIES_1_001", "HOBBIES_1", "HOBBIES")]
    rows = [
        {
            "series_id": f"{item}_{state}_1",
            "item_id": item,
            "dept_id": dept,
            "cat_id": cat,
            "store_id": f"{state}_1",
            "state_id": state,
            "sales": random.poisson(3, DAYS).tolist(),
        }
        for item, dept, cat in items
        for state in STATES
    ]
    pl.DataFrame(rows, schema_overrides={"sales": pl.List(pl.UInt16)}).write_parquet(folder / "sales.parquet")
    days = [date(2011, 1, 29) + timedelta(days=i) for i in range(DAYS + 28)]
    weeks = [11_101 + i // 7 for i in range(len(days))]
    nothing = pl.lit(None, pl.String)
    calendar = pl.DataFrame({"date": [str(day) for day in days], "wm_yr_wk": weeks})
    flags = [pl.lit(0, pl.UInt8).alias(f"snap_{state}") for state in STATES]
    names = [nothing.alias(f"event_name_{i}") for i in (1, 2)]
    calendar.with_columns(*flags, *names).write_parquet(folder / "calendar.parquet")
    prices = [
        {"store_id": row["store_id"], "item_id": row["item_id"], "wm_yr_wk": week, "sell_price": 2.5}
        for row in rows
        for week in sorted(set(weeks))
    ]
    pl.DataFrame(prices).write_parquet(folder / "sell_prices.parquet")


def bench(name: str, folder: Path, out: Path, *flags: str) -> int:
    line = ["bench", name, "--data", str(folder), "--out", str(out), "--steps", "3", "--device", "cpu"]
    return run([*line, *flags])


@pytest.fixture
def m5(tmp_path: Path) -> Callable[[int], tuple[int, Path]]:
    """Runs the benchmark at a cutoff; exit status and output file."""
    write_m5(tmp_path)

    def at(cutoff: int) -> tuple[int, Path]:
        return bench("m5", tmp_path, tmp_path / "out.parquet", "--cutoff", str(cutoff), "--json"), (
            tmp_path / "out.parquet"
        )

    return at


def test_m5_writes_all_levels_and_scores_known_days(
    m5: Callable[[int], tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = m5(DAYS - 28)
    assert status == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["bench"], set(found)) == ("m5", {"bench", "machine", "results"})
    assert 0 < found["results"]["wrmsse"] < 5
    assert 0 < found["results"]["wql"] < 2
    assert found["results"]["coherence_error"] < 1e-4
    rows = pl.read_parquet(out)
    assert rows.columns == ["level", "node", "day", "mean", "quantiles"]
    assert rows["level"].unique().sort().to_list() == list(range(1, 13))
    assert rows.filter(level=1)["node"].unique().to_list() == ["Total"]
    assert "FOODS_1_001_CA_1" in rows.filter(level=12)["node"]
    assert (rows["day"].min(), rows["day"].max()) == (DAYS - 27, DAYS)
    totals = rows.group_by("level", "day").agg(pl.col("mean").sum())
    assert (
        totals.group_by("day").agg(spread=pl.col("mean").max() / pl.col("mean").min())["spread"].max()
        < 1.0001
    )


def test_m5_at_the_end_of_the_data_has_no_scores(
    m5: Callable[[int], tuple[int, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = m5(DAYS)
    assert status == 0
    shown = capsys.readouterr()
    assert "wrmsse" not in json.loads(shown.out)["results"]
    assert f"no scores: they need the sales of days {DAYS + 1} to {DAYS + 28}" in shown.err
    assert pl.read_parquet(out)["day"].max() == DAYS + 28


def test_m5_refuses_a_cutoff_outside_and_a_folder_without_data(
    m5: Callable[[int], tuple[int, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out = m5(DAYS + 1)
    assert (status, out.exists()) == (1, False)
    assert f"cutoff: expected 1..{DAYS}" in capsys.readouterr().err
    empty = tmp_path / "empty"
    empty.mkdir()
    assert bench("m5", empty, out) == 1
    assert "sales.parquet in it" in capsys.readouterr().err


def test_make_bench_measures_speed_without_data_and_accuracy_with_it(tmp_path: Path) -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    program = tmp_path / "surgecast"  # tells what it is asked for
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    (tmp_path / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (tmp_path / "python").chmod(0o755)
    root = Path(__file__).parents[3]
    command = [make, "--silent", "--assume-old=.venv/.ready", "bench", f"BIN={tmp_path}", "FRESHRETAIL="]

    def asked(m5: str) -> list[str]:
        done = subprocess.run([*command, f"M5={m5}"], cwd=root, capture_output=True, text=True, check=True)
        return [line.split()[1] for line in done.stdout.splitlines()]

    assert set(asked("")) >= {"train", "score", "panel"}
    assert not set(asked("")) & {"m5", "freshretail", "peaks", "stockouts", "cold"}
    assert set(asked("some-folder")) - set(asked("")) == {"m5", "peaks", "cold"}


def write_freshretail(folder: Path) -> None:
    """Four products in two stores, 60 days; one day sold out."""
    random = np.random.default_rng(0)
    rows = [
        {
            "city_id": 0,
            "store_id": store,
            "management_group_id": 0,
            "first_category_id": 1,
            "second_category_id": 2,
            "third_category_id": 3,
            "product_id": product,
            "dt": date(2024, 4, 20) + timedelta(days=day),
            "discount": 1.0,
            "holiday_flag": 0,
            "activity_flag": 0,
            "precpt": 2.0,
            "avg_temperature": 20.0,
            "avg_humidity": 70.0,
            "avg_wind_level": 1.5,
            "sale_amount": float(random.gamma(2.0)),
            "stockout_hours_6_22": 16 if day == 57 else 0,
        }
        for store in (1, 2)
        for product in (10, 11, 12, 13)
        for day in range(60)
    ]
    pl.DataFrame(rows).write_parquet(folder / "train_hourly.parquet")


def test_freshretail_writes_days_after_the_cutoff_and_scores_days_in_stock(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_freshretail(tmp_path)
    out = tmp_path / "out.parquet"
    assert bench("freshretail", tmp_path, out, "--cutoff", "2024-06-11", "--json") == 0
    shown = capsys.readouterr()
    assert "left out, not known for the 7 days after 2024-06-11: activity, discount" in shown.err
    results = json.loads(shown.out)["results"]
    assert results["n"] == 8 * 6  # seven days of eight series, one of them sold out
    assert results["stocked_out_days"] == 8
    rows = pl.read_parquet(out)
    assert rows.columns == ["store_id", "product_id", "date", "mean", "quantiles"]
    assert (rows["date"].min(), rows["date"].max()) == (date(2024, 6, 12), date(2024, 6, 18))
    assert rows.height == 8 * 7


def test_freshretail_at_the_end_of_the_data_says_why_it_has_no_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_freshretail(tmp_path)
    assert bench("freshretail", tmp_path, tmp_path / "out.parquet", "--json") == 0
    shown = capsys.readouterr()
    assert "wql" not in json.loads(shown.out)["results"]
    assert "no scores: the data ends on 2024-06-18" in shown.err


def test_freshretail_refuses_a_wrong_cutoff(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_freshretail(tmp_path)
    assert bench("freshretail", tmp_path, tmp_path / "out.parquet", "--cutoff", "2025-01-01") == 1
    assert "cutoff: expected 2024-04-20" in capsys.readouterr().err
    assert bench("freshretail", tmp_path, tmp_path / "out.parquet", "--cutoff", "someday") == 2
    assert "cutoff: expected a day" in capsys.readouterr().err


def test_the_data_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_m5(tmp_path)
    pl.DataFrame({"dt": [1]}).write_parquet(tmp_path / "train_hourly.parquet")
    for name, file in (("m5", "sell_prices"), ("freshretail", "train_hourly")):
        path = tmp_path / f"{file}.parquet"
        before = path.read_bytes()
        cutoff = "102" if name == "m5" else "2024-06-11"
        assert bench(name, tmp_path, path, "--cutoff", cutoff) == 2
        assert "out: expected another file than the input" in capsys.readouterr().err
        assert path.read_bytes() == before
