"""Series without any demand, from import to snapshot and in one shot: forecast, and labelled."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forecast.cli.main import run
from forecast.demand import shards
from forecast.demand.panel_build import load_panel
from forecast.demand.simulate import SimulationConfig, simulate, write_table
from forecast.home import Home
from forecast.model.bundle import Bundle
from forecast.snapshot.pointer import Pointer
from forecast.snapshot.reader import Snapshot
from tests.training.test_oneshot import Shop, shop, table  # noqa: F401
from training.registry import bundle_folder, find

# MLflow's own use of SQLAlchemy; nothing that we could change.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

NAMES = ["--known", "price,discount", "--static", "category"]
CUTOFF = "2023-04-20"


def plan(demand: pl.DataFrame, item: str, location: str, category: str) -> pl.DataFrame:
    """Rows of an item of which nothing is known but what it is and what it will cost."""
    last = demand.filter(pl.col("demand").is_not_null())["time"].max()
    one = demand.filter((pl.col("item") == demand["item"][0]) & (pl.col("time") > last)).unique("time")
    return one.with_columns(
        item=pl.lit(item),
        location=pl.lit(location),
        category=pl.lit(category),
        demand=pl.lit(None, pl.Float32),
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Simulated demand of 12 series, a new item in a table of its own, a new location in another, trained and
    published."""
    root = tmp_path_factory.mktemp("new")
    home = Home(root / "home")
    write_table(
        simulate(SimulationConfig(n_series=12, n_periods=120, horizon=30)).panel, root / "old.parquet"
    )
    demand = pl.read_parquet(root / "old.parquet")
    location, category = demand["location"][0], demand["category"][0]
    plan(demand, "brand-new", location, category).write_parquet(root / "item.parquet")
    plan(demand, demand["item"][0], "new-shop", "never seen").write_parquet(root / "shop.parquet")
    for name in ("old", "item", "shop"):
        line = ["data", "import", "table", str(root / f"{name}.parquet"), "--period", "day", *NAMES]
        assert run([*line, "--home", str(home.root)]) == 0
    few = ["--cutoff", CUTOFF, "--horizon", "7", "--steps", "6", "--device", "cpu"]
    assert run(["train", "--home", str(home.root), *few, "--backtest-origins", "1"]) == 0
    return home


def test_new_series_are_in_the_panel_without_demand(home: Home) -> None:
    panel = load_panel(home)
    assert panel.n_series == 14
    assert panel.no_history_S.tolist() == [False] * 12 + [True] * 2
    assert np.isfinite(panel.known["price"][12:]).any()
    assert panel.statics["category"][13] == "never seen"


def test_their_labels_are_not_learned(home: Home) -> None:
    schema = Bundle.load(bundle_folder(home, find(home).bundle_id)).schema
    labels = {label for static in schema.statics for label in static.labels}
    assert labels
    assert not labels & {"brand-new", "new-shop", "never seen"}


def test_publish_names_them_and_the_snapshot_labels_them(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["publish", "--home", str(home.root), "--cutoff", CUTOFF, "--device", "cpu"]) == 0
    told = capsys.readouterr().err
    assert "forecast from what they are, without history: 2 series (brand-new at " in told
    snapshot = Snapshot.open(home.snapshots_dir / Pointer.read(home).snapshot)
    none_S = snapshot.no_history_S
    assert sorted(snapshot.keys.item[none_S].tolist())[0] == "brand-new"
    assert none_S.sum() == 2
    assert np.isnan(snapshot.history_SN[none_S]).all()
    assert (snapshot.mean_SH[none_S] > 0).all()
    assert np.isnan(snapshot.summary.base_S[none_S]).all()
    # A peak over one's own median is no surge; over nothing it would lead every list.
    assert snapshot.summary.ratio_S[none_S].max() < 5


def test_publish_in_shards_says_and_forecasts_the_same(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five series at a time, as of a panel of millions."""
    line = ["publish", "--home", str(home.root), "--cutoff", CUTOFF, "--device", "cpu"]
    published = []
    for few in (False, True):
        if few:
            monkeypatch.setattr(shards, "WHOLE_BYTES", 0)
            monkeypatch.setattr(shards, "SHARD_BYTES", 1)
            monkeypatch.setattr(shards, "ALIGNED", 5)
            assert [rows.stop for rows in shards.cut(14, 1)] == [5, 10, 14]
        assert run(line) == 0
        told = capsys.readouterr().err
        assert "forecast from what they are, without history: 2 series (brand-new at " in told
        published.append(Snapshot.open(home.snapshots_dir / Pointer.read(home).snapshot))
    whole, parts = published
    np.testing.assert_allclose(parts.mean_SH, whole.mean_SH, rtol=1e-4)
    for name in ("ranks_SHK", "history_SN", "no_history_S", "group_S"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert run([*line[:3], "--cutoff", "2023-05-28", "--device", "cpu"]) == 1
    expected = "known features: expected discount, price for the 7 periods after"
    assert expected in capsys.readouterr().err


def test_a_series_that_only_sells_after_the_cutoff_has_no_history(home: Home) -> None:
    early = load_panel(home, cutoff=np.datetime64("2023-01-01"))
    assert early.no_history_S.sum() >= 2


def test_the_store_still_shows_what_it_holds(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["data", "show", "--home", str(home.root), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["series"], shown["no_history"], shown["demand_missing"]) == (14, 2, 0)
    assert [one["series"] for one in shown["imports"]] == [12, 1, 1]


def test_a_first_import_without_demand_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.csv"
    path.write_text("item,time,demand\na,2023-01-01,\na,2023-01-02,\n")
    line = ["data", "import", "table", str(path), "--period", "day", "--home", str(tmp_path / "home")]
    assert run(line) == 1
    assert "expected at least one period with demand, found none" in capsys.readouterr().err


@pytest.mark.parametrize("units", [None, 7.0], ids=["empty", "sold after the cutoff"])
def test_one_shot_forecasts_a_new_sku(
    shop: Shop,  # noqa: F811
    capsys: pytest.CaptureFixture[str],
    units: float | None,
) -> None:
    known = table(skus=3)
    new = pl.DataFrame(
        {"sku": ["new"], "shop": ["corner"], "date": [datetime(2024, 2, 22)], "units": [units]},
        schema=known.schema,
    )
    early = known.filter(pl.col("date") <= datetime(2024, 2, 20))
    assert shop.forecast(pl.concat([early, new]), "--json", cutoff="2024-02-20") == 0
    told = capsys.readouterr()
    assert json.loads(told.out)["no_history"] == 1
    assert "without history: 1 series (new at corner on all)" in told.err
    rows = shop.rows()
    assert rows.columns == ["item", "location", "platform", "time", "mean", "quantiles"]
    mean = rows.filter(pl.col("item") == "new")["mean"].to_numpy()
    assert len(mean) == 5
    assert (mean > 0).all()
