"""The gate loses no row and names a reason for each it turns away."""

from datetime import datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.demand.gate import gate
from forecast.demand.schema import OrderLine, TableRow
from forecast.demand.sources.reading import Reading
from forecast.demand.sources.table import TableColumns, table_incoming
from forecast.errors import InputError

NOW = datetime(2024, 6, 1)
READING = Reading(now=NOW, max_units=1e6)
NAMES = st.sampled_from(["a", "b", "", None])
TIMES = st.datetimes(datetime(2024, 5, 1), datetime(2024, 7, 1)) | st.none()
NUMBERS = st.floats(allow_nan=True, allow_infinity=True) | st.none()
ROW = st.fixed_dictionaries({"item": NAMES, "location": NAMES, "platform": NAMES, "time": TIMES})
KEYED = {"item": pl.String, "location": pl.String, "platform": pl.String, "time": pl.Datetime("us")}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(ROW, NUMBERS, NUMBERS, st.booleans()), max_size=30))
def test_every_table_row_is_good_or_quarantined(
    rows: list[tuple[dict[str, object], object, object, bool]],
) -> None:
    frame = pl.DataFrame(
        [
            {**row, "demand": demand, "stocked_out": stock, "conflict": flag}
            for row, demand, stock, flag in rows
        ],
        schema={**KEYED, "demand": pl.Float64, "stocked_out": pl.Float64, "conflict": pl.Boolean},
    ).with_row_index("row")
    checked = frame.with_columns(
        pl.lit(NOW, pl.Datetime("us")).alias("now"),
        cap=pl.lit(1e6),
        demand_unreadable=pl.lit(False),
        on_grid=pl.lit(True),
        known_readable=pl.lit(True),
        repeat=pl.lit(False),
    )
    gated = gate(checked, TableRow, value="demand")
    assert sorted([*gated.good["row"], *gated.bad["row"]]) == list(range(len(rows)))
    assert gated.bad["reason"].null_count() == 0
    good = gated.good.filter(pl.col("demand").is_not_null() & pl.col("demand").is_not_nan())
    assert good["demand"].is_between(0, 1e6).all()
    assert sum(gated.reasons().values()) == gated.bad.height


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(ROW, NUMBERS, st.booleans(), st.booleans()), max_size=30))
def test_every_order_line_is_good_or_quarantined(
    rows: list[tuple[dict[str, object], object, bool, bool]],
) -> None:
    frame = pl.DataFrame(
        [{**row, "quantity": n, "countable": a, "sold": b} for row, n, a, b in rows],
        schema={**KEYED, "quantity": pl.Float64, "countable": pl.Boolean, "sold": pl.Boolean},
    ).with_row_index("row")
    checked = frame.with_columns(
        pl.lit(NOW, pl.Datetime("us")).alias("now"),
        cap=pl.lit(200.0),
        repeat=pl.lit(False),
        seen=pl.lit(False),
    )
    gated = gate(checked, OrderLine, value="quantity")
    assert sorted([*gated.good["row"], *gated.bad["row"]]) == list(range(len(rows)))
    assert gated.good["quantity"].is_between(0, 200, closed="right").all()
    assert (gated.good["time"] <= NOW).all()


CELLS = st.sampled_from(["3", "0", "-1", "nan", "inf", "1e12", "", "many", "2.5"])
DAYS = st.sampled_from(
    ["2024-05-01", "2024-05-02", "2024-05-03", "2024-05-32", "", "2024-08-01", "2024-05-02 07:00:00"]
)


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(st.tuples(st.sampled_from(["a", "b", ""]), DAYS, CELLS), min_size=1, max_size=25))
def test_tables_of_any_text_lose_no_row(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    path: Path = tmp_path_factory.mktemp("table") / "t.csv"
    path.write_text("item,time,demand\n" + "".join(f"{item},{day},{n}\n" for item, day, n in rows))
    try:
        incoming = table_incoming([path], TableColumns(), READING, period="day")
    except InputError:  # not one good row
        return
    kept = sum(chunk.height for chunk in incoming.chunks)
    assert kept + incoming.quarantine.height == len(rows)
