"""`surgecast data import orders` through the real command: order lines, of which no buyer is left."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from data_command import Surgecast, table

from forecast.demand.panel_build import load_panel
from forecast.errors import InputError
from forecast.home import Home

MAP = """
period = "day"
max_quantity = 100
[columns]
item = "sku"
location = "shop"
time = "at"
quantity = "qty"
line = "id"
static = ["brand"]
"""
BUYER = "household-7c1f9e"


def order_file(folder: Path, lines: list[str], name: str = "orders.csv") -> Path:
    return table(folder, "id,sku,shop,at,qty,brand,buyer\n" + "".join(f"{x},{BUYER}\n" for x in lines), name)


def test_order_lines_are_summed_and_no_buyer_is_left(
    tmp_path: Path, home: Path, surgecast: Surgecast
) -> None:
    mapping = table(tmp_path, MAP, "map.toml")
    path = order_file(
        tmp_path,
        [
            "1,a,s1,2024-03-03 09:00:00,2,B",
            "2,a,s1,2024-03-01 10:00:00,1,B",
            "3,a,s1,2024-03-01 23:59:59,4,B",
            "3,a,s1,2024-03-01 23:59:59,4,B",
            "4,a,s1,2024-03-02 10:00:00,-1,B",
            "5,a,s1,2024-03-02 10:00:00,5000,B",
            "6,b,s1,2024-03-02 10:00:00,1,",
            "7,b,s1,2094-03-02 10:00:00,1,C",
            "8,b,s1,2024-03-02 10:00:00,nan,C",
        ],
    )
    report = surgecast.good("import", "orders", path, "--map", mapping)
    assert report["quarantined"] == {
        "duplicate order line": 1,
        "quantity is above the cap": 1,
        "quantity is missing or not a number": 1,
        "quantity is negative": 1,
        "time in the future": 1,
    }
    panel = load_panel(Home(home))
    np.testing.assert_array_equal(panel.demand_ST, [[5, 0, 2], [np.nan, 1, 0]])
    assert panel.statics["brand"].tolist() == ["B", ""]
    for stored in (home / "demand").rglob("*.parquet"):
        assert BUYER.encode() not in stored.read_bytes()
        assert BUYER not in str(pl.read_parquet(stored, hive_partitioning=False).to_dicts())


def test_more_orders_add_up(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    mapping = table(tmp_path, MAP, "map.toml")
    first = order_file(tmp_path, ["1,a,s1,2024-03-01 09:00:00,2,B"])
    second = order_file(tmp_path, ["2,a,s1,2024-03-01 10:00:00,3,B"], "second.csv")
    surgecast.good("import", "orders", first, "--map", mapping)
    surgecast.good("import", "orders", first, second, "--map", mapping)
    np.testing.assert_array_equal(load_panel(Home(home)).demand_ST, [[5]])


def test_a_growing_export_counts_each_line_once(tmp_path: Path, home: Path, surgecast: Surgecast) -> None:
    mapping = table(tmp_path, MAP, "map.toml")
    july = ["1,a,s1,2024-07-01 09:00:00,2,B", "2,a,s1,2024-07-02 09:00:00,3,B", "1,a,s2,2024-07-02,1,B"]
    more = ["3,a,s1,2024-07-02 10:00:00,4,B", "4,a,s1,2024-08-01 09:00:00,5,B"]
    surgecast.good("import", "orders", order_file(tmp_path, july[:2]), "--map", mapping)
    second = order_file(tmp_path, [*july, *more], "second.csv")
    report = surgecast.good("import", "orders", second, "--map", mapping)
    assert report["quarantined"] == {"line was imported before": 2, "duplicate order line": 1}
    assert surgecast.good("show")["units"] == 2 + 3 + 4 + 5
    assert surgecast.good("import", "orders", second, "--map", mapping)["unchanged"]
    again = order_file(tmp_path, list(reversed(july[:2])), "again.csv")
    assert "2 x line was imported before" in surgecast.bad("import", "orders", again, "--map", mapping)
    stored = pl.concat(pl.read_parquet(file) for file in (home / "demand" / "lines").glob("*.parquet"))
    assert stored.columns == ["line", "import"]


def test_overlapping_exports_without_identifiers_are_refused(
    tmp_path: Path, home: Path, surgecast: Surgecast
) -> None:
    nameless = table(tmp_path, MAP.replace('line = "id"', ""), "map.toml")
    named = table(tmp_path, MAP, "named.toml")
    july = ["1,a,s1,2024-07-01 09:00:00,2,B", "2,a,s1,2024-07-03 09:00:00,3,B"]
    surgecast.good("import", "orders", order_file(tmp_path, july), "--map", nameless)
    growing = order_file(tmp_path, [*july, "3,a,s1,2024-07-04 09:00:00,4,B"], "growing.csv")
    for mapping in (nameless, named):
        message = surgecast.bad("import", "orders", growing, "--map", mapping)
        assert "2024-07-01 00:00:00 to 2024-07-03 00:00:00 again for s1 on all" in message
        assert "--add" in message
    assert surgecast.good("show")["units"] == 5
    news = ["4,a,s1,2024-07-04 09:00:00,4,B", "5,a,s2,2024-07-02 09:00:00,1,B"]
    surgecast.good("import", "orders", order_file(tmp_path, news, "new.csv"), "--map", nameless)
    assert surgecast.good("show")["units"] == 10
    others = order_file(tmp_path, ["9,a,s1,2024-07-01 11:00:00,7,B"], "others.csv")
    surgecast.good("import", "orders", others, "--map", nameless, "--add")
    assert surgecast.good("show")["units"] == 17


def test_lines_of_an_import_that_died_come_in_again(
    tmp_path: Path, home: Path, surgecast: Surgecast, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapping = table(tmp_path, MAP, "map.toml")
    path = order_file(tmp_path, ["1,a,s1,2024-07-01 09:00:00,2,B"])
    later = order_file(tmp_path, ["2,a,s1,2024-07-02 09:00:00,3,B"], "later.csv")
    surgecast.good("import", "orders", path, "--map", mapping)

    def full(path: Path, rows: pl.DataFrame) -> None:
        raise InputError("disk", expected="room", found="none")

    monkeypatch.setattr("forecast.demand.store.write", full)
    assert "disk" in surgecast.bad("import", "orders", later, "--map", mapping)
    monkeypatch.undo()
    other = order_file(tmp_path, ["3,a,s1,2024-07-03 09:00:00,4,B"], "other.csv")
    surgecast.good("import", "orders", other, "--map", mapping)
    surgecast.good("import", "orders", later, "--map", mapping)
    assert surgecast.good("show")["units"] == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[columns]\nitem = 'sku'\n", "columns.time: expected a value, found nothing"),
        (MAP + "buyer = 'buyer'\n", "columns.buyer: expected a key (item, time, quantity,"),
        (MAP.replace("location", "locaton"), "found 'locaton'; did you mean location?"),
        (MAP.replace("period", "perod"), "found 'perod'; did you mean period?"),
        (MAP.replace('"day"', '"month"'), "period: expected 'hour', 'day' or 'week', found 'month'"),
        ("columns", "TOML"),
    ],
)
def test_a_wrong_map_is_named(tmp_path: Path, surgecast: Surgecast, text: str, message: str) -> None:
    path = order_file(tmp_path, ["1,a,s1,2024-03-01,2,B"])
    assert message in surgecast.bad("import", "orders", path, "--map", table(tmp_path, text, "map.toml"))
