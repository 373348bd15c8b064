"""What planners' commands ask, print and draw."""

import json
import re

import polars as pl
import pytest
from planner_server import seconds
from surgecast.v1 import forecast_pb2 as pb

from forecast.cli.main import run
from serving.client import Client
from serving.surge_picture import save_surges

KEY = ("--item", "i", "--location", "L", "--platform", "P")


def test_aggregate_prints_groups_and_bars_of_them(ask, planner):
    out = ask("aggregate", "--by", "location", "--by", "category", "--platform", "P")
    assert list(planner.requests[0].group_by) == ["location", "category"]
    assert planner.requests[0].filter.platform == "P"
    assert out.count("location-1   category-1") == 4  # three days, and their sum
    assert "4 – 36" in out
    assert "█" in out
    assert "origin 2026-11-01, model 3, snapshot snap-1" in out


def test_aggregate_of_everything_is_a_fan(ask):
    out = ask("aggregate")
    assert all(mark in out for mark in "━▓░┊")
    assert "●" not in out


def test_aggregate_asks_for_the_days_named(ask_json, planner):
    where = ("--where", "category=food", "--where", "category=toys", "--where", "region=east")
    answer = ask_json("aggregate", *where, "--from", "2026-11-02", "--to", "2026-11-04", "--period", "total")
    (request,) = planner.requests
    labels = {label.name: list(label.values) for label in request.filter.labels}
    assert labels == {"category": ["food", "toys"], "region": ["east"]}
    assert request.range.start_seconds == seconds("2026-11-02")
    assert request.range.end_seconds == seconds("2026-11-05")
    assert request.aggregation == pb.AGGREGATION_TOTAL
    assert answer["ends"] == ["2026-11-05T00:00:00"]
    assert answer["groups"][0]["mean"] == [10.0]
    assert answer["snapshot"] == "snap-1"


