"""`surgecast data` through the real command: good tables, and every kind of bad input."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_command import Surgecast, table

from forecast.cli.main import run
from forecast.demand.panel_build import BEYOND, load_panel
from forecast.home import Home

HEADER = "item,location,platform,time,demand\n"


def daily(demand: list[str], first: str = "2024-01-01", item: str = "a") -> str:
    start = datetime.fromisoformat(first)
    return "".join(f"{item},x,p,{start + timedelta(days=i):%Y-%m-%d},{d}\n" for i, d in enumerate(demand))


def test_a_table_comes_in_and_is_shown(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    path = table(
        tmp_path,
        "item,time,demand,stocked_out,price,promo,size\n"
        "a,2024-01-01,3,0,1.5,false,1\n"
        "a,2024-01-02,0,1,1.5,true,1\n"
        "a,2024-01-04,2,0.5,,true,1\n"
        "a,2024-01-05,,,1.0,true,1\n",
    )
    report = surgecast.good("import", "table", path, "--known", "price,promo", "--static", "size")
    assert (report["rows"], report["series"], report["quarantined"]) == (4, 1, {})
    panel = load_panel(Home(home))
    np.testing.assert_array_equal(panel.demand_ST, [[3, 0, np.nan, 2]])
    np.testing.assert_array_equal(panel.stocked_out_ST, [[0, 1, np.nan, 0.5]])
    np.testing.assert_array_equal(panel.known["price"], [[1.5, 1.5, np.nan, np.nan, 1.0]])
    np.testing.assert_array_equal(panel.known["promo"], [[0, 1, np.nan, 1, 1]])
    assert panel.statics["size"].tolist() == ["1"]
    assert (panel.keys.location[0], panel.keys.platform[0]) == ("all", "all")
    shown = surgecast.good("show")
    assert (shown["series"], shown["period"], shown["periods"]) == (1, "day", 4)
    assert shown["zeros"] == pytest.approx(1 / 3)
    assert shown["missing"] == pytest.approx(1 / 4)
    assert shown["stocked_out"] == pytest.approx(2 / 3)
    assert shown["promoted"] == pytest.approx(1 / 2)
    assert shown["version"] == "1"
    status, out, _ = surgecast("data", "show")
    assert status == 0
    assert "stocked out" in out


def test_missing_demand_is_counted_not_quarantined(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    text = daily(["1", "", "NaN", "4", ""])
    path = table(tmp_path, HEADER + text)
    status, out, _ = surgecast("data", "import", "table", path)
    assert status == 0
    assert "demand is missing" in out
    assert surgecast.good("show")["demand_missing"] == 2
    assert surgecast.good("show")["quarantine"] == {}
    assert surgecast.good("import", "table", path)["demand_missing"] == 0


def test_parquet_hours_and_weeks_are_inferred(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    start = datetime(2024, 1, 3)
    for step, period in ((timedelta(hours=1), "hour"), (timedelta(days=7), "week")):
        path = tmp_path / f"{period}.parquet"
        pl.DataFrame(
            {"item": 7, "time": [start + i * step for i in range(30)], "demand": range(30)}
        ).write_parquet(path)
        surgecast.home = tmp_path / period
        assert surgecast.good("import", "table", path)["rows"] == 30
        shown = surgecast.good("show")
        assert (shown["period"], shown["periods"]) == (period, 30)


def test_the_same_file_twice_changes_nothing(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    path = table(tmp_path, HEADER + daily(["1", "2", "3"]))
    copy = table(tmp_path, path.read_text(), "copy.csv")
    assert surgecast.good("import", "table", path, copy)["rows"] == 3
    before = sorted((p, p.stat().st_mtime_ns) for p in (home / "demand").rglob("*.json"))
    again = surgecast.good("import", "table", copy)
    assert again["unchanged"]
    assert sorted((p, p.stat().st_mtime_ns) for p in (home / "demand").rglob("*.json")) == before


def test_bad_cells_go_to_quarantine_by_name(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    future = (datetime.now(UTC) + timedelta(days=40)).strftime("%Y-%m-%d")
    text = daily(["1", "-2", "inf", "1e12", "NaN", "many", "7", "8"])
    text += daily(["7"], "2024-01-07") + daily(["9"], "2024-01-08")
    text += f"a,x,p,{future},3\na,x,p,2024-13-01,3\na,x,p,2024-01-20 05:30:00,3\n,x,p,2024-01-09,3\n"
    report = surgecast.good("import", "table", table(tmp_path, HEADER + text), "--period", "day")
    assert report["quarantined"] == {
        "demand in the future": 1,
        "demand is absurdly large": 1,
        "demand is infinite": 1,
        "demand is negative": 1,
        "demand is not a number": 1,
        "duplicate row": 1,
        "item is missing": 1,
        "rows of one period contradict each other": 2,
        "time is missing or not ISO 8601": 1,
        "time is not the start of a period": 1,
    }
    np.testing.assert_array_equal(load_panel(Home(home)).demand_ST, [[1, *[np.nan] * 5, 7]])
    assert surgecast.good("show")["quarantine"] == report["quarantined"]


def test_the_future_is_welcome_without_demand(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    today = datetime.now(UTC).date()
    days = [today + timedelta(days=i) for i in range(-3, 4)]
    rows = [f"a,x,p,{day},{1 if day < today else ''},{i}" for i, day in enumerate(days)]
    path = table(tmp_path, "item,location,platform,time,demand,price\n" + "\n".join(rows) + "\n")
    assert surgecast.good("import", "table", path, "--known", "price")["quarantined"] == {}
    panel = load_panel(Home(home))
    assert (panel.n_periods, panel.n_known) == (3, 7)


def test_names_that_nobody_could_ask_for_are_quarantined(
    tmp_path: Path, home: Path, surgecast: Surgecast
) -> None:
    path = tmp_path / "t.parquet"
    names = ["a\nb", "\x00", "x" * 201, "全角\u3000空白", "fi-fo"]
    pl.DataFrame({"item": names, "time": [datetime(2024, 1, 1)] * 5, "demand": 1.0}).write_parquet(path)
    report = surgecast.good("import", "table", path, "--period", "day")
    assert report["quarantined"] == {
        "name is longer than 200 characters or has control characters": 3,
    }
    assert load_panel(Home(home)).keys.item.tolist() == ["fi-fo", "全角\u3000空白"]


@pytest.mark.parametrize(
    ("column", "values", "found"),
    [
        ("demand", [[1.0]], "List(Float64)"),
        ("item", [b"\xff"], "Binary"),
        ("size", [{"a": 1}], "Struct"),
        ("demand", [datetime(2024, 1, 1)], "demand: expected numbers, found Datetime"),
        ("time", [20240101], "Int64"),
        ("time", [timedelta(days=1)], "Duration"),
    ],
)
def test_columns_of_strange_types_are_named(
    tmp_path: Path, surgecast: Surgecast, column: str, values: list[object], found: str
) -> None:
    path = tmp_path / "t.parquet"
    frame = pl.DataFrame({"item": ["a"], "time": [datetime(2024, 1, 1)], "demand": [1.0], "size": ["s"]})
    frame.with_columns(pl.Series(column, values)).write_parquet(path)
    message = surgecast.bad("import", "table", path, "--period", "day", "--static", "size")
    assert f"{column}: expected" in message
    assert found in message


def test_times_centuries_away_do_not_stretch_the_panel(
    tmp_path: Path, home: Path, surgecast: Surgecast
) -> None:
    text = daily(["1", "2", "3"]) + "a,x,p,0024-01-04,4\na,x,p,9999-12-31,\n"
    report = surgecast.good("import", "table", table(tmp_path, HEADER + text), "--period", "day")
    assert report["quarantined"] == {"time is before 1970": 1, "time is more than five years ahead": 1}
    panel = load_panel(Home(home))
    assert (panel.n_periods, panel.events.intensity_GLE.shape[1]) == (3, 3 + BEYOND)


def test_order_in_the_file_does_not_matter_and_gaps_stay_missing(
    tmp_path: Path, home: Path, surgecast: Surgecast
) -> None:
    lines = (daily(["1", "2", "3"]) + daily(["5", "6"], "2024-01-06") + daily(["9"], item="b")).splitlines()
    surgecast.good("import", "table", table(tmp_path, HEADER + "\n".join(reversed(lines)) + "\n"))
    panel = load_panel(Home(home))
    nan = np.nan
    np.testing.assert_array_equal(panel.demand_ST, [[1, 2, 3, nan, nan, 5, 6], [9, *[nan] * 6]])


def test_all_zeros_and_single_days_come_in(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    surgecast.good("import", "table", table(tmp_path, HEADER + daily(["0"] * 5)))
    assert surgecast.good("show")["zeros"] == 1
    one = table(tmp_path, HEADER + daily(["4"], "2024-02-01", "z"), "one.csv")
    assert "period" in surgecast.bad("import", "table", one)
    assert surgecast.good("import", "table", one, "--period", "day")["series"] == 1


def test_zones_are_converted_and_mixtures_with_none_refused(
    tmp_path: Path, home: Path, surgecast: Surgecast
) -> None:
    text = "item,time,demand\n" + "".join(f"a,2024-01-0{d}T08:00:00+08:00,{d}\n" for d in range(1, 6))
    surgecast.good("import", "table", table(tmp_path, text))
    assert load_panel(Home(home)).start == np.datetime64("2024-01-01T00:00:00")
    mixed = table(tmp_path, text + "a,2024-01-06T00:00:00,6\n", "mixed.csv")
    assert "5 times with a zone and 1 without" in surgecast.bad("import", "table", mixed)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an empty file"),
        (HEADER, "at least one row"),
        ("item,time\na,2024-01-01\n", "demand: expected a column 'demand', found columns item, time"),
        (HEADER + daily(["-1", "-2"]), "2 x demand is negative"),
        (HEADER + "a,x,p,2024-01-01,1\na,x,p,2024-01-31,1\na,x,p,2024-03-01,1\n", "--period"),
        (HEADER + daily(["", ""]), "at least one period with demand"),
        ("item,time,demand\na,2024-01-01,1,2,3\n", "readable Parquet or CSV"),
    ],
)
def test_useless_tables_are_refused_in_one_line(
    tmp_path: Path, home: Path, surgecast: Surgecast, text: str, message: str
) -> None:
    assert message in surgecast.bad("import", "table", table(tmp_path, text))
    assert "imported demand" in surgecast.bad("show")


def test_wrong_flags_and_files_are_named(tmp_path: Path, surgecast: Surgecast) -> None:
    good = table(tmp_path, HEADER + daily(["1", "2"]))
    assert "price" in surgecast.bad("import", "table", good, "--known", "price")
    assert "found 'cap', which is reserved" in surgecast.bad("import", "table", good, "--static", "cap")
    assert "'price' twice" in surgecast.bad("import", "table", good, "--known", "price", "--static", "price")
    assert "nothing there" in surgecast.bad("import", "table", tmp_path / "no.csv")
    folder = surgecast.bad("import", "table", tmp_path)
    assert f"{tmp_path}: expected a Parquet or CSV file, found a folder" in folder
    assert "a .parquet, .csv or .tsv file" in surgecast.bad("import", "table", table(tmp_path, "x", "t.xls"))
    assert "readable" in surgecast.bad("import", "table", table(tmp_path, "not parquet", "t.parquet"))
    assert "calendar.parquet" in surgecast.bad("import", "m5", tmp_path)
    assert "order_lines.parquet" in surgecast.bad("import", "online-retail", tmp_path)
    assert "train_hourly.parquet" in surgecast.bad("import", "freshretail", tmp_path)


def test_a_file_of_m5_without_a_column_or_damaged_is_named(tmp_path: Path, surgecast: Surgecast) -> None:
    for name in ("calendar", "sales", "sell_prices"):
        pl.DataFrame({"date": ["2011-01-29"]}).write_parquet(tmp_path / f"{name}.parquet")
    assert "calendar.parquet: event_name_1" in surgecast.bad("import", "m5", tmp_path)
    (tmp_path / "calendar.parquet").write_bytes(b"PAR1 and no more")
    assert "calendar.parquet: expected readable Parquet" in surgecast.bad("import", "m5", tmp_path)


@pytest.mark.parametrize(
    ("mapped", "field"),
    [
        ('demand = "sales"\nknown = ["sales"]', "columns.known: expected another column than demand's"),
        ('demand = "sales"\nstatic = ["sales"]', "columns.static: expected another column than demand's"),
        ('demand = "sales"\nitem = "sales"', "columns.item: expected another column than demand's"),
        ('demand = "sales"\nstocked_out = "oos"\nknown = ["oos"]', "another column than stocked_out's"),
        ('time = "sales"\ndemand = "sales"', "columns.demand: expected another column than time's"),
    ],
)
def test_a_feature_that_tells_the_future_is_refused(
    tmp_path: Path, surgecast: Surgecast, mapped: str, field: str
) -> None:
    path = table(tmp_path, "item,time,sales,oos\na,2024-01-01,1,0\na,2024-01-02,2,0\n")
    mapping = table(tmp_path, f"[columns]\n{mapped}\n", "map.toml")
    status, out, err = surgecast("data", "import", "table", path, "--map", mapping, "--period", "day")
    assert (status, out) == (2, "")
    assert field in err


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEADER,
        "item,time\na,2024-01-01\n",
        HEADER + daily(["-1", "1e12", "inf"]),
        HEADER + daily(["1", "2"]) + "a,x,p,2024-01-03T00:00:00Z,1\n",
        HEADER + "".join(daily(["1"], f"2024-0{month}-01") for month in range(1, 6)),
        "item,time,demand\n" + "".join(f"a,2024-01-01 0{hour}:00:00,1\n" for hour in range(9)),
    ],
    ids=["empty", "no rows", "no column", "all bad", "mixed zones", "no period", "another period"],
)
def test_a_refused_import_loses_nothing_that_is_stored(
    tmp_path: Path, home: Path, surgecast: Surgecast, text: str
) -> None:
    surgecast.good("import", "table", table(tmp_path, HEADER + daily(["4", "5", "6"])))
    before = surgecast.good("show")
    surgecast.bad("import", "table", table(tmp_path, text, "bad.csv"))
    assert {**surgecast.good("show"), "bytes": 0} == {**before, "bytes": 0}
    np.testing.assert_array_equal(load_panel(Home(home)).demand_ST, [[4, 5, 6]])


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    path = table(tmp_path, HEADER + daily(["1", "2"]))
    home.mkdir()
    (home / "demand").write_text("a file where a folder should be")
    assert f"{home / 'demand'}: File exists" in surgecast.bad("import", "table", path)
    surgecast.home = path
    assert "--home" in surgecast.bad("show")


def test_a_store_without_one_of_its_tables_is_named(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    surgecast.good("import", "table", table(tmp_path, HEADER + daily(["1", "2"])))
    shutil.rmtree(home / "demand" / "series")
    assert "series: expected version 0 of the table" in surgecast.bad("show")


@pytest.mark.parametrize("name", ["demand", "series", "imports"])
def test_a_damaged_store_is_named(tmp_path: Path, home: Path, surgecast: Surgecast, name: str) -> None:
    surgecast.good("import", "table", table(tmp_path, HEADER + daily(["1", "2"])))
    for stored in (home / "demand" / name).rglob("*.parquet"):
        stored.write_bytes(stored.read_bytes()[:-20])
    assert "expected a readable" in surgecast.bad("show").replace("readable Parquet files", "a readable")


def test_simulated_demand_comes_in(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    out = tmp_path / "s.parquet"
    status = run(["data", "simulate", str(out), "--series", "20", "--periods", "60"])
    assert status == 0
    columns = ("--known", "price,discount", "--static", "category,city")
    assert surgecast.good("import", "table", out, *columns)["series"] == 20
    assert surgecast.good("show")["periods"] == 60


def test_simulated_demand_replaces_no_file_unasked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.parquet"
    out.write_text("precious")
    line = ["data", "simulate", str(out), "--series", "2", "--periods", "30"]
    assert run(line) == 2
    assert "expected a new file" in capsys.readouterr().err
    assert out.read_text() == "precious"
    assert run([*line, "--force"]) == 0
    assert pl.read_parquet(out).height > 0


def test_help_is_light() -> None:
    heavy = "('polars', 'numpy', 'deltalake')"
    code = f"import forecast.demand.cli, sys; sys.exit(any(m in sys.modules for m in {heavy}))"
    assert subprocess.run([sys.executable, "-c", code], env=dict(os.environ)).returncode == 0
