from __future__ import annotations

from datetime import date, timedelta
from fnmatch import fnmatchcase

import numpy as np
import pytest

from forecast.demand.events.calendars import occurrences
from forecast.demand.events.grid import event_grid
from forecast.demand.events.model import Event, Phase
from forecast.demand.panel import STEP, Period, SeriesKeys

KEYS = SeriesKeys(
    item=np.array(["a", "b", "c", "d", "e"]),
    location=np.array(["north-1", "south-1", "north-2", "north-1", "south-1"]),
    platform=np.array(["web", "web", "shop", "shop", "web"]),
)
EVENTS = [
    Event(
        name="Feast",
        kind="feast",
        start=date(2025, 1, 10),
        end=date(2025, 1, 11),
        intensity=2.0,
        phases=(
            Phase(name="warm-up", start=date(2025, 1, 6), end=date(2025, 1, 9), intensity=0.5),
            Phase(name="day", start=date(2025, 1, 11), end=date(2025, 1, 12), intensity=2.0),
        ),
    ),
    Event(name="Sale", kind="sale", start=date(2025, 1, 8), end=date(2025, 1, 8), platforms=("we*",)),
    Event(name="Fair", kind="fair", start=date(2025, 1, 20), end=date(2025, 1, 20), locations=("north-*",)),
    Event(name="Far", kind="far", start=date(2026, 1, 20), end=date(2026, 1, 20)),
    Event(name="Nowhere", kind="nowhere", start=date(2025, 1, 8), end=date(2025, 1, 8), platforms=("none",)),
]


def plain(events: list[Event], names: tuple[str, ...], period: Period, start: date, n: int) -> np.ndarray:
    """The same grid, one number at a time: hours of a day are looked at for any overlap with a period."""
    grid = np.zeros((len(KEYS), n, len(names)), dtype=np.float32)
    step = STEP[period].astype("timedelta64[s]").astype(int)
    for s in range(len(KEYS)):
        for event in events:
            there = not event.platforms or any(fnmatchcase(KEYS.platform[s], p) for p in event.platforms)
            there &= not event.locations or any(fnmatchcase(KEYS.location[s], p) for p in event.locations)
            for spell in event.spells if there else ():
                channel = f"{event.kind}/{spell.name}"
                for t in range(n):
                    first, last = t * step // 86_400, ((t + 1) * step - 1) // 86_400
                    days = [start + timedelta(days=d) for d in range(first, last + 1)]
                    if any(spell.start <= day <= spell.end for day in days):
                        e = names.index(channel)
                        grid[s, t, e] = max(grid[s, t, e], spell.intensity)
    return grid


@pytest.mark.parametrize(("period", "n"), [("hour", 24 * 25), ("day", 40), ("week", 6)])
def test_the_grid_is_what_a_plain_loop_gives(period: Period, n: int) -> None:
    start = date(2025, 1, 1)
    grid = event_grid(EVENTS, KEYS, period, np.datetime64(start, "s"), n)
    assert grid.names == ("fair/day", "feast/day", "feast/warm-up", "sale/day")
    assert np.array_equal(grid.intensity_GLE[grid.group_S], plain(EVENTS, grid.names, period, start, n))
    assert grid.intensity_GLE.dtype == np.float32
    assert grid.group_S.dtype == np.int32


def test_series_that_the_same_events_touch_share_a_group() -> None:
    grid = event_grid(EVENTS, KEYS, "day", np.datetime64("2025-01-01", "s"), 40)
    assert grid.group_S[1] == grid.group_S[4]
    assert len(grid.intensity_GLE) == 3
    everywhere = event_grid(EVENTS[:1], KEYS, "day", np.datetime64("2025-01-01", "s"), 40)
    assert len(everywhere.intensity_GLE) == 1


def test_a_day_of_the_event_marks_its_week_and_its_hours() -> None:
    week = event_grid(EVENTS[:1], KEYS, "week", np.datetime64("2025-01-06", "s"), 2)
    assert week.intensity_GLE[0, :, week.names.index("feast/day")].tolist() == [4.0, 0.0]
    hours = event_grid(EVENTS[1:2], KEYS, "hour", np.datetime64("2025-01-07T12:00", "s"), 48)
    group = hours.group_S[0]
    assert hours.intensity_GLE[group, :, 0].nonzero()[0].tolist() == list(range(12, 36))


def test_no_events_and_no_series() -> None:
    none = event_grid([], KEYS, "day", np.datetime64("2025-01-01", "s"), 10)
    assert none.names == ()
    assert none.intensity_GLE.shape == (1, 10, 0)
    assert none.group_S.tolist() == [0] * 5
    empty = SeriesKeys(
        item=np.array([], dtype=str), location=np.array([], dtype=str), platform=np.array([], dtype=str)
    )
    assert event_grid(EVENTS, empty, "day", np.datetime64("2025-01-01", "s"), 10).group_S.shape == (0,)


def test_a_calendar_of_three_years_on_many_series() -> None:
    found = occurrences("china", date(2023, 1, 1), date(2025, 12, 31))
    n = 50_000
    keys = SeriesKeys(
        item=np.arange(n).astype(str),
        location=np.char.mod("shop-%d", np.arange(n) % 5_000),
        platform=np.array(["tmall", "jd"])[np.arange(n) % 2],
    )
    grid = event_grid(found, keys, "day", np.datetime64("2023-01-01", "s"), 1_096)
    assert grid.intensity_GLE.shape[:2] == (1, 1_096)
    day = grid.intensity_GLE[0, :, grid.names.index("double-11/day")]
    marked = np.datetime64("2023-01-01") + np.flatnonzero(day)
    assert [str(m) for m in marked] == ["2023-11-11", "2024-11-11", "2025-11-11"]