@pytest.mark.parametrize("period", [[], ["--period", "total"]], ids=["fans", "bars"])
def test_aggregate_draws_a_picture(ask, tmp_path, period):
    picture = tmp_path / "groups.png"
    ask("aggregate", "--by", "location", *period, "--png", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_groups_that_are_none_are_said_to_be(ask, planner, capsys, address, tmp_path):
    planner.groups = 0
    assert run(["aggregate", "--address", address, "--png", str(tmp_path / "none.png")]) == 0
    assert capsys.readouterr().err == "no series matches\n"
    assert list(tmp_path.iterdir()) == []


def test_surges_are_ranked_with_bars(ask, planner):
    out = ask("surges", "--multiple", "3", "--probability", "0.8", "--limit", "3")
    (request,) = planner.requests
    assert (request.multiple, request.probability, request.page_size) == (3.0, 0.8, 3)
    rows = [line for line in out.splitlines() if "█" in line]
    assert [row.split()[0] for row in rows] == ["i0", "i1", "i2"]
    assert "P > 3 x base" in out
    assert "Tue 2026-11-03" in rows[0]
    assert "Singles' Day 2026" in rows[0]


def test_surges_as_json(ask_json, planner):
    answer = ask_json("surges", "--by", "location")
    assert list(planner.requests[0].group_by) == ["location"]
    assert len(answer["surges"]) == 5
    assert answer["surges"][0]["location"] == "v0"
    assert answer["surges"][0]["driver_kind"] == "double-11"
    assert answer["surges"][1]["driver"] is None
    assert answer["snapshot"] == "snap-1"


@pytest.mark.parametrize("by", [[], ["--by", "location"]], ids=["series", "groups"])
def test_surges_draw_a_picture(ask, tmp_path, by):
    picture = tmp_path / "surges.png"
    ask("surges", *by, "--png", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_of_surges_names_what_when_why_and_how_much(address, tmp_path):
    with Client(address) as client:
        surges = list(client.surges())
    save_surges(surges, "demand above 2 x base", tmp_path / "surges.svg")  # which says its texts in comments
    texts = re.findall("<!-- (.*) -->", (tmp_path / "surges.svg").read_text())
    assert {"i0 · L · P", "i4 · L · P", "+100", "+96", "no event", "Singles' Day 2026"} <= set(texts)
    assert "Singles' Day 2026 · Tue 2026-11-03 · peak 30 (15 x base) · 90%" in texts
    assert "demand above 2 x base     origin 2026-11-01, model 3, snapshot snap-1" in texts


def test_what_if_asks_for_the_changes_named(ask, planner):
    out = ask(
        "what-if", *KEY, "--multiply", "discount=0.8", "--set", "price=3.5@2026-11-09..2026-11-11",
        "--set", "promotion=1@2026-11-03", "--move", "double-11=+2", "--strength", "double-11=1.5",
    )  # fmt: skip
    price, promotion, discount, move, strength = planner.requests[0].changes
    assert (price.feature.name, price.feature.set) == ("price", 3.5)
    assert price.feature.range.start_seconds == seconds("2026-11-09")
    assert price.feature.range.end_seconds == seconds("2026-11-12")
    assert promotion.feature.range.end_seconds == seconds("2026-11-04")
    assert (discount.feature.multiply, discount.feature.HasField("range")) == (0.8, False)
    assert (move.event.kind, move.event.move_days) == ("double-11", 2)
    assert not move.event.HasField("multiply_intensity")
    assert strength.event.multiply_intensity == 1.5
    assert "in all: 15 units as things are, 27 changed, +12 (+80.0%)" in out
    assert "○ median as things are" in out


def test_what_if_as_json_and_as_a_picture(ask_json, tmp_path):
    picture = tmp_path / "changed.png"
    answer = ask_json("what-if", *KEY, "--move", "double-11=-1", "--png", picture)
    assert answer["baseline"]["mean"] == [4.0, 5.0, 6.0]
    assert answer["difference"] == [4.0, 4.0, 4.0]
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_new_series_sends_labels_and_plans(ask, planner, tmp_path):
    out = ask(
        "new-series", *KEY, "--label", "category=food", "--label", "brand=A=B", "--plan", "price=4.5",
        "--plan", "discount=0,0.1,0", "--png", tmp_path / "new.png",
    )  # fmt: skip
    (request,) = planner.requests
    assert dict(request.labels) == {"category": "food", "brand": "A=B"}
    plan = {feature.name: list(feature.values) for feature in request.features}
    assert plan == {"price": [4.5], "discount": pytest.approx([0, 0.1, 0])}
    assert "history: none" in out
    assert (tmp_path / "new.png").read_bytes().startswith(b"\x89PNG")


def test_export_writes_a_file(ask, ask_json, planner, tmp_path):
    path = tmp_path / "all.parquet"
    out = ask("export", path, "--levels", "0.1,0.5,0.9", "--location", "L")
    assert out == f"1,000 rows: {path}\n"
    assert list(planner.requests[0].levels) == [0.1, 0.5, 0.9]
    assert pl.read_parquet(path).columns[-3:] == ["q0.1", "q0.5", "q0.9"]
    assert ask_json("export", tmp_path / "all.csv")["rows"] == 1_000


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        (["aggregate", "--period", "month"], 2, "--period: expected one of day, week, total, found 'month'"),
        (["aggregate", "--where", "food"], 2, "--where: expected LABEL=VALUE, found 'food'"),
        (["aggregate", "--from", "2026-11-04", "--to", "2026-11-02"], 2, "expected 2026-11-04 or later"),
        (["aggregate", "--png", "groups.pdf"], 2, "ending in .png"),
        (["surges", "--probability", "1.5"], 2, "--probability"),
        (["surges", "--png", "surges.jpg"], 2, "ending in .png"),
        (["what-if", *KEY], 2, "expected --set, --multiply, --move or --strength, found none"),
        (["what-if", *KEY, "--set", "price"], 2, "--set: expected NAME=VALUE[@DAY[..DAY]], found 'price'"),
        (["what-if", *KEY, "--set", "price=cheap"], 2, "--set: expected a number, found 'cheap'"),
        (["what-if", *KEY, "--set", "price=nan"], 2, "--set: expected a number, found 'nan'"),
        (["what-if", *KEY, "--set", "price=1@soon"], 2, "expected a day such as 2026-11-09, found 'soon'"),
        (["what-if", *KEY, "--set", "price=1@2026-11-03..2026-11-02"], 2, "a last day from 2026-11-03 on"),
        (["what-if", *KEY, "--move", "double-11=0.5"], 2, "--move: expected -60..60 whole days, found '0.5'"),
        (["what-if", *KEY, "--move", "double-11=61"], 2, "--move: expected -60..60 whole days"),
        (["new-series", *KEY, "--plan", "price=1,,2"], 2, "--plan: expected a number, found ''"),
        (["export", "all.xlsx"], 1, "path: expected a name ending in one of .parquet"),
        (["export", "all.csv", "--levels", "half"], 2, "--levels: expected a number, found 'half'"),
    ],
)
def test_lines_that_make_no_sense_are_refused(planner, address, capsys, line, status, said):
    assert run([*line, "--address", address]) == status
    out, err = capsys.readouterr()
    assert (out, len(err.splitlines())) == ("", 1)
    assert said in err
    assert planner.requests == []


def test_a_sum_of_several_periods_names_the_first_and_the_last(ask):
    assert "2026-11-02 – 2026-11-04" in ask("aggregate", "--period", "total")


def test_one_object_is_printed(ask):
    for line in (["aggregate"], ["surges"], ["what-if", *KEY, "--move", "k=1"], ["new-series", *KEY]):
        assert isinstance(json.loads(ask(*line, "--json")), dict)
