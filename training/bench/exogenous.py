"""Columns known ahead, for libraries that take them period by period: calendar, events, known features, and
how the same days of the last year stood out.

Letters: S series, G groups of series, P periods, W window of periods, E event channels, C columns.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from forecast.demand.panel import Floats, Panel
from training.bench.frames import in_stock_demand

YEAR: Final = 364


def future_columns(panel: Panel, first: int, horizon: int) -> dict[str, Floats]:
    """Name -> (S or 1, W) columns known ahead, from period `first` to the end of the horizon."""
    last = panel.n_periods + horizon
    n = last - first
    columns = {f"calendar {i}": wave[None, :] for i, wave in enumerate(_calendar(panel, first, n))}
    intensity_GWE = panel.events.intensity_GLE[:, first:last]
    ahead_E = intensity_GWE[:, -horizon:].any(axis=(0, 1))
    for e in np.flatnonzero(ahead_E):
        columns[f"event {panel.events.names[e]}"] = intensity_GWE[panel.events.group_S, :, e]
    # Events that the horizon does not hold matter for learning what is ordinary only.
    others_GW = intensity_GWE[:, :, ~ahead_E].max(axis=2, initial=0.0)
    if others_GW.any():
        columns["other event"] = others_GW[panel.events.group_S]
    for name, values_SP in panel.known.items():
        columns |= _known_columns(name, values_SP[:, :last], first)
    columns["year ago"] = _year_ago(in_stock_demand(panel), first, last)
    return columns


def _calendar(panel: Panel, first: int, n: int) -> Floats:
    """(C, n) waves of the hour, the weekday, the day of the month and of the year."""
    times = panel.times(first, n)
    days = times.astype("datetime64[D]")
    phases = [
        ((days - days.astype("datetime64[Y]")).astype(np.float64) / 365.25, 2),
        ((days - days.astype("datetime64[M]")).astype(np.float64) / 31, 1),
    ]
    if panel.period != "week":
        phases.append(((days.astype(np.int64) + 3) % 7 / 7, 3))
    if panel.period == "hour":
        phases.append(((times - days).astype("timedelta64[h]").astype(np.float64) / 24, 4))
    angles = [2 * np.pi * k * phase for phase, n_waves in phases for k in range(1, n_waves + 1)]
    return np.stack([wave(angle) for angle in angles for wave in (np.sin, np.cos)]).astype(np.float32)


def _known_columns(name: str, values_SP: Floats, first: int) -> dict[str, Floats]:
    """A flag as it is; an amount over its own mean of the 13 weeks before."""
    present = values_SP[np.isfinite(values_SP)]
    if np.isin(np.unique(present[:100_000]), (0.0, 1.0)).all():
        return {name: np.nan_to_num(values_SP[:, first:])}
    ratio_SW = np.ones((len(values_SP), values_SP.shape[1] - first), np.float32)
    sums_SP = np.cumsum(np.nan_to_num(values_SP), axis=1, dtype=np.float64)
    n_SP = np.cumsum(np.isfinite(values_SP), axis=1)
    for t in range(max(first, 1), values_SP.shape[1]):
        back = max(t - 92, 0)
        sum_S = sums_SP[:, t - 1] - sums_SP[:, back]
        n_S = n_SP[:, t - 1] - n_SP[:, back]
        known_S = (sum_S > 0) & (n_S > 0) & np.isfinite(values_SP[:, t])
        np.divide(values_SP[:, t] * n_S, sum_S, out=ratio_SW[:, t - first], where=known_S, casting="unsafe")
    return {f"{name} over its past": np.clip(ratio_SW, 0.0, 3.0)}


def _year_ago(demand_ST: Floats, first: int, last: int) -> Floats:
    """(S, W) the week around the same day a year before over the four weeks before that; 1 where unknown."""
    n_series, n_periods = demand_ST.shape
    zero = np.zeros((n_series, 1))
    sums_ST = np.concatenate([zero, np.cumsum(np.nan_to_num(demand_ST), axis=1, dtype=np.float64)], axis=1)
    ratio_SW = np.ones((n_series, last - first), np.float32)
    for t in range(first, last):
        day = t - YEAR
        if day - 31 < 0 or day + 4 > n_periods:
            continue
        around_S = (sums_ST[:, day + 4] - sums_ST[:, day - 3]) / 7
        before_S = (sums_ST[:, day - 3] - sums_ST[:, day - 31]) / 28
        ratio_SW[:, t - first] = np.divide(around_S, before_S, out=np.ones(n_series), where=before_S > 0)
    return np.clip(ratio_SW, 0.0, 5.0)
