"""Which series and periods are scored apart: segments, peaks, the days around events.

Everything but the peaks themselves is known at the origin. A peak is picked by the truth (there is no other
way to ask how well peaks are forecast), yet its threshold is set at the origin, so the choice knows no
forecast.

Letters: S series, H horizon, T history, E event channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import STEP, Floats, Panel
from forecast.evaluation.baselines import in_stock
from forecast.evaluation.metrics import Doubles, Mask

SEGMENTS: Final[tuple[str, ...]] = ("fast", "slow", "intermittent")
LONGEST_INTERVAL: Final[float] = 1.32
STEADY_SIZE: Final[float] = 0.49
PEAK_MULTIPLE: Final[float] = 3.0
DAY: Final[np.timedelta64] = np.timedelta64(86_400, "s")
BASE_DAYS: Final[int] = 56
AFTER_PEAK_DAYS: Final[int] = 14
AROUND_EVENT_DAYS: Final[int] = 7
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

    A series that usually sells nothing has no base that a peak could be a multiple of.
    """
    base_SW = np.sort(in_stock(panel, _periods(panel, BASE_DAYS)).astype(np.float64), axis=1)  # NaN last
    n_S1 = (~np.isnan(base_SW)).sum(axis=1, keepdims=True)
    middle = [np.take_along_axis(base_SW, np.maximum(n_S1 - 1 + i, 0) // 2, axis=1)[:, 0] for i in (0, 1)]
    median_S = (middle[0] + middle[1]) / 2
    return np.where(median_S > 0, PEAK_MULTIPLE * median_S, np.inf)


def peaks(truth_SH: Floats, panel: Panel) -> tuple[Mask, Mask]:
    """(S, H) periods above the threshold, and those at most two weeks after one that are no peaks themselves.

    Peaks in the last two weeks before the origin count for what comes after.
    """
    threshold_S1 = peak_threshold(panel)[:, None]
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
