"""Published forecasts against what came true, held against plain arithmetic."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from monitored_home import (
    FIRST,
    HORIZON,
    LAST,
    SECOND,
    forecasts_of,
    import_days,
    make_monitored,
    monitor,
    publish_forecasts,
)
from panels import make_panel, random_forecasts

from forecast.demand.panel import Panel
from forecast.demand.panel_build import load_panel
from forecast.demand.shards import PanelShards
from forecast.evaluation.baselines import SeasonalNaive
from forecast.evaluation.metrics import aggregate, scales, scored, statistics
from forecast.home import Home
from forecast.monitor_settings import MonitorSettings
from forecast.quantiles import LEVELS
from forecast.snapshot import Snapshot
from training.monitoring import scoring
from training.monitoring.rounds import look
from training.monitoring.scoring import compare
from training.monitoring.table import METRICS, overall, read_scores, scores_file
from training.monitoring.tally import ALL, SUMS, Part, Tally

SETTINGS = MonitorSettings()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, pl.DataFrame, str, str]:
    return make_monitored(tmp_path_factory.mktemp("monitor"))


@pytest.fixture
def home(made: tuple[Home, pl.DataFrame, str, str], tmp_path: Path) -> Home:
    shutil.copytree(made[0].root, tmp_path / "home")
    return Home(tmp_path / "home")


def truth_of(panel: Panel, snapshot: Snapshot, n: int) -> np.ndarray:
    """Series by series and day by day: what was sold, NaN where it does not count."""
    truth = np.full((snapshot.manifest.n_series, n), np.nan)
    keys = list(zip(panel.keys.item, panel.keys.location, panel.keys.platform, strict=True))
    published = zip(snapshot.keys.item, snapshot.keys.location, snapshot.keys.platform, strict=True)
    for row, key in enumerate(published):
        for step, time in enumerate(snapshot.times[:n]):
            at = keys.index(tuple(map(str, key))), panel.index(time)
            if panel.stocked_out_ST is None or not panel.stocked_out_ST[at] > 0:
                truth[row, step] = panel.demand_ST[at]
    return truth


def plain_metrics(truth: np.ndarray, mean: np.ndarray, quantiles: np.ndarray) -> dict[str, float]:
    """The textbook's formulas, over a flat list of scored periods."""
    counts = ~np.isnan(truth)
    y, mean, quantiles = truth[counts].astype(float), mean[counts], quantiles[counts].astype(float)
    units = y.sum()
    losses = []
    for level in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        q = quantiles[:, LEVELS.index(level)]
        losses.append(2 * np.where(y >= q, level * (y - q), (1 - level) * (q - y)).sum())

    def inside(low: float, high: float) -> float:
        return float(((y > quantiles[:, LEVELS.index(low)]) & (y < quantiles[:, LEVELS.index(high)])).mean())

    return {
        "n": len(y),
        "units": units,
        "wql": np.mean(losses) / units,
        "wape": np.abs(quantiles[:, LEVELS.index(0.5)] - y).sum() / units,
        "bias": mean.sum() / units - 1,
        "coverage_50": inside(0.25, 0.75),
        "coverage_80": inside(0.1, 0.9),
        "coverage_95": inside(0.025, 0.975),
    }


@pytest.mark.parametrize(("which", "n"), [(0, HORIZON), (1, int((LAST - SECOND).astype(int)))])
def test_a_snapshot_is_scored_as_by_hand(
    home: Home, made: tuple[Home, pl.DataFrame, str, str], which: int, n: int
) -> None:
    found = look(home, SETTINGS)
    row = overall(found.scores).row(which, named=True)
    snapshot = Snapshot.open(home.snapshots_dir / made[2 + which])
    assert (row["snapshot"], row["periods"], row["horizon"]) == (made[2 + which], n, HORIZON)
    truth = truth_of(load_panel(home), snapshot, n)
    quantiles = snapshot.quantiles(np.arange(len(truth)), n)
    for name, value in plain_metrics(truth, snapshot.mean_SH[:, :n], quantiles).items():
        assert row[name] == pytest.approx(value, rel=1e-4), name

    past = load_panel(home, cutoff=(FIRST, SECOND)[which])  # what the seasonal naive could know
    rows = np.arange(len(truth))
    naive = SeasonalNaive(n_scenarios=1)(past.select(rows), n)
    reference = plain_metrics(truth, naive.mean_SH, naive.quantiles_SHQ)
    assert row["naive_wql"] == pytest.approx(reference["wql"], rel=1e-4)
    assert row["naive_wape"] == pytest.approx(reference["wape"], rel=1e-4)
    assert row["fva"] == pytest.approx(1 - row["wql"] / row["naive_wql"])


