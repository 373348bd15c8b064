"""Which series and periods are scored apart: segments, peaks, the days around events.

Everything but the peaks themselves is known at the origin. A peak is picked by the truth (there is no other
way to ask how well peaks are forecast), yet its threshold is set at the origin, so the choice knows no
forecast.

Letters: S series, H horizon, T history, E event channels.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import STEP, Floats, Panel
from forecast.errors import UsageError
from forecast.evaluation.baselines import in_stock
from forecast.evaluation.metrics import Doubles, Mask

SliceFunction = Callable[[Floats, Panel], Mapping[str, Mask]]
"""The truth after an origin and the panel that ends there -> name and (S, H) mask of what is scored apart."""

SEGMENTS: Final[tuple[str, ...]] = ("fast", "slow", "intermittent")
LONGEST_INTERVAL: Final[float] = 1.32
STEADY_SIZE: Final[float] = 0.49
PEAK_MULTIPLE: Final[float] = 3.0
DAY: Final[np.timedelta64] = np.timedelta64(86_400, "s")
BASE_DAYS: Final[int] = 56
AFTER_PEAK_DAYS: Final[int] = 14
AROUND_EVENT_DAYS: Final[int] = 7
AFTER_EVENT_DAYS: Final[int] = 14
"""Of a named event; `after event` of whatever event is a week, or in a full calendar no day would be left."""
SEGMENT_DAYS: Final[int] = 364


def slices(truth_SH: Floats, panel: Panel) -> Mapping[str, Mask]:
    """Name -> (S, H) mask of what is scored apart, for a panel that ends at the origin and the truth after
    it.

    `fast`, `slow`, `intermittent` (see `segments`); `peak`, `after peak` (two weeks after one) and `normal`
    (neither, and no event near); `event day`, `before event`, `after event` (a week); `event NAME` for each
    kind of event in any of its phases. Kinds that do not occur have no entry.
    """
    horizon = truth_SH.shape[1]
    segment_S = segments(panel)
    masks = {name: np.repeat(segment_S[:, None] == i, horizon, axis=1) for i, name in enumerate(SEGMENTS)}
    peak_SH, after_SH = peaks(truth_SH, panel)
    events = event_windows(panel, horizon)
    near_SH = np.logical_or.reduce([peak_SH, after_SH, *events.values()])
    return {**masks, "peak": peak_SH, "after peak": after_SH, "normal": ~near_SH, **events}


def slices_with_events(kinds: Sequence[str]) -> SliceFunction:
    """`slices` and, for each of these kinds of event, its days, the week before and the two weeks after."""

    def found(truth_SH: Floats, panel: Panel) -> Mapping[str, Mask]:
        windows = [named_windows(panel, kind, truth_SH.shape[1]) for kind in kinds]
        return {**slices(truth_SH, panel), **{name: mask for one in windows for name, mask in one.items()}}

    return found


def segments(panel: Panel) -> NDArray[np.intp]:
    """(S,) index into SEGMENTS, from the last year before the origin.

    By the mean interval between demands (ADI) and the squared coefficient of variation of their sizes (CV²),
    after Syntetos, Boylan and Croston (2005): `fast` sells in nearly every period (ADI < 1.32), `slow` seldom
    but in steady sizes (CV² < 0.49), `intermittent` seldom and unevenly, or hardly ever (fewer than two
    demands).
    """
    interval_S, variation_S = intervals(panel)
    seldom_S = ~(interval_S < LONGEST_INTERVAL)
    uneven_S = ~(variation_S < STEADY_SIZE)
    return np.where(seldom_S, np.where(uneven_S, 2, 1), 0)


def intervals(panel: Panel) -> tuple[Doubles, Doubles]:
    """(S,) ADI and (S,) CV² of the last year, in-stock periods only; NaN for series with fewer than
    two demands.
    """
    history_ST = in_stock(panel, min(panel.n_periods, _periods(panel, SEGMENT_DAYS))).astype(np.float64)
    sold_ST = history_ST > 0
    n_S = sold_ST.sum(axis=1)
    enough_S = n_S >= 2
    observed_S = (~np.isnan(history_ST)).sum(axis=1)
    divisor_S = np.maximum(n_S, 1)
    mean_S = np.sum(history_ST, axis=1, where=sold_ST) / divisor_S
    variance_S = np.sum((history_ST - mean_S[:, None]) ** 2, axis=1, where=sold_ST) / divisor_S
    interval_S = np.where(enough_S, observed_S / divisor_S, np.nan)
    return interval_S, np.where(enough_S, variance_S / np.maximum(mean_S, 1e-12) ** 2, np.nan)


def peak_threshold(panel: Panel) -> Doubles:
    """(S,) three times the median of the 8 weeks before the origin; infinite where that median is 0 or
    unknown.

    A series that usually sells nothing has no base that a peak could be a multiple of: three times 0 would
    make a peak of every single sale. See `broad_peak_threshold` for these.
    """
    median_S = _median(_base(panel))
    return np.where(median_S > 0, PEAK_MULTIPLE * median_S, np.inf)


def broad_peak_threshold(panel: Panel) -> Doubles:
    """(S,) three times the largest of median and mean of the 8 weeks before the origin and 1 unit.

    What a planner would call a peak of a series that seldom sells as well: more than 3 units at once, and
    more than three times what it sells on average. Infinite where nothing was observed.
    """
    base_SW = _base(panel)
    n_S = (~np.isnan(base_SW)).sum(axis=1)
    mean_S = np.nansum(base_SW, axis=1) / np.maximum(n_S, 1)
    largest_S = np.maximum(np.maximum(np.nan_to_num(_median(base_SW), nan=0.0), mean_S), 1.0)
    return np.where(n_S > 0, PEAK_MULTIPLE * largest_S, np.inf)


def _base(panel: Panel) -> Doubles:
    """(S, W) the 8 weeks before the origin, in stock."""
    return in_stock(panel, _periods(panel, BASE_DAYS)).astype(np.float64)


def _median(values_SW: Doubles) -> Doubles:
    """(S,) median of what is not NaN; NaN where nothing is."""
    sorted_SW = np.sort(values_SW, axis=1)  # NaN last
    n_S1 = (~np.isnan(sorted_SW)).sum(axis=1, keepdims=True)
    middle = [np.take_along_axis(sorted_SW, np.maximum(n_S1 - 1 + i, 0) // 2, axis=1)[:, 0] for i in (0, 1)]
    median_S: Doubles = (middle[0] + middle[1]) / 2
    return median_S


def peaks(truth_SH: Floats, panel: Panel) -> tuple[Mask, Mask]:
    """(S, H) periods above the threshold, and those at most two weeks after one that are no peaks themselves.

    Peaks in the last two weeks before the origin count for what comes after.
    """
    return peaks_over(truth_SH, panel, peak_threshold(panel))


def peaks_over(truth_SH: Floats, panel: Panel, threshold_S: Doubles) -> tuple[Mask, Mask]:
    """`peaks` with a threshold for each series."""
    threshold_S1 = threshold_S[:, None]
    peak_SH = truth_SH > threshold_S1
    n_after = _periods(panel, AFTER_PEAK_DAYS)
    recent_SX = np.concatenate([in_stock(panel, n_after) > threshold_S1, peak_SH], axis=1)
    after_SH = _within(recent_SX, n_after)[:, n_after:]
    return peak_SH, after_SH & ~peak_SH


def event_windows(panel: Panel, horizon: int) -> dict[str, Mask]:
    """Name -> (S, H): `event day`, `before event`, `after event` and `event KIND`, read off the
    panel's event grid.
    """
    n_around = _periods(panel, AROUND_EVENT_DAYS)
    first = panel.n_periods - n_around
    grid_GXE = _grid(panel, first, horizon + 2 * n_around)
    window = slice(n_around, n_around + horizon)
    kinds = [name.split("/")[0] for name in panel.events.names]
    is_day = np.array([name.endswith("/day") or "/" not in name for name in panel.events.names], dtype=bool)
    day_GX: Mask = np.logical_or.reduce(grid_GXE[:, :, is_day], axis=2)
    before_GX = _within(day_GX[:, ::-1], n_around)[:, ::-1]
    group_S = panel.events.group_S
    masks = {
        "event day": day_GX[:, window][group_S],
        "before event": (before_GX & ~day_GX)[:, window][group_S],
        "after event": (_within(day_GX, n_around) & ~day_GX)[:, window][group_S],
    }
    for kind in sorted(set(kinds)):
        channels = [i for i, name in enumerate(kinds) if name == kind]
        active_GH: Mask = np.logical_or.reduce(grid_GXE[:, window][:, :, channels], axis=2)
        masks[f"event {kind}"] = active_GH[group_S]
    return {name: mask for name, mask in masks.items() if mask.any()}


def occurrences(panel: Panel, kind: str) -> tuple[tuple[int, int], ...]:
    """First and last period of each stretch of an event's days, whatever series it touches, in order.

    Raises UsageError for a kind without any day in the panel's calendar.
    """
    days_GL = _days(panel, kind, 0, panel.events.intensity_GLE.shape[1])
    on = np.flatnonzero(days_GL.any(axis=0))
    if not len(on):
        known = sorted({name.split("/")[0] for name in panel.events.names})
        near = difflib.get_close_matches(kind, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"event: expected one of {', '.join(known) or 'none'}, found {kind!r}{hint}")
    runs = np.split(on, np.flatnonzero(np.diff(on) > 1) + 1)
    return tuple((int(run[0]), int(run[-1])) for run in runs)


def named_windows(panel: Panel, kind: str, horizon: int) -> dict[str, Mask]:
    """Name -> (S, H): `KIND day`, `week before KIND`, `two weeks after KIND`, for the series it touches.

    The days of the event are in none of the others. A window that holds nothing has no entry.
    """
    n_before, n_after = _periods(panel, AROUND_EVENT_DAYS), _periods(panel, AFTER_EVENT_DAYS)
    day_GX = _days(panel, kind, panel.n_periods - n_after, n_after + horizon + n_before)
    window = slice(n_after, n_after + horizon)
    before_GX = _within(day_GX[:, ::-1], n_before)[:, ::-1]
    group_S = panel.events.group_S
    masks = {
        f"{kind} day": day_GX[:, window][group_S],
        f"week before {kind}": (before_GX & ~day_GX)[:, window][group_S],
        f"two weeks after {kind}": (_within(day_GX, n_after) & ~day_GX)[:, window][group_S],
    }
    return {name: mask for name, mask in masks.items() if mask.any()}


def is_named_window(name: str) -> bool:
    """Whether a slice is one of `named_windows`."""
    starts = ("week before ", "two weeks after ")
    return name.startswith(starts) or (name.endswith(" day") and name != "event day")


def _days(panel: Panel, kind: str, first: int, n_periods: int) -> Mask:
    """(G, n) periods that hold a day of the event."""
    channels = [i for i, name in enumerate(panel.events.names) if name in (kind, f"{kind}/day")]
    days_GX: Mask = np.logical_or.reduce(_grid(panel, first, n_periods)[:, :, channels], axis=2)
    return days_GX


def _grid(panel: Panel, first: int, n_periods: int) -> NDArray[np.bool_]:
    """(G, n, E) which channels are on in periods first ..., none outside the grid."""
    grid_GLE = panel.events.intensity_GLE
    cut_GXE = np.zeros((grid_GLE.shape[0], n_periods, grid_GLE.shape[2]), dtype=bool)
    low, high = max(first, 0), min(first + n_periods, grid_GLE.shape[1])
    if high > low:
        cut_GXE[:, low - first : high - first] = grid_GLE[:, low:high] > 0
    return cut_GXE


def _within(marked_SX: Mask, n_periods: int) -> Mask:
    """Periods with a marked one among the `n_periods` before them."""
    total_SX = np.cumsum(marked_SX, axis=1, dtype=np.int64)
    padded_SX = np.pad(total_SX, ((0, 0), (n_periods + 1, 0)))
    result: Mask = padded_SX[:, n_periods:-1] > padded_SX[:, : -n_periods - 1]
    return result


def _periods(panel: Panel, days: int) -> int:
    """How many of the panel's periods `days` days are, at least one."""
    return max(1, int(days * DAY // STEP[panel.period]))
