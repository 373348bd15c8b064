"""`surgecast forecast`: good tables, and bad ones, through the command line."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forecast.cli.main import run
from forecast.quantiles import LEVELS

START = datetime(2024, 1, 1)
DAYS = 60
CUTOFF = "2024-02-29"
SETTINGS = """
steps = 3
device = "cpu"
[columns]
item = "sku"
location = "shop"
time = "date"
demand = "units"
"""


def table(days: int = DAYS, skus: int = 2, **columns: object) -> pl.DataFrame:
    """Daily units of a few SKUs in one shop from 2024-01-01 on; `columns` are added or replace."""
    dates = [START + timedelta(days=i) for i in range(days)] * skus
    random = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "sku": [f"sku-{i}" for i in range(skus) for _ in range(days)],
            "shop": "corner",
            "date": dates,
            "units": random.poisson(4, days * skus).astype(float),
        }
    )
    return frame.with_columns(**{name: pl.lit(value) for name, value in columns.items()})


class Shop:
    """A folder with a table, its configuration, and a place for the forecasts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out.parquet"
        self.config = folder / "config.toml"
        self.config.write_text(SETTINGS)

    def forecast(self, frame: pl.DataFrame | str, *flags: str, horizon: int = 5, cutoff: str = CUTOFF) -> int:
        """The exit status of the command on a table (a frame, or the text of a CSV file)."""
        path = self.folder / ("table.csv" if isinstance(frame, str) else "table.parquet")
        if isinstance(frame, str):
            path.write_text(frame)
        else:
            frame.write_parquet(path)
        line = ["forecast", str(path), "--config", str(self.config), "--horizon", str(horizon)]
        return run([*line, "--cutoff", cutoff, "--out", str(self.out), *flags])

    def rows(self) -> pl.DataFrame:
        return pl.read_parquet(self.out)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_forecasts_follow_the_cutoff_and_are_in_order(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.forecast(table(), "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["series"] == 2
    rows = shop.rows()
    assert rows.columns == ["item", "location", "platform", "time", "mean", "quantiles"]
    assert rows.height == 10
    assert rows["time"].unique().sort().to_list() == [
        datetime(2024, 3, 1) + timedelta(days=i) for i in range(5)
    ]
    quantiles = np.stack(rows["quantiles"].to_list())
    assert quantiles.shape == (10, len(LEVELS))
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert (quantiles >= 0).all()
    assert np.isfinite(rows["mean"].to_numpy()).all()
    assert [path.name for path in shop.folder.glob(".*")] == []


@pytest.mark.parametrize("name", ["table.parquet", "../shop/table.parquet", "link.parquet"])
def test_the_input_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    (tmp_path / "shop").mkdir()
    shop = Shop(tmp_path / "shop")
    (shop.folder / "link.parquet").symlink_to(shop.folder / "table.parquet")
    shop.out = shop.folder / name
    assert shop.forecast(table()) == 2
    assert "out: expected another file than the input" in capsys.readouterr().err
    assert pl.read_parquet(shop.folder / "table.parquet").equals(table())


def test_the_configuration_is_not_written_over(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    shop.out = shop.config
    assert shop.forecast(table()) == 2
    assert "out: expected another file than the input" in capsys.readouterr().err
    assert shop.config.read_text() == SETTINGS


def test_what_lies_after_the_cutoff_changes_nothing(shop: Shop) -> None:
    assert shop.forecast(table(), cutoff="2024-02-20") == 0
    first = shop.rows()
    later = pl.when(pl.col("date") > datetime(2024, 2, 20)).then(9_999.0).otherwise(pl.col("units"))
    assert shop.forecast(table().with_columns(units=later), cutoff="2024-02-20") == 0
    assert shop.rows().equals(first)


def test_events_and_known_features_may_be_used(shop: Shop) -> None:
    shop.config.write_text(f'calendars = ["us-retail"]\n{SETTINGS}known = ["price"]\n')
    assert shop.forecast(table(price=2.5), cutoff="2024-02-20") == 0
    assert shop.rows().height == 10


def test_a_feature_without_a_future_is_left_out_and_named(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.config.write_text(f'{SETTINGS}known = ["price"]\n')
    assert shop.forecast(table(price=2.5)) == 0
    assert "left out, not known for the 5 periods after 2024-02-29T00:00:00: price" in capsys.readouterr().err


def test_bad_rows_are_left_out_and_counted(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    bad = [-1.0, float("inf"), 1e12]
    frame = table()
    units = frame["units"].to_list()
    units[3:6] = bad
    unordered = frame.with_columns(units=pl.Series(units)).reverse()
    assert shop.forecast(pl.concat([unordered, unordered[:2]])) == 0
    errors = capsys.readouterr().err
    assert sum(line.startswith("left out ") for line in errors.splitlines()) >= 3
    assert shop.rows().height == 10


def test_gaps_are_missing_and_no_error(shop: Shop) -> None:
    assert shop.forecast(table().filter(pl.col("date").dt.day() % 5 != 0)) == 0
    assert shop.rows().height == 10


def test_one_day_of_one_series_among_others_is_enough_for_a_forecast(shop: Shop) -> None:
    frame = table(skus=3)
    assert (
        shop.forecast(frame.filter((pl.col("sku") != "sku-2") | (pl.col("date") == datetime(2024, 2, 10))))
        == 0
    )
    assert np.isfinite(shop.rows()["mean"].to_numpy()).all()
    assert shop.rows().height == 15


HEADER = "sku,shop,date,units\n"


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ("", "an empty file"),
        (HEADER, "at least one row"),
        (table().drop("units"), "units"),
        (table(units=0.0), "at least one period with demand"),
        (table(units=-1.0), "120 x demand is negative"),
        (HEADER + "a,b,2024-02-01,1\na,b,2024-02-02T00:00:00+08:00,2\n", "zone"),
        (HEADER + "a,b,yesterday,1\n", "time"),
    ],
    ids=["empty", "header-only", "no-column", "all-zero", "all-negative", "mixed-zones", "no-times"],
)
def test_bad_tables_are_one_line_and_no_file(
    shop: Shop, frame: pl.DataFrame | str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shop.forecast(frame) == 1
    errors = capsys.readouterr().err.splitlines()
    assert message in errors[-1]
    assert errors[-1].startswith("error: ")
    assert list(shop.folder.glob("*out.parquet*")) == []


def test_a_single_day_in_all_is_refused_or_forecast_but_never_a_crash(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shop.forecast(table(days=1, skus=1), cutoff="2024-01-01") == 1
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("steps = 0", "steps: "),
        ("stepps = 3", "stepps: "),
        ('seed = "a"', "seed: "),
        ("[columns]\nitems = 'x'", "columns.items: "),
        ("seed = 1\nsteps = x", "line 2"),
        ('calendars = ["mars"]', "'mars'"),
        ('[columns]\nknown = ["units"]\ndemand="units"', "columns.known: "),
    ],
)
def test_a_wrong_configuration_names_the_key(
    shop: Shop, settings: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.config.write_text(settings)
    frame = table().rename({"sku": "item", "shop": "location", "date": "time"})
    if "demand" not in settings:
        frame = frame.rename({"units": "demand"})
    assert shop.forecast(frame) == 2
    assert message in capsys.readouterr().err


def test_wrong_flags_are_refused_before_any_work(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    assert shop.forecast(table(), cutoff="2025-01-01") == 1
    assert "cutoff: expected 2024-01-01" in capsys.readouterr().err
    assert shop.forecast(table(), horizon=0) == 2
    assert "--horizon" in capsys.readouterr().err
    shop.out = shop.folder / "nowhere" / "out.parquet"
    assert shop.forecast(table()) == 2
    assert "expected an existing folder" in capsys.readouterr().err


FLASH = '[[event]]\nkind = "flash"\nstart = 2024-03-03\n'


def test_a_kind_never_seen_has_the_lift_of_a_calendar_file(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.config.write_text(f'calendars = ["own.toml"]\n{SETTINGS}')
    (shop.folder / "own.toml").write_text(FLASH)
    assert shop.forecast(table()) == 0
    told = capsys.readouterr().err
    assert "never saw, without effect on its forecasts: flash;" in told
    assert 'like = "KIND"' in told
    assert "lift = " in told
    base = shop.rows()["mean"].to_numpy().reshape(2, 5)
    (shop.folder / "own.toml").write_text(f"{FLASH}lift = 4\n")
    assert shop.forecast(table()) == 0
    assert "never saw" not in capsys.readouterr().err
    lifted = shop.rows()["mean"].to_numpy().reshape(2, 5)
    np.testing.assert_allclose(lifted / base, [[1, 1, 4, 1, 1]] * 2, rtol=1e-5)


def test_a_like_that_the_table_never_saw_is_refused_before_training(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    shop.config.write_text(f'calendars = ["us-retail", "own.toml"]\n{SETTINGS}')
    (shop.folder / "own.toml").write_text(f'{FLASH}like = "valentines"\n')
    assert shop.forecast(table()) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("error: like of the event kind flash: expected a kind that the model knows")
    assert "did you mean valentine?" in error
    (shop.folder / "own.toml").write_text(f'{FLASH}like = "valentine"\n')
    assert shop.forecast(table()) == 0
    assert "flash" not in capsys.readouterr().err
