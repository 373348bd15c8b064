"""What a day of a part of the business usually brings: the same weekdays before it, and what the events of
the calendar did when they were there before.

Robust: medians, and median absolute deviations scaled to a standard deviation (Rousseeuw and Croux,
Alternatives to the median absolute deviation, JASA 88, 1993), on the scale of logarithms.

Letters: N labels, D days, J judged days, R reference days of one, U sets of events, E channels, H past days.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.gates.data.survey import Survey
from training.gates.data.tally import Dimension

Array = NDArray[np.float64]
LEAST_REFERENCE: Final = 3
"""Same weekdays that it takes to say what is usual."""
FLOOR: Final = 0.05
"""Standard deviation, relative, that demand has at least, whatever its last weeks say."""
OVERDISPERSION: Final = 2.0
"""Variance of small counts in multiples of their mean."""
UNSEEN: Final = 20.0
"""How many times the usual a day may have of whose event nothing is known."""
DOUBT: Final = 2.0
"""An event known from a planner's lift alone, or by other parts' response, may be off by this factor."""
CLOSED: Final = 0.1
"""An event that ever took demand below this share of the usual may close the business."""
RESTS: Final = 2
"""Days without any demand that make such days usual."""


@dataclass(frozen=True, kw_only=True)
class Usual:
    """What the judged days should be like.

    center_NJ: the median of the reference, NaN where it is too short. spread_NJ: relative standard deviation.
    low_NJ <= 1 <= high_NJ: multiples by which the day's events, as far as they are known, move demand; low_NJ
    is 0 where days without demand are usual.
    unseen_NJ: an event of which nothing is known. n_NJ: reference days.
    """

    center_NJ: Array
    spread_NJ: Array
    low_NJ: Array
    high_NJ: Array
    unseen_NJ: NDArray[np.bool_]
    n_NJ: NDArray[np.int64]


def usual(survey: Survey, dimension: Dimension, weeks: int) -> Usual:
    """What is usual on the judged days, by the `weeks` same weekdays before each."""
    n_days = len(survey.days_D)
    day_J = np.arange(n_days - survey.windows.judged, n_days)
    values_NJR, valid_NJR = _reference(survey, dimension, day_J, weeks)
    center_NJ = masked_median(values_NJR, valid_NJR)
    deviation_NJ = masked_median(np.abs(values_NJR - center_NJ[..., None]), valid_NJR)
    mean_NJ = np.maximum(center_NJ, 1.0)
    spread_NJ = np.sqrt(np.maximum(1.4826 * deviation_NJ / mean_NJ, FLOOR) ** 2 + OVERDISPERSION / mean_NJ)
    n_NJ = valid_NJR.sum(axis=2)
    low_NJ, high_NJ, unseen_NJ = _events(survey, dimension, weeks, day_J)
    low_NJ[_rests(survey, dimension)] = 0.0
    return Usual(
        center_NJ=np.where(n_NJ >= LEAST_REFERENCE, center_NJ, np.nan),
        spread_NJ=spread_NJ,
        low_NJ=low_NJ,
        high_NJ=high_NJ,
        unseen_NJ=unseen_NJ,
        n_NJ=n_NJ,
    )


def _rests(survey: Survey, dimension: Dimension) -> NDArray[np.bool_]:
    """(N,) which labels sell nothing on some days as a rule: on RESTS days at least of those usual, without
    events, on which others sold, and of weekdays on which they mostly sell."""
    j, season, width = survey.windows.judged, survey.windows.season, survey.windows.width
    units_ND = dimension.units_ND[:, -width:-j]
    zero_ND = units_ND == 0
    sold_ND = np.zeros_like(zero_ND)
    for weekday in range(season):
        same = slice(weekday, None, season)
        sold_ND[:, same] = zero_ND[:, same].mean(axis=1, keepdims=True) < 0.5
    open_D = (survey.all.units_ND[0, -width:-j] > 0) & survey.quiet_D()[-width:-j]
    rests_N: NDArray[np.bool_] = np.sum(zero_ND & sold_ND & open_D, axis=1) >= RESTS
    return rests_N


def _reference(
    survey: Survey, dimension: Dimension, day_H: NDArray[np.intp], weeks: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Demand on the same weekdays before each day, and which of them count: those that are there, without
    events if there are enough of those."""
    n_days, kept = len(survey.days_D), dimension.units_ND.shape[1]
    day_HR = day_H[:, None] - survey.windows.season * np.arange(1, weeks + 1)
    place_HR = day_HR - (n_days - kept)
    valid_NHR = np.broadcast_to(place_HR >= 0, (len(dimension.labels_N), *place_HR.shape))
    values_NHR = dimension.units_ND[:, np.maximum(place_HR, 0)]
    width = dimension.rows_NW.shape[1]
    recent_HR = day_HR - (n_days - width)
    rows_NHR = dimension.rows_NW[:, np.maximum(recent_HR, 0)] > 0
    valid_NHR = valid_NHR & (rows_NHR | (recent_HR < 0))
    quiet_NHR = valid_NHR & survey.quiet_UD()[dimension.set_N][:, np.maximum(day_HR, 0)]
    enough_NH = quiet_NHR.sum(axis=2) >= LEAST_REFERENCE
    return values_NHR, np.where(enough_NH[..., None], quiet_NHR, valid_NHR)


