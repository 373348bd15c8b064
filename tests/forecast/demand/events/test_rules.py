"""Recurring events against days that anyone can look up."""

from __future__ import annotations

from datetime import date

import pytest

from forecast.demand.events.calendars import combine, occurrences
from forecast.demand.events.rules import Rule, anchor, easter, nth_weekday
from forecast.errors import InputError, UsageError
from forecast.home import Home


@pytest.mark.parametrize(
    ("text", "year", "day"),
    [
        ("11-11", 2025, date(2025, 11, 11)),
        ("02-29", 2024, date(2024, 2, 29)),
        ("02-29", 2025, None),
        ("lunar 01-01", 2024, date(2024, 2, 10)),
        ("lunar 01-01", 2025, date(2025, 1, 29)),
        ("lunar 01-01", 2026, date(2026, 2, 17)),
        ("lunar 08-15", 2025, date(2025, 10, 6)),
        ("lunar 05-05", 2025, date(2025, 5, 31)),
        ("lunar 07-07", 2025, date(2025, 8, 29)),
        ("lunar 08-30", 2025, None),
        ("4th thursday of november", 2025, date(2025, 11, 27)),
        ("last monday of may", 2026, date(2026, 5, 25)),
        ("5th monday of february", 2025, None),
        ("easter", 2025, date(2025, 4, 20)),
    ],
)
def test_the_day_of_a_rule(text: str, year: int, day: date | None) -> None:
    assert anchor(text, year) == day


@pytest.mark.parametrize(
    ("year", "month", "day"),
    [(1961, 4, 2), (2000, 4, 23), (2008, 3, 23), (2011, 4, 24), (2016, 3, 27), (2024, 3, 31), (2038, 4, 25)],
)
def test_easter(year: int, month: int, day: int) -> None:
    assert easter(year) == date(year, month, day)


def test_nth_weekday_against_counting() -> None:
    for month in range(1, 13):
        days = [date(2025, month, d) for d in range(1, 29)] + [
            date(2025, month, d)
            for d in (29, 30, 31)
            if d <= {2: 28, 4: 30, 6: 30, 9: 30, 11: 30}.get(month, 31)
        ]
        fridays = [day for day in days if day.weekday() == 4]
        assert nth_weekday(2025, month, 4, 2) == fridays[1]
        assert nth_weekday(2025, month, 4, -1) == fridays[-1]


@pytest.mark.parametrize("text", ["13-01", "11-32", "4th thurday of november", "lunar 1-1", "", "someday"])
def test_a_date_of_no_known_form_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="date"):
        Rule(name="x", kind="x", on=text)


def test_lunar_dates_end_with_the_tables() -> None:
    with pytest.raises(InputError, match="2099"):
        anchor("lunar 01-01", 2100)


def test_singles_day_has_its_phases() -> None:
    found = [e for e in occurrences("china", date(2025, 11, 1), date(2025, 11, 30)) if e.kind == "double-11"]
    assert [event.name for event in found] == ["Singles' Day 2025"]
    spans = {spell.name: (spell.start, spell.end) for spell in found[0].spells}
    assert spans == {
        "pre-sale": (date(2025, 10, 20), date(2025, 10, 31)),
        "warm-up": (date(2025, 11, 1), date(2025, 11, 10)),
        "day": (date(2025, 11, 11), date(2025, 11, 11)),
        "after": (date(2025, 11, 12), date(2025, 11, 18)),
    }


def test_an_occurrence_counts_when_any_phase_touches_the_span() -> None:
    kinds = {e.kind for e in occurrences("china", date(2025, 10, 20), date(2025, 10, 20))}
    assert kinds == {"double-11"}
    new_year = occurrences("us-retail", date(2024, 12, 30), date(2024, 12, 30))
    assert ("New Year's Day 2025", date(2025, 1, 1)) in [(e.name, e.start) for e in new_year]


def test_us_retail_days_of_2025() -> None:
    days = {e.kind: e.start for e in occurrences("us-retail", date(2025, 1, 2), date(2025, 12, 26))}
    assert days["super-bowl"] == date(2025, 2, 9)
    assert days["easter"] == date(2025, 4, 20)
    assert days["memorial-day"] == date(2025, 5, 26)
    assert days["labor-day"] == date(2025, 9, 1)
    assert days["thanksgiving"] == date(2025, 11, 27)
    assert days["black-friday"] == date(2025, 11, 28)
    assert days["cyber-monday"] == date(2025, 12, 1)
    earlier = {e.kind: e.start for e in occurrences("us-retail", date(2016, 2, 1), date(2016, 2, 28))}
    assert earlier["super-bowl"] == date(2016, 2, 7)


def test_public_holidays_join_days_of_one_name() -> None:
    found = occurrences("holidays:CN", date(2025, 1, 1), date(2025, 12, 31))
    spans = {event.kind: (event.start, event.end) for event in found}
    assert spans["cn-chinese-new-year-spring-festival"][0] == date(2025, 1, 29)
    assert spans["cn-chinese-new-year-spring-festival"][1] >= date(2025, 1, 31)
    bavaria = {event.kind for event in occurrences("holidays:DE-BY", date(2025, 1, 1), date(2025, 12, 31))}
    assert "de-by-epiphany" in bavaria


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("chian", "did you mean china"),
        ("holidays:ZZ", "ZZ"),
        ("holidays:US-QQ", "US-QQ"),
        ("moon", "us-retail"),
    ],
)
def test_an_unknown_calendar_is_refused(
    name: str, message: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with pytest.raises(UsageError, match=message):
        combine(Home(tmp_path_factory.mktemp("home")), [name], date(2025, 1, 1), date(2025, 2, 1))
