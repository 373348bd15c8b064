"""What a calendar says of kinds that no model has seen: read, refused, borrowed, and put on the grid."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest

from forecast.cli.main import run
from forecast.demand.events.files import parse_csv, parse_toml, read_calendar, write_calendar
from forecast.demand.events.grid import event_grid
from forecast.demand.events.model import Event, Phase
from forecast.demand.panel import EventGrid, Period, SeriesKeys
from forecast.errors import InputError

KEYS = SeriesKeys(
    item=np.array(["a", "b"]), location=np.array(["x", "x"]), platform=np.array(["web", "shop"])
)
TOML = """
[[event]]
kind = "flash"
start = 2026-05-10
lift = 4
{prior}
[[event.phase]]
name = "warm-up"
start = 2026-05-05
end = 2026-05-06
intensity = 0.5
[[event.phase]]
name = "after"
start = 2026-05-11
lift = 0.8
[[event.phase]]
name = "pre-sale"
start = 2026-05-01
"""
CSV = """name,kind,start,end,phase,intensity,lift
F,flash,2026-05-10,,,,4
F,flash,2026-05-05,2026-05-06,warm-up,0.5,
F,flash,2026-05-11,,after,,0.8
F,flash,2026-05-01,,pre-sale,,
"""


def grid(events: list[Event], period: Period = "day", n: int = 60, start: str = "2026-04-20") -> EventGrid:
    return event_grid(events, KEYS, period, np.datetime64(start, "s"), n)


def lifts(of: EventGrid, series: int = 0) -> dict[str, float]:
    """What multiple each day of a daily grid from 2026-04-20 on has, where it is not 1."""
    assert of.lift_GLE is not None
    product_L = np.nanprod(of.lift_GLE[of.group_S[series]], axis=1)
    days = np.datetime64("2026-04-20") + np.arange(len(product_L))
    return {str(day): round(float(lift), 3) for day, lift in zip(days, product_L, strict=True) if lift != 1}


@pytest.mark.parametrize("form", ["toml", "csv"])
def test_a_lift_holds_on_the_days_and_phases_scale_it_by_their_intensity(form: str) -> None:
    calendar = parse_toml(TOML.format(prior=""), "x") if form == "toml" else parse_csv(CSV, "x")
    assert lifts(grid(list(calendar.events))) == {
        "2026-05-05": 2.0,
        "2026-05-06": 2.0,
        "2026-05-10": 4.0,
        "2026-05-11": 0.8,
    }


def test_lifts_come_back_from_a_written_calendar(tmp_path: Path) -> None:
    events = [
        *parse_toml(TOML.format(prior=""), "x").events,
        Event(name="N", kind="new", start=date(2026, 6, 1), end=date(2026, 6, 2), like="flash"),
    ]
    write_calendar(tmp_path / "c.toml", events)
    assert list(read_calendar(tmp_path / "c.toml").events) == events


def test_a_lift_touches_only_the_series_of_its_event() -> None:
    events = [
        Event(name="F", kind="f", start=date(2026, 5, 1), end=date(2026, 5, 1), platforms=("web",), lift=3.0)
    ]
    found = grid(events)
    assert lifts(found, 0) == {"2026-05-01": 3.0}
    assert lifts(found, 1) == {}


def test_a_day_lifts_its_hours_fully_and_its_week_in_part() -> None:
    events = [Event(name="F", kind="f", start=date(2026, 5, 6), end=date(2026, 5, 6), lift=8.0)]
    hours = grid(events, "hour", 48, "2026-05-05").lift_GLE
    week = grid(events, "week", 3, "2026-04-27").lift_GLE
    assert hours is not None
    assert week is not None
    np.testing.assert_array_equal(hours[0, :, 0], [np.nan] * 24 + [8.0] * 24)
    np.testing.assert_array_equal(week[0, :, 0], [np.nan, 2.0, np.nan])


def test_a_lift_of_one_is_given_and_none_is_not() -> None:
    """A multiple of 1 says that demand stays ordinary, which is more than nothing."""
    said = Event(name="F", kind="f", start=date(2026, 5, 1), end=date(2026, 5, 1), lift=1.0)
    silent = Event(name="G", kind="g", start=date(2026, 5, 2), end=date(2026, 5, 2))
    found = grid([said, silent])
    assert found.lift_GLE is not None
    given = {name: np.flatnonzero(np.isfinite(found.lift_GLE[0, :, e])) for e, name in enumerate(found.names)}
    assert {name: days.tolist() for name, days in given.items()} == {"f/day": [11], "g/day": []}


def test_an_event_like_another_borrows_its_phases_and_its_strength() -> None:
    big = Event(
        name="B25",
        kind="big",
        start=date(2026, 4, 25),
        end=date(2026, 4, 26),
        intensity=3.0,
        phases=(
            Phase(name="warm-up", start=date(2026, 4, 23), end=date(2026, 4, 24), intensity=0.5),
            Phase(name="after", start=date(2026, 4, 27), end=date(2026, 4, 28)),
        ),
    )
    new = Event(
        name="N", kind="new", start=date(2026, 5, 20), end=date(2026, 5, 22), like="big", intensity=0.5
    )
    found = grid([new, big])
    assert found.like == {"new": "big"}
    on = {
        name: np.flatnonzero(found.intensity_GLE[0, :, e]).tolist()
        for e, name in enumerate(found.names)
        if name.startswith("new/")
    }
    assert on == {"new/warm-up": [28, 29], "new/day": [30, 31, 32], "new/after": [33, 34]}
    strongest = {n: float(found.intensity_GLE[0, :, e].max()) for e, n in enumerate(found.names)}
    assert (strongest["new/day"], strongest["new/warm-up"]) == (1.5, 0.75)
    own = Phase(name="pre-sale", start=date(2026, 5, 1), end=date(2026, 5, 2))
    named = grid([Event(**{**vars(new), "phases": (own,)}), big]).names
    assert [name for name in named if name.startswith("new/")] == ["new/day", "new/pre-sale"]


def test_without_an_event_of_the_like_kind_nothing_is_borrowed() -> None:
    new = Event(name="N", kind="new", start=date(2026, 5, 20), end=date(2026, 5, 20), like="big")
    assert grid([new]).names == ("new/day",)


@pytest.mark.parametrize(
    ("second", "expected"),
    [({"like": "other"}, "'big' and 'other'"), ({"lift": 2.0}, "like 'big' and a lift")],
)
def test_events_of_a_kind_agree_on_what_it_is_like(second: dict[str, object], expected: str) -> None:
    days = {"name": "N", "kind": "new", "start": date(2026, 5, 20), "end": date(2026, 5, 20)}
    with pytest.raises(InputError, match=expected):
        grid([Event(**days, like="big"), Event(**days, **second)])


@pytest.mark.parametrize(
    ("prior", "parts"),
    [
        ('like = "big"', ("event 1: lift", "either like or lift", "both: like 'big', lift 4")),
        ("lift = 0", ("event 1: lift", "more than 0", "found 0")),
        ("lift = -2.5", ("event 1: lift", "more than 0", "found -2.5")),
        ("lift = inf", ("event 1: lift", "more than 0", "found inf")),
        ('lift = "much"', ("event 1: lift", "a number", "'much'")),
        ('like = ""', ("event 1: like", "a text", "''")),
        ('like = "flash"', ("event 1: like", "another kind", "'flash'")),
        ('like = "a/b"', ("event 1: like", "without /", "'a/b'")),
        ('like = "big"\n', ("event 1: lift", "either like or lift", "a lift of a phase")),
    ],
)
def test_a_wrong_prior_is_refused_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], prior: str, parts: tuple[str, ...]
) -> None:
    path = tmp_path / "bad.toml"
    keeps_lift = prior == 'like = "big"'
    path.write_text(TOML.replace("lift = 4\n", "lift = 4\n" if keeps_lift else "").format(prior=prior))
    assert run(["events", "add", str(path), "--home", str(tmp_path / "home")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}, line 2, event 1")
    for part in parts:
        assert part in error


@pytest.mark.parametrize(
    ("cells", "parts"),
    [
        ("a,,big,2", ("line 2: lift", "either like or lift", "both")),
        ("a,,,0", ("line 2: lift", "more than 0", "0.0")),
        ("a,,,x", ("line 2: lift", "a number", "'x'")),
        ("a,,a,", ("line 2: like", "another kind", "'a'")),
        ("a,,big,\nN,a,2026-02-03,after,,2", ("line 3: lift", "either like or lift")),
    ],
)
def test_a_wrong_prior_in_a_csv_is_refused_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cells: str, parts: tuple[str, ...]
) -> None:
    kind, rest = cells.split(",", 1)
    path = tmp_path / "bad.csv"
    path.write_text(f"name,kind,start,phase,like,lift\nN,{kind},2026-02-02,{rest}\n")
    assert run(["events", "add", str(path), "--home", str(tmp_path / "home")]) == 1
    error = capsys.readouterr().err
    for part in parts:
        assert part in error


def test_a_rule_may_have_a_prior_and_the_list_shows_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(
        '[[rule]]\nkind = "fair"\ndate = "05-01"\nlift = 2.5\n'
        '[[rule]]\nkind = "fete"\ndate = "06-01"\nlike = "fair"\n'
    )
    home = tmp_path / "home"
    assert run(["events", "add", str(path), "--home", str(home)]) == 0
    listing = ["events", "list", "--home", str(home), "--from", "2026-04-01", "--to", "2026-07-01"]
    capsys.readouterr()
    assert run([*listing, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["events"]
    assert [(event["kind"], event["like"], event["lift"]) for event in found] == [
        ("fair", None, 2.5),
        ("fete", "fair", None),
    ]
    assert run(listing) == 0
    shown = capsys.readouterr().out
    assert "× 2.5" in shown
    assert "like fair" in shown
