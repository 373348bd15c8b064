"""The store: all of an import or nothing, the same file once, old versions readable; and its panel."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from forecast.demand.gate import QUARANTINE
from forecast.demand.incoming import Incoming
from forecast.demand.panel import Panel, Period
from forecast.demand.panel_build import build_panel
from forecast.demand.sources.table import no_events
from forecast.demand.store import DemandStore
from forecast.errors import BusyError, InputError, NotFoundError

START = datetime(2024, 1, 1)
Rows = list[tuple[int, int, float | None]]


def day(n: int) -> datetime:
    return START + timedelta(days=n)


def chunk(rows: Rows, **known: list[float | None]) -> pl.DataFrame:
    columns: dict[str, Any] = {
        "series": [s for s, _, _ in rows],
        "time": [day(t) for _, t, _ in rows],
        "demand": pl.Series([d for *_, d in rows], dtype=pl.Float32),
        "stocked_out": pl.Series([None] * len(rows), dtype=pl.Float32),
    }
    return pl.DataFrame({**columns, **known})


def incoming(
    name: str, rows: Rows, *, kind: Any = "table", items: str = "ab", period: Period = "day"
) -> Incoming:
    series = pl.DataFrame(
        {
            "item": list(items),
            "location": ["x"] * len(items),
            "platform": ["p"] * len(items),
            "colour": list(items),
        }
    )
    return Incoming(
        source=name,
        kind=kind,
        period=period,
        hashes=(name,),
        series=series,
        chunks=[chunk(rows)],
        overlaps=True,
    )


def panel(store: DemandStore, **options: Any) -> Panel:
    return build_panel(store, no_events, **options)


def test_a_table_row_is_a_cell_and_a_gap_is_missing(tmp_path: Path) -> None:
    store = DemandStore(tmp_path / "demand")
    report = store.add(incoming("t", [(0, 0, 1.0), (0, 2, 0.0), (1, 1, 5.0)]))
    assert (report.rows, report.series, report.version, report.unchanged) == (3, 2, "1", False)
    built = panel(store)
    np.testing.assert_array_equal(built.demand_ST, [[1, np.nan, 0], [np.nan, 5, np.nan]])
    assert built.keys.item.tolist() == ["a", "b"]
    assert built.statics["colour"].tolist() == ["a", "b"]
    assert built.stocked_out_ST is None
    assert built.start == np.datetime64(START, "s")
    assert built.events.intensity_GLE.shape[1] >= 3 + 60


def test_order_sums_are_zero_between_lines_and_two_imports_add_up(tmp_path: Path) -> None:
    store = DemandStore(tmp_path / "demand")
    store.add(incoming("january", [(0, 0, 1.0), (0, 3, 2.0), (1, 1, 4.0)], kind="orders"))
    np.testing.assert_array_equal(panel(store).demand_ST, [[1, 0, 0, 2], [np.nan, 4, 0, 0]])
    store.add(incoming("more", [(0, 3, 5.0), (1, 6, 1.0)], kind="orders", items="ca"))
    built = panel(store)
    assert built.keys.item.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(
        built.demand_ST,
        [[1, 0, 0, 2, 0, 0, 1], [np.nan, 4, 0, 0, 0, 0, 0], [np.nan, np.nan, np.nan, 5, 0, 0, 0]],
    )


def test_days_between_two_imports_of_orders_are_missing(tmp_path: Path) -> None:
    store = DemandStore(tmp_path / "demand")
    store.add(incoming("first", [(0, 0, 1.0)], kind="orders", items="a"))
    store.add(incoming("third", [(0, 2, 3.0)], kind="orders", items="a"))
    np.testing.assert_array_equal(panel(store).demand_ST, [[1, np.nan, 3]])


def test_a_later_table_corrects_and_null_erases_nothing(tmp_path: Path) -> None:
    store = DemandStore(tmp_path / "demand")
    store.add(incoming("t1", [(0, 0, 1.0), (0, 1, 2.0), (1, 1, 3.0)]))
    store.add(incoming("t2", [(0, 0, None), (0, 1, 9.0)]))
    np.testing.assert_array_equal(panel(store).demand_ST, [[1, 9], [np.nan, 3]])
    np.testing.assert_array_equal(
        panel(DemandStore(store.folder, version="1")).demand_ST, [[1, 2], [np.nan, 3]]
    )
    with pytest.raises(NotFoundError, match=r"expected 0\.\.2, found 7"):
        panel(DemandStore(store.folder, version="7"))


def test_known_features_reach_beyond_demand_and_cutoffs_hide_demand_only(tmp_path: Path) -> None:
    store = DemandStore(tmp_path / "demand")
    series = pl.DataFrame({"item": ["a"], "location": ["x"], "platform": ["p"]})
    rows = chunk([(0, 0, 1.0), (0, 1, 2.0), (0, 2, 3.0), (0, 3, None)], price=[5.0, 5.5, None, 7.0])
    store.add(
        Incoming(
            source="t",
            kind="table",
            period="day",
            hashes=("t",),
            series=series,
            known=("price",),
            chunks=[rows],
        )
    )
    whole, cut = panel(store), panel(store, cutoff=np.datetime64(day(1)))
    np.testing.assert_array_equal(whole.demand_ST, [[1, 2, 3]])
    np.testing.assert_array_equal(cut.demand_ST, [[1, 2]])
    np.testing.assert_array_equal(cut.known["price"], [[5, 5.5, np.nan, 7]])
    with pytest.raises(InputError, match="cutoff"):
        panel(store, cutoff=np.datetime64("2023-01-01"))


def test_a_table_of_new_series_without_demand_is_added_to_a_store_that_has_some(tmp_path: Path) -> None:
    store = DemandStore(tmp_path)
    new = incoming("new", [(0, 9, None), (1, -5, None)], items="xy")
    with pytest.raises(InputError, match="at least one period with demand"):
        store.add(new)
    store.add(incoming("old", [(0, 0, 1.0), (0, 1, 2.0)], items="a", kind="orders"))
    report = store.add(new)
    assert (report.rows, report.series, report.demand_missing) == (2, 2, 0)
    found = panel(store)
    assert (str(found.time(0))[:10], found.n_periods) == (str(day(0))[:10], 2)
    assert dict(zip(found.keys.item.tolist(), found.no_history_S.tolist(), strict=True)) == {
        "a": False,
        "x": True,
        "y": True,
    }


def test_the_same_content_twice_changes_nothing(tmp_path: Path) -> None:
    store = DemandStore(tmp_path / "demand")
    store.add(incoming("t", [(0, 0, 1.0)], kind="orders"))
    again = store.add(incoming("t", [(0, 0, 1.0)], kind="orders"))
    assert again.unchanged
    assert again.version == "1"
    np.testing.assert_array_equal(panel(store).demand_ST, [[1], [np.nan]])


def test_quarantined_rows_are_kept_with_their_reasons(tmp_path: Path) -> None:
    store = DemandStore(tmp_path / "demand")
    bad = pl.DataFrame(
        [[7, "demand is negative", "a", "x", "p", START, -1.0]], schema=QUARANTINE, orient="row"
    )
    good = incoming("t", [(0, 0, 1.0)])
    report = store.add(
        Incoming(
            source="t",
            kind="table",
            period="day",
            hashes=("t",),
            series=good.series,
            chunks=good.chunks,
            quarantine=bad,
        )
    )
    assert report.quarantined == {"demand is negative": 1}
    assert store.quarantine().select("import", "reason", "value").rows() == [(1, "demand is negative", -1.0)]


def test_another_period_or_another_weekday_is_refused(tmp_path: Path) -> None:
    store = DemandStore(tmp_path / "demand")
    store.add(incoming("w", [(0, 0, 1.0), (0, 7, 1.0)], period="week"))
    with pytest.raises(InputError, match="period: expected week"):
        store.add(incoming("d", [(0, 0, 1.0)]))
    with pytest.raises(InputError, match="in step"):
        store.add(incoming("w2", [(0, 9, 1.0)], period="week"))
    assert store.version == "1"
    np.testing.assert_array_equal(panel(store).demand_ST, [[1, 1], [np.nan, np.nan]])


def test_an_import_that_fails_midway_leaves_the_former_state(tmp_path: Path) -> None:
    store = DemandStore(tmp_path / "demand")
    store.add(incoming("t", [(0, 0, 1.0)]))

    def chunks() -> Iterator[pl.DataFrame]:
        yield chunk([(0, 1, 2.0)])
        raise KeyboardInterrupt

    torn = incoming("torn", [], items="cd")
    with pytest.raises(KeyboardInterrupt):
        store.add(
            Incoming(
                source="torn",
                kind="table",
                period="day",
                hashes=("torn",),
                series=torn.series,
                chunks=chunks(),
            )
        )
    assert panel(store).keys.item.tolist() == ["a", "b"]
    store.add(incoming("next", [(0, 1, 3.0)], items="e"))
    assert panel(store).keys.item.tolist() == ["a", "b", "e"]
    np.testing.assert_array_equal(panel(store).demand_ST, [[1, np.nan], [np.nan, np.nan], [np.nan, 3]])


KILLED = """
import os, signal, sys
from pathlib import Path
import forecast.demand.store as store
from tests.forecast.demand.test_store import incoming
write = store.append
def append(path, rows, number):
    if path.name == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, rows, number)
