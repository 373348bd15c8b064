"""Times as cron writes them, against a minute-by-minute reading of the same text."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.errors import UsageError
from training.scheduling.cron import parse_cron

SHANGHAI = ZoneInfo("Asia/Shanghai")
NEW_YORK = ZoneInfo("America/New_York")


def local(text: str, day: date, zone: ZoneInfo = SHANGHAI) -> list[str]:
    return [f"{at.astimezone(zone):%H:%M%z}" for at in parse_cron(text).moments(day, zone)]


@pytest.mark.parametrize(
    ("text", "day", "times"),
    [
        ("0 3 * * 1", date(2026, 11, 9), ["03:00+0800"]),  # 1 is Monday, as cron has it
        ("0 3 * * 0", date(2026, 11, 8), ["03:00+0800"]),
        ("0 3 * * 7", date(2026, 11, 8), ["03:00+0800"]),
        ("0 3 * * mon-fri", date(2026, 11, 8), []),
        ("30 6,18 11 nov *", date(2026, 11, 11), ["06:30+0800", "18:30+0800"]),
        ("0 3 1 * fri", date(2026, 5, 1), ["03:00+0800"]),
        ("0 3 13 * fri", date(2026, 5, 1), ["03:00+0800"]),  # day or weekday: either is enough
        ("0 3 13 * fri", date(2026, 5, 13), ["03:00+0800"]),
        ("0 3 13 * fri", date(2026, 5, 14), []),
        ("@monthly", date(2026, 5, 1), ["00:00+0800"]),
        ("0 22-23/1 * * *", date(2026, 5, 1), ["22:00+0800", "23:00+0800"]),
    ],
)
def test_what_people_write_means_what_cron_means(text: str, day: date, times: list[str]) -> None:
    assert local(text, day) == times


def test_a_time_that_the_clocks_skip_comes_an_hour_later_and_one_that_they_repeat_once() -> None:
    spring, autumn = date(2026, 3, 8), date(2026, 11, 1)
    assert local("30 2 * * *", spring, NEW_YORK) == ["03:30-0400"]
    assert local("30 1 * * *", autumn, NEW_YORK) == ["01:30-0400"]


def test_every_hour_is_every_hour_on_days_of_23_and_of_25() -> None:
    assert len(local("0 * * * *", date(2026, 3, 8), NEW_YORK)) == 23
    assert len(local("0 * * * *", date(2026, 11, 1), NEW_YORK)) == 25
    assert len(local("0 * * * *", date(2026, 4, 5), ZoneInfo("Australia/Lord_Howe"))) == 24


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 3 31 2 *", "found '0 3 31 2 *': day 31 of February, which has 29 at most"),
        ("0 3 31 feb,apr *", "day 31 of February, April, which has 30 at most"),
        ("0 3 * * mno", "weekday: expected 0..7, or sun, mon, tue, wed, thu, fri, sat, found 'mno'"),
        ("0 3 * * mno", "did you mean mon?"),
        ("0 3 * fbe *", "did you mean feb?"),
        ("0 24 * * *", "hour: expected 0..23, found '24'"),
        ("0 3 * *", "expected five fields (minute, hour, day, month, weekday) such as 0 3 * * mon, found 4"),
        ("0 3 5-2 * *", "day: expected 1..31, found '5-2'"),
        ("*/0 3 * * *", "minute: expected 0..59, found '*/0'"),
        ("@dialy", "did you mean @daily?"),
        ("0 3 L * *", "found 'l'"),
    ],
)
def test_what_never_comes_or_means_nothing_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=r"schedule\.cron") as caught:
        parse_cron(text)
    assert message in str(caught.value)


def test_a_leap_day_and_a_weekday_beside_an_impossible_day_do_come() -> None:
    assert local("0 3 29 2 *", date(2028, 2, 29)) == ["03:00+0800"]
    assert local("0 3 31 2 mon", date(2026, 2, 2)) == ["03:00+0800"]


def part(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(sorted).map(lambda pair: f"{pair[0]}-{pair[1]}")
    step = st.tuples(st.just("*") | span, st.integers(1, high)).map(lambda pair: f"{pair[0]}/{pair[1]}")
    one = number.map(str) | span | step
    return st.just("*") | st.lists(one, min_size=1, max_size=3).map(",".join)


def values(text: str, low: int, high: int) -> set[int]:
    """A plain reading of one field."""
    found: set[int] = set()
    for one in text.split(","):
        span, _, step = one.partition("/")
        first, _, last = span.partition("-")
        begin = low if first == "*" else int(first)
        end = high if first == "*" else int(last or first)
        found |= {value for value in range(begin, end + 1) if (value - begin) % int(step or 1) == 0}
    return found


@settings(max_examples=60, deadline=None)
@given(
    part(0, 59),
    part(0, 23),
    part(1, 28),
    part(1, 12),
    part(0, 6),
    st.dates(date(2020, 1, 1), date(2035, 1, 1)),
)
def test_like_a_reading_of_each_minute(
    minute: str, hour: str, day: str, month: str, weekday: str, first: date
) -> None:
    found = list(parse_cron(" ".join((minute, hour, day, month, weekday))).moments(first, SHANGHAI))
    midnight = datetime(first.year, first.month, first.day, tzinfo=SHANGHAI)
    every = [midnight + timedelta(minutes=n) for n in range(1440)]
    by_day, by_weekday = first.day in values(day, 1, 31), first.isoweekday() % 7 in values(weekday, 0, 6)
    free_day, free_weekday = len(values(day, 1, 31)) == 31, weekday == "*"
    comes = (
        (by_weekday if free_day else by_day if free_weekday else by_day or by_weekday)
        if not (free_day and free_weekday)
        else True
    )
    wanted = [
        at
        for at in every
        if comes
        and first.month in values(month, 1, 12)
        and at.minute in values(minute, 0, 59)
        and at.hour in values(hour, 0, 23)
    ]
    assert found == [at.astimezone(UTC) for at in wanted]
