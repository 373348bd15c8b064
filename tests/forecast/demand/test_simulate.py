from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forecast.demand.panel import Period
from forecast.demand.simulate import Simulation, SimulationConfig, simulate, write_table
from forecast.errors import InputError


@pytest.fixture(scope="module")
def daily() -> Simulation:
    return simulate(SimulationConfig(n_series=300, n_periods=1_000, horizon=30, seed=3))


def test_the_same_configuration_gives_the_same_numbers(daily: Simulation) -> None:
    again = simulate(SimulationConfig(n_series=300, n_periods=1_000, horizon=30, seed=3))
    assert np.array_equal(daily.panel.demand_ST, again.panel.demand_ST, equal_nan=True)
    assert np.array_equal(daily.panel.known["price"], again.panel.known["price"])
    other = simulate(SimulationConfig(n_series=300, n_periods=1_000, horizon=30, seed=4))
    assert not np.array_equal(daily.panel.demand_ST, other.panel.demand_ST, equal_nan=True)


def test_sales_are_demand_cut_off_by_stock(daily: Simulation) -> None:
    sales, demand, out = daily.panel.demand_ST, daily.demand_ST, daily.panel.stocked_out_ST
    assert out is not None
    seen = ~np.isnan(sales)
    assert np.all(sales[seen] <= demand[seen])
    assert np.all(sales[seen & (out == 0)] == demand[seen & (out == 0)])
    assert np.all((out[seen] >= 0) & (out[seen] <= 1))
    assert demand[seen].sum() > 1.01 * sales[seen].sum()


def test_demand_scatters_around_its_rate(daily: Simulation) -> None:
    seen = ~np.isnan(daily.demand_ST)
    rate = daily.rate_SP[:, :1_000]
    assert daily.demand_ST[seen].sum() == pytest.approx(rate[seen].sum(), rel=0.02)
    assert np.all(daily.demand_ST[seen] == np.floor(daily.demand_ST[seen]))


def test_surges_recur_every_year_with_hold_back_and_dip(daily: Simulation) -> None:
    steady = daily.rate_SP.mean(axis=0)
    for year in (2023, 2024):
        peak = daily.panel.index(np.datetime64(f"{year}-11-11", "s"))
        plain_days = np.median(steady[peak - 60 : peak - 25])
        assert 2.5 < steady[peak] / plain_days < 12
        assert steady[peak - 10 : peak].mean() < plain_days
        assert steady[peak + 1 : peak + 8].mean() < plain_days
        assert daily.panel.events.intensity_GLE[0, peak, daily.panel.events.names.index("double-11/day")] == 3


def test_the_panel_has_launches_zeros_promotions_and_statics(daily: Simulation) -> None:
    panel = daily.panel
    missing = np.isnan(panel.demand_ST)
    launched_late = missing[:, 0]
    assert 0.04 < launched_late.mean() < 0.2
    assert np.all(np.diff(missing.astype(int), axis=1) <= 0), "what was launched stays"
    assert not missing[:, -1].any()
    mostly_zero = (panel.demand_ST == 0).mean(axis=1) > 0.5
    assert 0.15 < mostly_zero.mean() < 0.45
    assert panel.n_known == 1_030
    discounted = panel.known["discount"] > 0
    assert 0.05 < discounted.mean() < 0.25
    assert len(set(panel.statics["category"].tolist())) > 3
    assert (
        len(
            {
                (i, o, p)
                for i, o, p in zip(panel.keys.item, panel.keys.location, panel.keys.platform, strict=True)
            }
        )
        == 300
    )


@pytest.mark.parametrize(("period", "n"), [("hour", 24 * 10), ("week", 110)])
def test_other_periods(period: Period, n: int) -> None:
    panel = simulate(SimulationConfig(n_series=20, n_periods=n, horizon=10, period=period, launched=0)).panel
    assert panel.demand_ST.shape == (20, n)
    assert np.isfinite(panel.demand_ST).all()
    assert panel.time(1) - panel.time(0) == {"hour": 3_600, "week": 604_800}[period]
    if period == "hour":
        by_hour = panel.demand_ST.sum(axis=0).reshape(-1, 24).sum(axis=0)
        assert by_hour[15] > 2 * by_hour[3]


def test_edges() -> None:
    one = simulate(SimulationConfig(n_series=1, n_periods=1, horizon=0, stock_outs=0)).panel
    assert one.demand_ST.shape == (1, 1)
    assert one.stocked_out_ST is not None
    assert not one.stocked_out_ST.any()


@pytest.mark.parametrize(
    ("field", "config"),
    [
        ("n_series", lambda: SimulationConfig(n_series=0)),
        ("horizon", lambda: SimulationConfig(horizon=-1)),
        ("launched", lambda: SimulationConfig(launched=1.5)),
        ("surge", lambda: SimulationConfig(surge=(4.0, 2.0))),
    ],
)
def test_a_wrong_configuration_names_the_field(field: str, config: object) -> None:
    assert callable(config)
    with pytest.raises(InputError, match=field):
        config()


def test_the_table_holds_the_panel_in_long_form(tmp_path: Path) -> None:
    config = SimulationConfig(n_series=30, n_periods=50, horizon=7, launched=0.5, start=date(2024, 10, 20))
    panel = simulate(config).panel
    write_table(panel, tmp_path / "table.parquet")
    table = pl.read_parquet(tmp_path / "table.parquet")
    assert table.columns[:6] == ["item", "location", "platform", "time", "demand", "stocked_out"]
    assert table.columns[6:] == ["price", "discount", "category", "city"]
    n_missing = int(np.isnan(panel.demand_ST).sum())
    assert n_missing > 0
    assert len(table) == 30 * 57 - n_missing
    future = table.filter(pl.col("time") > panel.origin.item())
    assert future["demand"].null_count() == len(future) == 30 * 7
    assert future["price"].null_count() == 0
    for s in (0, 7, 29):
        keys = panel.keys
        rows = table.filter(item=keys.item[s], location=keys.location[s], platform=keys.platform[s]).sort(
            "time"
        )
        observed = rows["demand"].drop_nulls().to_numpy()
        assert np.array_equal(observed, panel.demand_ST[s][~np.isnan(panel.demand_ST[s])])
        assert set(rows["city"]) == {panel.statics["city"][s]}