store.append = append
store.DemandStore(Path(sys.argv[1])).add(incoming("killed", [(0, 1, 9.0), (1, 1, 9.0)], items="az"))
"""


@pytest.mark.parametrize("table", ["series", "quarantine"])
@pytest.mark.parametrize("before", [True, False])
def test_a_killed_import_leaves_the_former_state(tmp_path: Path, table: str, before: bool) -> None:
    store = DemandStore(tmp_path / "demand")
    if before:
        store.add(incoming("t", [(0, 0, 1.0)]))
    command = [sys.executable, "-c", KILLED, str(store.folder), table]
    root = Path(__file__).parents[3]
    assert subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}).returncode == -9
    (store.folder / "demand" / "import=9").mkdir(parents=True, exist_ok=True)
    torn = store.folder / "demand" / "import=9" / "part-0.parquet#1"
    torn.write_bytes(b"half")
    assert store.version == ("1" if before else "0")
    if before:
        np.testing.assert_array_equal(panel(store).demand_ST, [[1], [np.nan]])
    store.add(incoming("killed", [(0, 1, 9.0), (1, 1, 9.0)], items="az"))
    built = panel(store)
    assert built.keys.item.tolist() == (["a", "b", "z"] if before else ["a", "z"])
    assert np.nansum(built.demand_ST) == (19 if before else 18)
    assert not torn.exists()
    assert len(list((store.folder / "demand").rglob("*.parquet"))) == (2 if before else 1)


def test_two_imports_at_once_are_refused(tmp_path: Path) -> None:
    store = DemandStore(tmp_path / "demand")

    def chunks() -> Iterator[pl.DataFrame]:
        with pytest.raises(BusyError, match="no other import"):
            DemandStore(store.folder).add(incoming("second", [(0, 0, 1.0)]))
        yield chunk([(0, 0, 1.0)])

    first = incoming("first", [])
    store.add(
        Incoming(
            source="first", kind="table", period="day", hashes=("1",), series=first.series, chunks=chunks()
        )
    )
    assert store.version == "1"


def test_an_empty_store_says_so(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="expected imported demand"):
        panel(DemandStore(tmp_path))


def test_the_dense_panel_equals_a_plain_loop(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows: Rows = [(s, t, float(rng.poisson(2))) for s in range(2) for t in range(40) if rng.random() < 0.4]
    store = DemandStore(tmp_path / "demand")
    store.add(incoming("t", rows, kind="orders"))
    first_line = {s: min(t for row, t, _ in rows if row == s) for s in range(2)}
    last = max(t for _, t, _ in rows)
    plain = np.full((2, last + 1), np.nan, dtype=np.float32)
    origin = min(first_line.values())
    for s in range(2):
        for t in range(first_line[s], last + 1):
            plain[s, t] = sum(d for row, at, d in rows if (row, at) == (s, t) and d is not None)
    np.testing.assert_array_equal(panel(store).demand_ST, plain[:, origin:])


@pytest.mark.parametrize("kind", ["table", "orders"])
def test_a_panel_that_begins_later_is_the_end_of_the_whole_one(tmp_path: Path, kind: Any) -> None:
    store = DemandStore(tmp_path / "demand")
    store.add(incoming("one", [(0, 1, 3.0), (0, 4, 1.0), (1, 5, 2.0)], kind=kind))
    store.add(incoming("two", [(0, 4, 5.0), (0, 6, 4.0), (1, 7, 1.0)], kind=kind))
    whole = panel(store)
    for first in range(whole.n_periods):
        later = panel(store, since=whole.time(first) + np.timedelta64(5, "h"))
        assert later.start == whole.time(first)
        np.testing.assert_array_equal(later.demand_ST, whole.demand_ST[:, first:])
    np.testing.assert_array_equal(panel(store, since=np.datetime64("2020-01-01")).demand_ST, whole.demand_ST)
