"""Features that all series share: calendar waves, event channels, and which past period resembles which.

Letters: L periods of the event grid, G event groups, E event channels, F features. numpy, computed once per
panel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import STEP, Period

Floats = NDArray[np.float32]


def calendar_features(period: Period, start: np.datetime64, n: int, *, seasonal: bool = True) -> Floats:
    """(n, F): one-hot hour and weekday, Fourier waves of the month and the year, by what the period can
    show; the waves are 0 unless `seasonal`."""
    times = start + np.arange(n) * STEP[period]
    days = times.astype("datetime64[D]")
    day_of_year = (days - days.astype("datetime64[Y]")).astype(float) / 365.25
    columns = [_waves(day_of_year, 4 if period != "week" else 6) * seasonal]
    if period != "week":
        weekday = (days.astype(int) + 3) % 7
        columns.append(np.eye(7)[weekday])
        day_of_month = (days - days.astype("datetime64[M]")).astype(float) / 31
        columns.append(_waves(day_of_month, 3) * seasonal)
    if period == "hour":
        hour = (times - days).astype("timedelta64[h]").astype(int)
        columns.append(np.eye(24)[hour])
    return np.concatenate(columns, axis=1).astype(np.float32)


def cycle_columns(period: Period) -> NDArray[np.bool_]:
    """(F,) which columns of `calendar_features` tell the weekday or the hour; the others tell the season."""
    blocks = {"hour": (8, 7, 6, 24), "day": (8, 7, 6), "week": (12,)}[period]
    return np.concatenate([np.full(n, bool(place % 2)) for place, n in enumerate(blocks)])


def _waves(phase: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    angles = 2 * np.pi * phase[:, None] * np.arange(1, n + 1)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


class Moved(NamedTuple):
    """Events that stand at other days than they were given for: the runs of channel e that begin in period
    `first` or later stand `by_E[e]` periods later."""

    first: int
    by_E: NDArray[np.int64]


def analog_periods(
    events_GLE: Floats,
    *,
    least: int,
    year: int,
    reach: int,
    borrowed_GLE: Floats | None = None,
    moved: Moved | None = None,
) -> NDArray[np.int64]:
    """(G, L) index of the past period most like each period: the same place around the same event last time,
    else a year before.

    Always at least `least` periods before the period (`year` is no less), so that it and what is read around
    it have been observed at every origin that asks; -1 where the past does not reach. Where events overlap,
    the nearer one decides, then the stronger.

    borrowed_GLE: events of other kinds, at the channels of the kinds that they are like: the periods around
    one resemble those around the last event of that kind, at whatever time of the year it was.

    moved: events that were moved keep the one before them that they had where they stood.
    """
    n_groups, n, n_events = events_GLE.shape
    result = np.tile(np.arange(n) - year, (n_groups, 1))
    for g in range(n_groups):
        best = np.full(n, np.inf)
        for e in range(n_events):
            shift = (n, 0) if moved is None else (moved.first, int(moved.by_E[e]))
            _follow_event(events_GLE[g, :, e], result[g], best, (least, year, reach), shift)
            if borrowed_GLE is not None:
                _follow_like(events_GLE[g, :, e], borrowed_GLE[g, :, e], result[g], best, least, reach)
    result[result < 0] = -1
    return result


def _follow_event(
    strength_L: Floats,
    analog_L: NDArray[np.int64],
    best_L: NDArray[np.float64],
    spans: tuple[int, int, int],
    moved: tuple[int, int],
) -> None:
    """Point the periods around each occurrence to the same place around the one before (in place).

    spans: least, year and reach. moved: from which period on occurrences were moved, and by how much.
    """
    (least, year, reach), (moved_from, by) = spans, moved
    starts, ends = _runs(strength_L)
    for i in range(1, len(starts)):
        gap = starts[i] - starts[i - 1]
        given = gap - by if starts[i] >= moved_from else gap
        if gap < least or abs(given - year) > 0.15 * year:
            continue
        _point_back(strength_L, (starts[i], ends[i]), gap, analog_L, best_L, reach)


def _follow_like(
    own_L: Floats,
    borrowed_L: Floats,
    analog_L: NDArray[np.int64],
    best_L: NDArray[np.float64],
    least: int,
    reach: int,
) -> None:
    """Point the periods around each borrowing event to the same place around the last own one (in place)."""
    own, _ = _runs(own_L)
    for start, end in zip(*_runs(borrowed_L), strict=True):
        earlier = own[own <= start - least]
        if len(earlier):
            _point_back(borrowed_L, (start, end), start - earlier[-1], analog_L, best_L, reach)


def _runs(strength_L: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First periods of the runs in which a channel is on, and the periods after their last."""
    active = np.concatenate([[0], (strength_L > 0).astype(np.int8), [0]])
    return np.flatnonzero(np.diff(active) == 1), np.flatnonzero(np.diff(active) == -1)


def _point_back(
    strength_L: Floats,
    run: tuple[int, int],
    gap: int,
    analog_L: NDArray[np.int64],
    best_L: NDArray[np.float64],
    reach: int,
) -> None:
    """Point the periods around a run `gap` back, where no nearer or stronger event has pointed elsewhere."""
    start, end = run
    span = np.arange(max(start - reach, 0), min(end + reach, len(strength_L)))
    outside = np.maximum(np.maximum(start - span, span - end + 1), 0)
    distance = outside - 1e-3 * strength_L[start]
    nearer = distance < best_L[span]
    best_L[span[nearer]] = distance[nearer]
    analog_L[span[nearer]] = span[nearer] - gap
