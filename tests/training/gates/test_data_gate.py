"""The data gate on real stores: good days pass, each kind of poison stops it and is named."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gate_home import DAYS, HORIZON, SETTINGS, TAIL, TODAY, Gate, Poison, cut, imported, sentences
from numpy.typing import NDArray

from forecast.demand.panel import Panel
from forecast.demand.panel_build import load_panel
from forecast.demand.simulate import SimulationConfig, simulate
from forecast.errors import NotFoundError
from forecast.home import Home
from forecast.model.schema import FeatureSchema
from forecast.snapshot import write_snapshot
from forecast.snapshot.pointer import move_pointer
from tests.support.panels import make_panel
from training.gates.data import check_data
from training.gates.data.dates import best_shift
from training.gates.findings import Finding, GateReport


def changed(**part: Any) -> Poison:
    """Poison of demand: the last `days` days of what is `at` a location or an item times `factor`."""

    def poison(tail: Panel) -> Panel:
        demand_ST = tail.demand_ST.copy()
        place = tail.keys.location if "location" in part else tail.keys.item
        wanted = part.get("location", part.get("item"))
        rows = np.ones(len(place), np.bool_) if wanted is None else place == wanted
        demand_ST[rows, -part.get("days", 1) :] *= part["factor"]
        return replace(tail, demand_ST=demand_ST)

    return poison


def without_price(tail: Panel) -> Panel:
    price = tail.known["price"].copy()
    price[:, TAIL - 2 : TAIL] = np.nan
    return replace(tail, known={**tail.known, "price": price})


def without_rows(tail: Panel) -> Panel:
    demand_ST = tail.demand_ST.copy()
    demand_ST[:, -2] = np.nan
    return replace(tail, demand_ST=demand_ST)


def sent_again(tail: Panel) -> Panel:
    demand_ST = tail.demand_ST.copy()
    demand_ST[:, -1] = demand_ST[:, -2]
    return replace(tail, demand_ST=demand_ST)


def sold_out(tail: Panel) -> Panel:
    stock_ST = np.zeros_like(tail.demand_ST)
    stock_ST[:, -2:] = 0.9
    return replace(tail, stocked_out_ST=stock_ST)


def half_silent(tail: Panel) -> Panel:
    demand_ST = tail.demand_ST.copy()
    demand_ST[::2, -7:] = np.nan
    return replace(tail, demand_ST=demand_ST)


def renamed(tail: Panel) -> Panel:
    demand_ST = tail.demand_ST.copy()
    demand_ST[:, :-7] = np.nan
    keys = replace(tail.keys, item=np.char.add("SKU-", tail.keys.item))
    return replace(tail, keys=keys, demand_ST=demand_ST)


def test_good_days_pass(gate: Gate) -> None:
    report = gate()
    assert report.passed, sentences(report)
    assert len(report.warnings) <= 1
    assert {one.check for one in report.findings} == {
        "cutoff", "freshness", "gaps", "dates", "volume", "missing demand", "stocked out", "new series",
        "vanished series", "schema", "drift",
    }  # fmt: skip
    saturday = next(one for one in report.findings if one.subject == "2023-11-04")
    assert "units as on the last " in saturday.expected
    assert "Saturdays" in saturday.expected


@pytest.mark.parametrize(
    ("poison", "parts"),
    [
        (changed(factor=0.0), ("volume, 2023-11-04: expected", "found 0: all of 200 rows are zero")),
        (without_rows, ("gaps: expected", "found no row on 2023-11-03")),
        (sent_again, ("dates, 2023-11-04: expected", "that of 2023-11-03 once more")),
        (changed(factor=10.0), ("volume, 2023-11-04:", "every count is a multiple of 10, another unit")),
        (changed(factor=10.0, days=6), ("volume, 2023-10-30:", "volume, 2023-11-04:")),
        (changed(factor=0.0, location="shop-0003"), (", location shop-0003", "found 0: all")),
        (
            changed(factor=np.nan, location="shop-0003"),
            ("volume, 2023-11-04, location shop-0003: expected", "found 0: no rows"),
        ),
        (
            changed(factor=10.0, location="shop-0001"),
            ("volume, 2023-11-04, location shop-0001", "times the usual"),
        ),
        (
            changed(factor=10.0, item="item-000003", days=3),
            ("volume, 2023-11-0", "item item-000003", "every count is a multiple of 10"),
        ),
        (without_price, ("schema, price: expected known for at least 90%", "found 0.0% on 2023-11-0")),
        (sold_out, ("stocked out: expected", "found 90.0% on 2023-11-0")),
        (half_silent, ("vanished series: expected at most 20%", "missing demand: expected at most 1")),
        (renamed, ("new series: expected at most 30% of 400 series", "200 (50.0%), such as SKU-item")),
    ],
    ids=[
        "zeros",
        "no rows",
        "sent again",
        "tenfold",
        "tenfold week",
        "store zero",
        "store without rows",
        "tenfold store",
        "tenfold item",
        "no price",
        "sold out",
        "half silent",
        "renamed",
    ],
)
def test_poison_stops_and_is_named(gate: Gate, poison: Poison, parts: tuple[str, ...]) -> None:
    report = gate(poison)
    assert not report.passed
    for part in parts:
        assert part in sentences(report)


def calm(n: int) -> NDArray[np.float32]:
    """Sales of 25 series on n days from Monday, 2024-01-01, on, without events."""
    level_T = 60 * np.resize(WEEK, n) * np.random.default_rng(2).lognormal(0, 0.04, n)
    return np.random.default_rng(3).poisson(level_T, (25, n)).astype(np.float32)


WEEK = np.array([1.0, 0.8, 0.8, 0.9, 1.1, 1.4, 1.2])


@pytest.mark.parametrize(
    ("days", "by", "length", "shift"),
    [
        (7, 2, "7 days", "2 days too late"),
        (14, 1, "14 days", "1 day too late"),
        (
            28,
            -1,
            "28 days",
            "1 day too early",
        ),
        (0, 0, "", ""),
    ],
)
def test_shifted_dates_are_named(tmp_path: Path, days: int, by: int, length: str, shift: str) -> None:
    n = 140
    sold_ST = calm(n + 3)
    demand_ST = sold_ST[:, :n].copy()
    demand_ST[:, n - days :] = sold_ST[:, n - days - by : n - by]
    home = Home(tmp_path)
    imported(home, make_panel(demand_ST), "all")
    report = check_data(home, SETTINGS, cutoff=np.datetime64("2024-05-19"), today=np.datetime64("2024-06-01"))
    shifts = [one.sentence() for one in report.failures if one.check == "dates" and one.subject == "all"]
    pattern = f"dates: expected the last {length} to follow the usual pattern of weekdays"
    assert shifts == ([f"{pattern}, found the pattern {shift}: shifted dates"] if by else [])


def test_a_day_that_came_in_under_the_next_is_named(tmp_path: Path) -> None:
    demand_ST = calm(140)
    demand_ST[:, -2] += demand_ST[:, -3]
    demand_ST[:, -3] = 0
    home = Home(tmp_path)
    imported(home, make_panel(demand_ST), "all")
    report = check_data(home, SETTINGS, cutoff=np.datetime64("2024-05-19"), today=np.datetime64("2024-06-01"))
    assert "volume, 2024-05-17: expected" in sentences(report)
    assert "zero; 2024-05-18 has 1.8 times the usual: shifted dates?" in sentences(report)


def test_one_odd_day_is_no_shift() -> None:
    level_D = 1000 * np.resize(WEEK, 140) * np.random.default_rng(4).lognormal(0, 0.04, 140)
    for day in range(1, 8):
        for factor in (0.1, 2.0, 10.0):
            odd_D = level_D.copy()
            odd_D[-day] *= factor
            assert best_shift(odd_D, np.ones(140, np.bool_), 7, "day") == (0, 0)


def test_what_a_person_accepts_does_not_stop(gate: Gate) -> None:
    settings = SETTINGS.model_copy(update={"accepted": ("*, location shop-0003",)})
    report = gate(changed(factor=0.0, location="shop-0003"), settings)
    assert report.passed, sentences(report)
    assert "(accepted in the settings)" in report.warnings[0].found


def test_a_surge_that_the_calendar_knows_passes_and_a_lost_one_does_not(tmp_path: Path) -> None:
    """11.11 at ten times the demand, in the first year and in the second."""
    config = SimulationConfig(
        n_series=100, n_periods=500, horizon=0, n_locations=5, start=date(2022, 7, 1), surge=(10.0, 10.0),
        stock_outs=0.0, launched=0.0,
    )  # fmt: skip
    whole = simulate(config).panel
    home = Home(tmp_path / "home")
    second = whole.index(np.datetime64("2023-11-11"))
    demand_ST = whole.demand_ST.copy()
    lost = demand_ST[:, second].copy()
    demand_ST[:, second] = 0
    imported(home, cut(replace(whole, demand_ST=demand_ST), 0, second + 1, second + 1), "all")

    def judge(day: str) -> GateReport:
        return check_data(home, SETTINGS, cutoff=np.datetime64(day), today=np.datetime64("2023-12-01"))

    first = judge("2022-11-12")
    assert "volume, 2022-11-11: expected" in sentences(first)  # nobody said that there would be a surge
    home.settings_file.write_text('[events]\ncalendars = ["china"]\n')
    assert judge("2022-11-12").passed
    assert "double-11" in next(f.expected for f in judge("2022-11-12").findings if f.subject == "2022-11-11")
    assert "2023-11-11: expected" in sentences(judge("2023-11-11"))
    again = np.full_like(demand_ST[:, : second + 1], np.nan)
    again[:, second] = lost
    imported(home, replace(cut(whole, 0, second + 1, second + 1), demand_ST=again), "mended")
    assert judge("2023-11-11").passed, sentences(judge("2023-11-11"))


def found(report: GateReport, check: str) -> Finding:
    return next(one for one in report.findings if one.check == check)


def test_the_cutoff_and_the_age_of_the_demand(base: Home, tmp_path: Path) -> None:
    def judge(cutoff: str | None, today: str) -> GateReport:
        at = None if cutoff is None else np.datetime64(cutoff)
        return check_data(base, SETTINGS, cutoff=at, today=np.datetime64(today))

    last = "2023-10-07"
    future = judge("2023-10-08", last)
    assert (
        sentences(future) == f"cutoff: expected a period with demand, 2022-10-01 to {last}, found 2023-10-08"
    )
    assert judge("2023-08-01", "2025-01-01").passed
    assert judge(None, "2023-10-14").passed
    assert "found 2023-10-07, 8 days ago (--cutoff" in sentences(judge(None, "2023-10-15"))
    assert "found 2023-10-07, 2 days after today" in sentences(judge(None, "2023-10-05"))
    assert found(judge("2022-10-03", last), "history").found == "3"
    with pytest.raises(NotFoundError, match="expected imported demand"):
        check_data(Home(tmp_path), SETTINGS, cutoff=None, today=TODAY)


def test_features_that_the_serving_model_needs(
    base: Home, panel: Panel, tmp_path: Path, make_publication: Any
) -> None:
    home = Home(shutil.copytree(base.root, tmp_path / "home"))
    wanted = replace(panel, known={**panel.known, "leaflet": panel.known["price"]})
    schema = FeatureSchema.fit(wanted, HORIZON).to_dict()
    folder = home.bundles_dir / "b1"
    folder.mkdir(parents=True)
    (folder / "bundle.json").write_text(json.dumps({"format": 1, "schema": schema}))
    published = make_publication()
    made = write_snapshot(home, published.forecasts, published.panel, bundle_id="b1", model_version="1")
    move_pointer(home, made)
    text = sentences(check_data(home, SETTINGS, cutoff=None, today=np.datetime64("2023-10-08")))
    assert "schema, leaflet: expected a column, as the model that serves knows it, found none" in text
    assert "schema, price ahead: expected known for 14 periods after 2023-10-07" in text
    imported(home, cut(panel, DAYS - TAIL, DAYS, DAYS + HORIZON), "tail")
    text = sentences(check_data(home, SETTINGS, cutoff=None, today=TODAY))
    assert "price" not in text


def test_counts_are_those_of_the_panel(base: Home) -> None:
    """The survey in runs of series against plain sums over the dense panel."""
    from forecast.demand.panel_build import load_shards
    from forecast.demand.shards import PanelShards
    from training.gates.data.survey import survey_of

    shards = load_shards(base)
    whole = load_panel(base)
    runs = [slice(0, 70), slice(70, 71), slice(71, 200)]
    survey = survey_of(PanelShards(shards.outline, whole.select, runs), SETTINGS)
    shop = next(one for one in survey.dimensions if one.name == "location")
    for n, label in enumerate(shop.labels_N):
        rows: NDArray[np.bool_] = whole.keys.location == label
        np.testing.assert_allclose(shop.units_ND[n], np.nansum(whole.demand_ST[rows], axis=0))
        last = whole.demand_ST[rows][:, -survey.windows.width :]
        np.testing.assert_array_equal(shop.rows_NW[n], np.isfinite(last).sum(axis=0))
        np.testing.assert_array_equal(
            shop.divisor_NW[n], np.gcd.reduce(np.nan_to_num(last).astype(np.int64), axis=0)
        )
    assert [one.name for one in survey.dimensions] == ["all", "platform", "location", "category", "item"]
    np.testing.assert_allclose(
        survey.series["last"], np.nansum(whole.demand_ST[:, -7:], axis=1) / 7, rtol=1e-5
    )
