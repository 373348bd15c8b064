"""Calendar files, through the command that adds them to a home."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.cli.main import run
from forecast.demand.events.calendars import load_events
from forecast.demand.events.files import parse_csv, parse_toml, read_calendar, write_calendar
from forecast.demand.events.model import PHASES, Event, Phase
from forecast.errors import InputError
from forecast.home import Home
from forecast.settings import load_settings

GOOD = """
[[event]]
kind = "double-11"
start = 2026-11-11
platforms = ["tmall", "tao*"]
intensity = 3

[[event.phase]]
name = "pre-sale"
start = 2026-10-20
end = 2026-10-31
intensity = 0.5

[[rule]]
kind = "harvest"
date = "last friday of september"
days = [0, 2]
phases = { after = [3, 4] }
since = 2020
"""
days = st.dates(date(2000, 1, 1), date(2040, 12, 31))
spans = st.tuples(days, days).map(sorted)
words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8).filter(
    lambda t: bool(t.strip())
)
strengths = st.floats(0, 100, allow_nan=False)
phases = st.builds(
    lambda name, span, intensity: Phase(name=name, start=span[0], end=span[1], intensity=intensity),
    st.sampled_from(PHASES), spans, strengths,
)  # fmt: skip
events = st.builds(
    lambda name, kind, span, where, intensity, around: Event(
        name=name, kind=kind.replace("/", "-"), start=span[0], end=span[1], platforms=tuple(where),
        locations=tuple(where[:1]), intensity=intensity, phases=tuple(around),
    ),
    words, words, spans, st.lists(words, max_size=2), strengths, st.lists(phases, max_size=3),
)  # fmt: skip


def test_a_toml_calendar_with_an_event_and_a_rule() -> None:
    calendar = parse_toml(GOOD, "x.toml")
    found = calendar.occurrences(date(2026, 9, 1), date(2026, 11, 30))
    assert [event.name for event in found] == ["harvest 2026", "double-11 2026"]
    assert found[1].platforms == ("tmall", "tao*")
    assert [(spell.name, spell.intensity) for spell in found[1].spells] == [("day", 3.0), ("pre-sale", 1.5)]
    assert calendar.occurrences(date(2019, 9, 1), date(2019, 9, 30)) == []


def test_a_csv_calendar_gathers_the_phases_of_an_event() -> None:
    text = (
        "name,kind,start,end,phase,platforms,intensity\n"
        "Feast 26,feast,2026-03-01,2026-03-02,,shop|web,2\n"
        "Feast 26,feast,2026-02-20,2026-02-28,warm-up,,0.5\n"
        ",feast,2027-03-01,,,,\n"
        ",feast,2028-03-01,,day,,\n"
    )
    found = parse_csv(text, "x.csv").events
    assert [(event.name, event.start) for event in found] == [
        ("Feast 26", date(2026, 3, 1)),
        ("feast 2027", date(2027, 3, 1)),
        ("feast 2028", date(2028, 3, 1)),
    ]
    assert found[0].platforms == ("shop", "web")
    assert found[0].phases == (
        Phase(name="warm-up", start=date(2026, 2, 20), end=date(2026, 2, 28), intensity=0.5),
    )


@given(st.lists(events, min_size=1, max_size=3))
def test_a_written_calendar_reads_back_equal(
    tmp_path_factory: pytest.TempPathFactory, written: list[Event]
) -> None:
    path = tmp_path_factory.mktemp("calendar") / "some.toml"
    write_calendar(path, written)
    assert list(read_calendar(path).events) == written
    assert [file.name for file in path.parent.iterdir()] == ["some.toml"]


def test_no_events_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one"):
        write_calendar(tmp_path / "none.toml", [])


BAD_TOML = [
    ('[[event]]\nkind = "a"\n', ("line 1, event 1: start", "YYYY-MM-DD", "nothing")),
    ('[[event]]\nkind = "a"\nstart = 2026-02-02\n\n[[event]]\nkind = "b"\n', ("line 5, event 2: start",)),
    (
        '[[event]]\nkind = "a"\nstart = 2026-02-02\nend = 2026-02-01\n',
        ("event 1: end", "2026-02-02 or later"),
    ),
    ('[[event]]\nkind = "a"\nstart = 2026-02-02\nintensity = nan\n', ("event 1: intensity", "nan")),
    ('[[event]]\nkind = "a"\nstart = 2026-02-02\nintensity = -1\n', ("event 1: intensity", "-1")),
    ('[[event]]\nkind = "a"\nstart = 2026-02-02\nintensity = "high"\n', ("event 1: intensity", "'high'")),
    ('[[event]]\nkind = "a/b"\nstart = 2026-02-02\n', ("event 1: kind", "without /")),
    ("[[event]]\nstart = 2026-02-02\n", ("event 1: kind", "a text", "nothing")),
    ('[[event]]\nkind = "a"\nstart = "02.02.2026"\n', ("event 1: start", "'02.02.2026'")),
    ('[[event]]\nkind = "a"\nstrat = 2026-02-02\n', ("event 1: strat", "did you mean start?")),
    ('[[event]]\nkind = "a"\nstart = 2026-02-02\nplatforms = [1]\n', ("event 1: platforms", "list of texts")),
    (
        '[[event]]\nkind = "a"\nstart = 2026-02-02\n[[event.phase]]\nname = "presale"\nstart = 2026-02-01\n',
        ("event 1, phase 1: phase", "pre-sale, warm-up, day, after", "'presale'"),
    ),
    ('[[rule]]\nkind = "a"\ndate = "11-31x"\n', ("rule 1: date", "MM-DD")),
    ('[[rule]]\nkind = "a"\ndate = "11-11"\ndays = [2, 1]\n', ("rule 1: day", "a last day of 2 or later")),
    ('[[rule]]\nkind = "a"\ndate = "11-11"\nphases = { afterwards = [1, 2] }\n', ("rule 1: phases",)),
    ('[[rule]]\nkind = "a"\ndate = "11-11"\nsince = "old"\n', ("rule 1: since", "a year")),
    ("[[event]\n", ("TOML", "line 1")),
    ("[event]\nx = 1\n", ("event", "[[event]]")),
    ("[[evnt]]\n", ("[[event]] and [[rule]]", "'evnt'")),
    ("", ("at least one entry",)),
]
BAD_CSV = [
    ("", ("a column 'kind'",)),
    ("kind,start\n", ("at least one row",)),
    ("kind,begin\na,2026-01-01\n", ("line 1", "a column 'start'")),
    ("kind,start,colour\na,2026-01-01,red\n", ("line 1", "'colour'")),
    ("kind,start\na,2026-13-01\n", ("line 2: start", "'2026-13-01'")),
    ("kind,start\na,2026-01-01\nb,\n", ("line 3: start", "nothing")),
    ("kind,start,end\na,2026-01-02,2026-01-01\n", ("line 2: end",)),
    ("kind,start,intensity\na,2026-01-02,NaN\n", ("line 2: intensity", "nan")),
    ("kind,start,intensity\na,2026-01-02,much\n", ("line 2: intensity", "'much'")),
    ("kind,start\na,2026-01-02,extra\n", ("line 2", "more or fewer")),
    ("kind,start,phase\na,2026-01-02,later\n", ("line 2: phase", "'later'")),
    ("name,kind,start,phase\nA,a,2026-01-02,after\n", ("line 2: phase", "same kind and name")),
]


@pytest.mark.parametrize(
    ("suffix", "text", "parts"),
    [(".toml", *case) for case in BAD_TOML] + [(".csv", *case) for case in BAD_CSV],
)
def test_a_bad_calendar_is_refused_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], suffix: str, text: str, parts: tuple[str, ...]
) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_text(text)
    assert run(["events", "add", str(path), "--home", str(tmp_path / "home")]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {path}")
    assert error.count("\n") == 1
    for part in parts:
        assert part in error
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", ["missing.toml", "calendar.xlsx"])
def test_a_file_that_is_no_calendar_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert run(["events", "add", str(tmp_path / name), "--home", str(tmp_path / "home")]) == 1
    assert name in capsys.readouterr().err


def test_an_added_calendar_is_listed_beside_those_of_the_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    listing = ["events", "list", "--home", str(home), "--from", "2026-09-01", "--to", "2026-12-31", "--json"]
    assert run(listing) == 0
    assert json.loads(capsys.readouterr().out)["events"] == []
    assert run(["events", "add", str(path), "--home", str(home)]) == 0
    assert run(["events", "add", str(path), "--home", str(home)]) == 1
    (home / "surgecast.toml").write_text('[events]\ncalendars = ["us-retail"]\n')
    capsys.readouterr()
    assert run(listing) == 0
    names = [event["name"] for event in json.loads(capsys.readouterr().out)["events"]]
    assert {"harvest 2026", "double-11 2026", "Black Friday 2026"} <= set(names)
    place = Home(home)
    loaded = load_events(place, load_settings(place), date(2026, 9, 1), date(2026, 12, 31))
    assert [event.name for event in loaded] == names


def test_the_list_is_a_table_and_refuses_a_span_that_ends_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["events", "list", "--home", str(tmp_path), "--calendar", "china"]
    assert run([*base, "--from", "2026-11-01", "--to", "2026-11-30"]) == 0
    assert "Singles' Day 2026" in capsys.readouterr().out
    assert run([*base, "--from", "2026-11-30", "--to", "2026-11-01"]) == 2
    assert run(["events", "list", "--home", str(tmp_path), "--calendar", "chna"]) == 2
    assert "did you mean china?" in capsys.readouterr().err
    assert run(["events", "calendars"]) == 0
    assert "us-retail" in capsys.readouterr().out