def test_parts_add_up_to_the_whole(home: Home, made: tuple[Home, pl.DataFrame, str, str]) -> None:
    scores = look(home, SETTINGS).scores
    for snapshot in made[2:]:
        mine = scores.filter(pl.col("snapshot") == snapshot)
        whole = overall(mine).row(0, named=True)
        segments = mine.filter(pl.col("value").is_in(["fast", "slow", "intermittent"]))
        for parts in (segments, *(mine.filter(pl.col("dimension") == name) for name in ("platform", "week"))):
            assert parts["n"].sum() == whole["n"]
            assert parts["quantile_loss"].sum() == pytest.approx(whole["quantile_loss"])
    weeks = scores.filter((pl.col("snapshot") == made[3]) & (pl.col("dimension") == "week"))
    assert weeks["value"].to_list() == ["1", "2"]


def test_events_are_those_that_were_published(home: Home, made: tuple[Home, pl.DataFrame, str, str]) -> None:
    scores = look(home, SETTINGS).scores
    mine = scores.filter((pl.col("snapshot") == made[2]) & (pl.col("dimension") == "event"))
    row = mine.row(by_predicate=pl.col("value") == "Singles' Day 2023", named=True)
    snapshot = Snapshot.open(home.snapshots_dir / made[2])
    truth = truth_of(load_panel(home), snapshot, HORIZON)[:, 7:8]  # 11.11 is the eighth day
    assert row["units"] == np.nansum(truth)
    assert row["n"] == np.isfinite(truth).sum()
    assert {"Singles' Day 2023, warm-up", "Singles' Day 2023, after"} < set(mine["value"])


def test_sums_give_what_the_metrics_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "CHUNK", 7)
    random = np.random.default_rng(3)
    demand = random.poisson(2, (40, 90)).astype(float)
    demand[random.random(demand.shape) < 0.05] = np.nan
    demand[5] = 0
    panel = make_panel(demand, stocked_out_ST=(random.random(demand.shape) < 0.05).astype(float))
    known, truth = panel.until(70), scored(panel, 70, HORIZON)
    ours, naive = (
        statistics(truth, one, scales(known))
        for one in (random_forecasts(known, HORIZON), SeasonalNaive()(known, HORIZON))
    )
    masks = {ALL: np.ones((1, 1), bool), Part("week", "2"): (np.arange(HORIZON) >= 7)[None, :]}
    for part, mask in masks.items():
        tally = Tally()
        tally.add(ours, naive, {part: mask})
        row = {one["value"]: one for one in tally.rows()}[part.value]
        whole = aggregate(ours, mask)
        assert (row["n"], row["units"]) == (whole.n, whole.units)
        assert row["quantile_loss"] / row["units"] == pytest.approx(whole.wql)
        assert row["absolute_error"] / row["units"] == pytest.approx(whole.wape)
        assert row["error"] / row["units"] == pytest.approx(whole.bias)
        assert row["inside_80"] / row["n"] == pytest.approx(whole.coverage_80)
        assert row["naive_quantile_loss"] / row["units"] == pytest.approx(aggregate(naive, mask).wql)