def masked_median(values: Array, valid: NDArray[np.bool_]) -> Array:
    """Medians along the last axis of the valid values; NaN where there are none."""
    ordered = np.sort(np.where(valid, values, np.inf), axis=-1)
    n = valid.sum(axis=-1)
    pair = [np.maximum(n - 1, 0) // 2, np.minimum(n // 2, np.maximum(n - 1, 0))]
    low, high = (np.take_along_axis(ordered, i[..., None], axis=-1)[..., 0] for i in pair)
    return np.where(n > 0, (low + high) / 2, np.nan)


def _events(
    survey: Survey, dimension: Dimension, weeks: int, day_J: NDArray[np.intp]
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """The multiples low_NJ and high_NJ, and unseen_NJ."""
    shape = (len(dimension.labels_N), len(day_J))
    low_NJ, high_NJ, unseen_NJ = np.ones(shape), np.ones(shape), np.zeros(shape, np.bool_)
    for u in np.unique(dimension.set_N).tolist():
        rows = np.flatnonzero(dimension.set_N == u)
        for j, day in enumerate(day_J):
            for e in np.flatnonzero(survey.intensity_UDE[u, day] > 0).tolist():
                multiples = _response(survey, dimension, weeks, rows, u, int(day), e)
                if multiples is None:
                    unseen_NJ[rows, j] = True
                    high_NJ[rows, j] = np.maximum(high_NJ[rows, j], UNSEEN)
                else:
                    low_NJ[rows, j] = np.minimum(low_NJ[rows, j], multiples[0])
                    high_NJ[rows, j] = np.maximum(high_NJ[rows, j], multiples[1])
    return low_NJ, high_NJ, unseen_NJ


def _response(
    survey: Survey,
    dimension: Dimension,
    weeks: int,
    rows: NDArray[np.intp],
    u: int,
    day: int,
    e: int,
) -> tuple[Array, Array] | None:
    """The lowest and highest multiple that channel `e` came with before, for the labels `rows`; None where
    nothing is known of it. An intensity beyond the former ones stretches them."""
    past = _occurrences(survey, u, e)
    if not len(past):
        lift = None if survey.lift_UDE is None else float(survey.lift_UDE[u, day, e])
        if lift is None or np.isnan(lift):
            return None
        one = np.ones(len(rows))
        return one * min(1.0, lift) / DOUBT, one * max(1.0, lift) * DOUBT
    known = past[:, 1].astype(np.intp)
    stretch_H = np.maximum(survey.intensity_UDE[u, day, e] / past[:, 0], 1.0)
    ratio_NH = _ratios(survey, dimension, weeks, known)[rows]
    whole_H = _ratios(survey, survey.all, weeks, known)[0]
    lacking_NH = ~np.isfinite(ratio_NH)
    ratio_NH = np.where(lacking_NH, np.where(np.isfinite(whole_H), whole_H, 1.0), ratio_NH)
    doubt_N = np.where(lacking_NH.any(axis=1), DOUBT, 1.0)
    high_N = np.max(1 + (ratio_NH - 1) * np.where(ratio_NH > 1, stretch_H, 1.0), axis=1)
    low_N = np.minimum(np.min(ratio_NH, axis=1), np.nanmin(whole_H, initial=1.0))
    return np.where(low_N < CLOSED, 0.0, low_N / doubt_N), high_N * doubt_N


def _occurrences(survey: Survey, u: int, e: int) -> Array:
    """(H, 2) intensity and day of the times that channel `e`, or the one that it is like, was on before the
    judged days, as far as there are weeks before to compare with."""
    kind, _, phase = survey.channels[e].partition("/")
    names = (survey.channels[e], f"{survey.like.get(kind, kind)}/{phase}")
    last = len(survey.days_D) - survey.windows.judged
    for name in names:
        if name in survey.channels:
            intensity_D = survey.intensity_UDE[u, :last, survey.channels.index(name)]
            days = np.flatnonzero(intensity_D > 0)
            days = days[days >= LEAST_REFERENCE * survey.windows.season]
            if len(days):
                return np.stack([intensity_D[days].astype(np.float64), days.astype(np.float64)], axis=1)
    return np.zeros((0, 2))


def _ratios(survey: Survey, dimension: Dimension, weeks: int, day_H: NDArray[np.intp]) -> Array:
    """(N, H) demand in multiples of the same weekdays before; NaN where little is usual or not kept."""
    place_H = day_H - (len(survey.days_D) - dimension.units_ND.shape[1])
    values_NHR, valid_NHR = _reference(survey, dimension, day_H, weeks)
    center_NH = masked_median(values_NHR, valid_NHR)
    told_NH = (valid_NHR.sum(axis=2) >= LEAST_REFERENCE) & (center_NH >= 10) & (place_H >= 0)
    units_NH = dimension.units_ND[:, np.maximum(place_H, 0)]
    return np.where(told_NH, (units_NH + 0.5) / (center_NH + 0.5), np.nan)
