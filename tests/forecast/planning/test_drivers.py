"""Which event drives a surge."""

from dataclasses import replace

import numpy as np
import pytest

from forecast.planning.drivers import drivers, members
from forecast.snapshot.format import EventSpan

TMALL, STORE = 0, 1
"""Rows of a series on each platform, and the groups of series that share their events."""


def span(name, first, last, *, groups=(0,), intensity=1.0, phase="day"):
    """An event that touches the periods `first` to `last` of the horizon."""
    origin = np.datetime64("2026-10-30", "s")
    day = np.timedelta64(86_400, "s")
    return EventSpan(
        name=name,
        kind=name.lower(),
        phase=phase,
        start=origin + (first + 1) * day,
        end=origin + (last + 2) * day,
        intensity=intensity,
        groups=groups,
    )


def driver(snapshot, spans, surging, rows=(TMALL,), first=0):
    assert snapshot.manifest.origin == np.datetime64("2026-10-30", "s")
    surge_S = np.full(len(snapshot.keys), -1)
    surge_S[list(rows)] = 0
    surging_Nh = np.isin(np.arange(first, 14), surging)[None]
    changed = replace(snapshot, spans=tuple(spans))
    (found,) = drivers(changed, surging_Nh, first, members(changed, surge_S))
    return found and found[0]


def test_the_event_of_most_surging_periods_drives(snapshot):
    spans = [span("Long", 0, 6), span("Day", 9, 9, intensity=9.0), span("Sale", 8, 10)]
    assert driver(snapshot, spans, [8, 9, 10]) == "Sale"
    assert driver(snapshot, spans, [5, 6, 9]) == "Long"
    assert driver(snapshot, spans, [12]) is None
    assert driver(snapshot, [], [12]) is None


def test_all_phases_of_an_event_count_together(snapshot):
    spans = [span("Double", 5, 6, phase="warm-up"), span("Double", 7, 7), span("Sale", 6, 7)]
    assert driver(snapshot, spans, [5, 6, 7]) == "Double"


def test_only_the_periods_asked_for_count(snapshot):
    spans = [span("Early", 0, 5), span("Late", 5, 6)]
    assert driver(snapshot, spans, [3, 4, 5, 6]) == "Early"
    assert driver(snapshot, spans, [5, 6], first=5) == "Late"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (span("B", 3, 4, intensity=2.0), span("A", 2, 4)),  # stronger
        (span("B", 2, 4), span("A", 3, 4)),  # earlier
        (span("A", 3, 4), span("B", 3, 4)),  # by name
    ],
)
def test_ties_are_decided_by_intensity_start_and_name(snapshot, one, other):
    for spans in ([one, other], [other, one]):
        assert driver(snapshot, spans, [3, 4]) == one.name


def test_an_event_of_others_drives_nothing(snapshot):
    spans = [span("Tmall", 3, 9, groups=(0,)), span("Shops", 9, 9, groups=(1,))]
    assert driver(snapshot, spans, [8, 9], rows=[STORE]) == "Shops"
    assert driver(snapshot, spans, [8], rows=[STORE]) is None


def test_in_a_group_each_series_counts(snapshot):
    spans = [span("Tmall", 3, 4, groups=(0,)), span("Shops", 3, 3, groups=(1,))]
    assert driver(snapshot, spans, [3, 4], rows=[0, 1]) == "Tmall"
    assert driver(snapshot, spans, [3, 4], rows=[0, 1, 3, 5]) == "Shops"