def test_runs_of_series_give_what_the_whole_gives(
    home: Home, made: tuple[Home, pl.DataFrame, str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    panel = load_panel(home)
    snapshots = [Snapshot.open(home.snapshots_dir / name) for name in made[2:]]
    whole = compare(PanelShards.of(panel), snapshots, lambda _done: None)
    monkeypatch.setattr(scoring, "CHUNK", 3)
    pieces = [slice(0, 5), slice(5, 10), slice(10, 12)]
    parts = compare(PanelShards(panel, panel.select, pieces), snapshots, lambda _done: None)
    for one, other in zip(whole, parts, strict=True):
        assert one.n_series == other.n_series == one.snapshot.manifest.n_series
        rows, others = ({(r["dimension"], r["value"]): r for r in t.rows()} for t in (one.tally, other.tally))
        assert rows.keys() == others.keys()
        for part, row in rows.items():
            for name in SUMS:
                assert row[name] == pytest.approx(others[part][name], abs=1e-6), (part, name)


def test_another_order_of_series_and_series_that_are_gone(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    panel = load_panel(home, cutoff=SECOND, horizon=HORIZON)
    forecasts = forecasts_of(panel, seed=2)
    order = np.arange(panel.n_series)[::-1]
    keys = panel.keys.select(order)
    keys = replace(keys, item=np.concatenate([["gone", "lost"], keys.item[2:]]))
    turned = replace(
        forecasts,
        keys=keys,
        mean_SH=forecasts.mean_SH[order],
        quantiles_SHQ=forecasts.quantiles_SHQ[order],
        ranks_SHK=forecasts.ranks_SHK[order],
    )
    name = publish_forecasts(home, replace(panel.select(order), keys=keys), turned)
    assert monitor(home, "--json", "--no-log") == 0
    found = {one["snapshot"]: one for one in json.loads(capsys.readouterr().out)["snapshots"]}
    assert (found[name]["series"], found[name]["gone"]) == (10, 2)
    panel, snapshot = load_panel(home), Snapshot.open(home.snapshots_dir / name)
    truth = scored(panel.select(order[2:]), panel.index(SECOND) + 1, 9)
    expected = plain_metrics(truth, snapshot.mean_SH[2:, :9], snapshot.quantiles(np.arange(2, 12), 9))
    assert found[name]["wql"] == pytest.approx(expected["wql"], rel=1e-4)
    assert monitor(home, "--no-log") == 0
    assert f"{name}: 2 of its series are not in the store" in capsys.readouterr().err


def test_only_what_is_new_is_scored(home: Home, made: tuple[Home, pl.DataFrame, str, str]) -> None:
    _, table, first, second = made
    assert look(home, SETTINGS).new == (first, second)
    before = scores_file(home).stat().st_mtime_ns
    assert look(home, SETTINGS).new == ()
    assert scores_file(home).stat().st_mtime_ns == before

    import_days(home, table, LAST + 2, LAST + 1)  # beyond the first snapshot's horizon
    found = look(home, SETTINGS)
    assert found.new == (second,)
    assert overall(found.scores)["periods"].to_list() == [14, 11]
    assert overall(found.scores)["data_version"].to_list() == ["3", "4"]

    corrected = table.filter(pl.col("time") == (FIRST + 3).astype("M8[us]").item()).with_columns(
        pl.col("demand") + 50
    )
    import_days(home, corrected, LAST)
    again = look(home, SETTINGS)
    assert again.new == (first, second)  # the second's seasonal naive rests on that day
    rows = [overall(one.scores).row(0, named=True) for one in (found, again)]
    assert rows[1]["units"] > rows[0]["units"] + 50


@pytest.mark.parametrize("content", [b"PAR1 and nothing more", None])
def test_a_table_that_cannot_be_used_is_made_anew(
    home: Home, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = look(home, SETTINGS).scores
    if content is None:
        pl.read_parquet(scores_file(home)).drop("fva").write_parquet(scores_file(home))
    else:
        scores_file(home).write_bytes(content)
    capsys.readouterr()
    assert look(home, SETTINGS).scores.equals(whole)
    assert "all is scored anew" in capsys.readouterr().err
    assert read_scores(home)[1] == ""


def test_scores_of_a_snapshot_that_was_pruned_stay(
    home: Home, made: tuple[Home, pl.DataFrame, str, str]
) -> None:
    before = look(home, SETTINGS).scores
    shutil.rmtree(home.snapshots_dir / made[2])
    assert look(home, SETTINGS).scores.equals(before)


def test_the_table_is_for_everybody(home: Home) -> None:
    look(home, SETTINGS)
    table = pl.read_parquet(home.monitoring_dir / "scores.parquet")
    assert {"snapshot", "origin", "periods", "data_version", "dimension", "value", *METRICS} < set(
        table.columns
    )


def test_since_leaves_out_older_origins(
    home: Home, made: tuple[Home, pl.DataFrame, str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert monitor(home, "--since", "2023-11-05", "--json", "--no-log") == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["snapshot"] for one in found["snapshots"]] == [made[3]]
    assert monitor(home, "--since", "2023-12-01", "--no-log") == 1
    assert (
        "expected one of 2023-12-01 or later, found none; the last that could be scored is of 2023-11-10"
        in (capsys.readouterr().err)
    )
