"""The plan of firings, a pure function: what is due when, and why."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forecast.demand.events.calendars import occurrences
from forecast.demand.events.model import Event
from forecast.schedule_settings import EventDensity, ScheduleSettings
from training.scheduling.plan import Firing, firings

SHANGHAI = ZoneInfo("Asia/Shanghai")
ZONES = ["UTC", "Asia/Shanghai", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana"]
SINGLES = ScheduleSettings(events={"double-11": EventDensity()})
DAY = timedelta(days=1)


def plan(
    wanted: ScheduleSettings,
    first: date,
    last: date,
    zone: ZoneInfo = SHANGHAI,
    events: list[Event] | None = None,
) -> tuple[Firing, ...]:
    """All firings of the days from first to last."""
    known = occurrences("china", first, last + 30 * DAY) if events is None else events
    start, end = (datetime.combine(day, time(), zone) for day in (first, last + DAY))
    return firings(wanted, zone, known, start, end)


def shown(found: tuple[Firing, ...], zone: ZoneInfo = SHANGHAI) -> list[str]:
    return [f"{one.at.astimezone(zone):%m-%d %H:%M} {one.action}: {one.why}" for one in found]


def test_weekly_daily_before_singles_day_and_hourly_on_it() -> None:
    found = shown(plan(SINGLES, date(2026, 10, 20), date(2026, 11, 20)))
    assert found[0] == "10-26 03:00 retrain: weekly"
    assert found[1] == "10-28 03:00 retrain: 14 days before Singles' Day 2026"
    assert "11-02 03:00 retrain: weekly + 9 days before Singles' Day 2026" in found
    assert found[14] == "11-10 03:00 retrain: 1 day before Singles' Day 2026"
    assert found[15:39] == [f"11-11 {h:02}:00 publish: hour {h} of Singles' Day 2026" for h in range(24)]
    assert found[39:] == ["11-16 03:00 retrain: weekly"]


def test_other_rhythms() -> None:
    daily = ScheduleSettings(every="day", at="23:30")
    assert shown(plan(daily, date(2026, 5, 1), date(2026, 5, 2))) == [
        "05-01 23:30 retrain: daily",
        "05-02 23:30 retrain: daily",
    ]
    by_cron = ScheduleSettings(cron="15 4 * * mon,thu", every="day")
    assert shown(plan(by_cron, date(2026, 5, 4), date(2026, 5, 8))) == [
        "05-04 04:15 retrain: cron 15 4 * * mon,thu",
        "05-07 04:15 retrain: cron 15 4 * * mon,thu",
    ]
    assert plan(ScheduleSettings(every="never"), date(2026, 5, 4), date(2026, 12, 8)) == ()


def test_half_hours_and_several_days() -> None:
    sale = Event(name="Sale", kind="sale", start=date(2026, 5, 1), end=date(2026, 5, 2))
    wanted = ScheduleSettings(every="never", events={"sale": EventDensity(days_before=1, on_day_every="30m")})
    found = shown(plan(wanted, date(2026, 4, 28), date(2026, 5, 5), events=[sale]))
    assert found[0] == "04-30 03:00 retrain: 1 day before Sale"
    assert found[1:3] == [
        "05-01 00:00 publish: hour 0 of Sale, day 1 of 2",
        "05-01 00:30 publish: hour 0:30 of Sale, day 1 of 2",
    ]
    assert found[-1] == "05-02 23:30 publish: hour 23:30 of Sale, day 2 of 2"
    assert len(found) == 1 + 96


def test_kinds_that_the_schedule_does_not_name_change_nothing() -> None:
    assert plan(SINGLES, date(2026, 6, 1), date(2026, 6, 30)) == plan(
        ScheduleSettings(), date(2026, 6, 1), date(2026, 6, 30)
    )


def test_no_forecasts_on_the_day_where_none_are_wanted() -> None:
    quiet = ScheduleSettings(
        every="never", events={"double-11": EventDensity(days_before=2, on_day_every="")}
    )
    assert [one.action for one in plan(quiet, date(2026, 10, 1), date(2026, 12, 1))] == ["retrain", "retrain"]


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", date(2026, 3, 8), 23),
        ("America/New_York", date(2026, 11, 1), 25),
        ("America/Havana", date(2026, 3, 8), 23),  # its midnight is skipped
        ("Asia/Shanghai", date(2026, 11, 11), 24),
    ],
)
def test_a_day_of_an_event_has_a_forecast_for_each_of_its_hours(zone: str, day: date, hours: int) -> None:
    event = Event(name="Sale", kind="sale", start=day, end=day)
    wanted = ScheduleSettings(every="never", events={"sale": EventDensity(days_before=0)})
    found = plan(wanted, day, day, ZoneInfo(zone), [event])
    assert [one.why for one in found] == [f"hour {h} of Sale" for h in range(hours)]
    assert {b.at - a.at for a, b in pairwise(found)} == {timedelta(hours=1)}


def test_the_wall_clock_is_kept_over_a_change_of_the_clocks() -> None:
    zone = ZoneInfo("Europe/Berlin")
    found = plan(ScheduleSettings(every="day", at="02:30"), date(2026, 3, 27), date(2026, 3, 31), zone)
    assert [f"{one.at:%d %H:%M}" for one in found] == [
        "27 01:30",
        "28 01:30",
        "29 01:30",  # 02:30 is skipped: 03:30 in summer time
        "30 00:30",
        "31 00:30",
    ]


def events() -> st.SearchStrategy[list[Event]]:
    day = st.dates(date(2026, 1, 1), date(2026, 12, 31))
    one = st.builds(
        lambda kind, start, days: Event(
            name=f"{kind} {start}", kind=kind, start=start, end=start + days * DAY
        ),
        st.sampled_from(["a", "b", "other"]),
        day,
        st.integers(0, 3),
    )
    return st.lists(one, max_size=4)


def schedules() -> st.SearchStrategy[ScheduleSettings]:
    density = st.builds(
        lambda days, step: EventDensity(days_before=days, on_day_every=step),
        st.integers(0, 20),
        st.sampled_from(["", "1h", "45m", "7h", "24h"]),
    )
    return st.builds(
        lambda every, weekday, hour, cron, a, b: ScheduleSettings(
            every=every, weekday=weekday, at=f"{hour:02}:30", cron=cron, events={"a": a, "b": b}
        ),
        st.sampled_from(["week", "day", "never"]),
        st.sampled_from(["monday", "sunday"]),
        st.integers(0, 23),
        st.sampled_from(["", "", "0 */5 * * *", "59 23 * * *", "0 0 1 * *"]),
        density,
        density,
    )


@settings(max_examples=80, deadline=None)
@given(
    schedules(),
    events(),
    st.sampled_from(ZONES),
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 1), timezones=st.just(UTC)),
    st.integers(0, 60 * 24 * 30),
    st.integers(0, 60 * 24 * 30),
)
def test_a_plan_is_in_order_within_its_span_and_the_sum_of_its_parts(
    wanted: ScheduleSettings, known: list[Event], zone: str, start: datetime, first: int, second: int
) -> None:
    place = ZoneInfo(zone)
    middle = start + timedelta(minutes=first)
    end = middle + timedelta(minutes=second)
    whole = firings(wanted, place, known, start, end)
    parts = firings(wanted, place, known, start, middle) + firings(wanted, place, known, middle, end)
    assert whole == parts
    assert [one.at for one in whole] == sorted(one.at for one in whole)
    assert all(start <= one.at < end for one in whole)
    assert max(Counter((one.at, one.action) for one in whole).values(), default=0) <= 1


@settings(max_examples=80, deadline=None)
@given(schedules(), events(), st.sampled_from(ZONES))
def test_each_day_before_an_event_has_a_retraining(
    wanted: ScheduleSettings, known: list[Event], zone: str
) -> None:
    place = ZoneInfo(zone)
    start, end = datetime(2025, 11, 1, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC)
    found = firings(wanted, place, known, start, end)
    days = {one.at.astimezone(place).date() for one in found if one.action == "retrain"}
    for event in known:
        if event.kind in wanted.events:
            for n in range(1, wanted.events[event.kind].days_before + 1):
                assert event.start - n * DAY in days
