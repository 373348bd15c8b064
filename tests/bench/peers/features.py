"""Features of a direct forecast: what is known at an origin about a day ahead of it, for gradient boosting.

Demand enters relative to the series' own recent level, so that series of all sizes share their trees. Of the
days after the origin only what is known ahead is read: calendar, events, prices and other known features.

Letters: S series, T history, P known periods, H horizon, G groups of series, N rows (pairs of series and
step), F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import SEASON, STEP, Floats, Panel
from training.bench.frames import in_stock_demand

Index = NDArray[np.intp]
WINDOWS: Final = (7, 14, 28, 56, 91, 182, 364)
WEEKS: Final = (4, 8, 13, 26)
LEVEL_WINDOWS: Final = (28, 91)
YEAR: Final = 364
EVENT_REACH: Final = 14
ALL: Final = slice(None)
LEAST_LEVEL: Final = 0.02
"""Units a day that a level is at least; a series that is out of sale keeps a little."""


@dataclass(frozen=True, kw_only=True)
class Rows:
    """values_NF: features (NaN: unknown). level_N: units a day that the demand features are relative to."""

    values_NF: Floats
    level_N: Floats


class _Past:
    """Running sums of (X, T) demand, NaN left out, for means over any window up to any day."""

    def __init__(self, demand_XT: NDArray[np.floating]) -> None:
        present_XT = np.isfinite(demand_XT)
        filled_XT = np.where(present_XT, demand_XT, 0.0)
        zero = np.zeros((len(demand_XT), 1))
        self.values_XT = demand_XT
        self.sum_XT = np.concatenate([zero, np.cumsum(filled_XT, axis=1, dtype=np.float64)], axis=1)
        self.n_XT = np.concatenate([zero, np.cumsum(present_XT, axis=1)], axis=1).astype(np.float32)

    def mean(self, first: int, last: int, chosen: Index | slice = ALL) -> Floats:
        """(X,) mean of periods first .. last - 1; NaN where none is there."""
        first, last = max(first, 0), max(last, 0)
        n_X = self.n_XT[chosen, last] - self.n_XT[chosen, first]
        sum_X = self.sum_XT[chosen, last] - self.sum_XT[chosen, first]
        return np.divide(sum_X, n_X, out=np.full(len(n_X), np.nan), where=n_X > 0).astype(np.float32)

    def at(self, period: int, chosen: Index | slice = ALL) -> Floats:
        """(X,) the value itself; NaN before the start."""
        if period < 0:
            return np.full(len(self.values_XT[chosen, 0]), np.nan, np.float32)
        return self.values_XT[chosen, period].astype(np.float32)


class FeatureBuilder:
    """Features of any origin of a panel. What a row holds depends on nothing observed after its origin."""

    def __init__(self, panel: Panel, horizon: int) -> None:
        self.panel = panel
        self.horizon = horizon
        self.demand_ST = in_stock_demand(panel)
        self._past = _Past(self.demand_ST)
        self._season = SEASON[panel.period]
        self._sold = _Past(np.where(np.isnan(self.demand_ST), np.nan, self.demand_ST > 0))
        self._square = _Past(self.demand_ST.astype(np.float64) ** 2)
        self._groups = {name: _codes(labels) for name, labels in _groupings(panel).items()}
        self._group_past = {name: _Past(_group_means(self.demand_ST, c)) for name, c in self._groups.items()}
        self._statics = {name: _codes(labels) for name, labels in panel.statics.items()}
        self._started_S = np.isfinite(self.demand_ST).argmax(axis=1)
        index_ST = np.where(self.demand_ST > 0, np.arange(panel.n_periods, dtype=np.int32), -1)
        self._last_sale_ST = np.maximum.accumulate(index_ST, axis=1)
        self._events = _event_features(panel)
        self._prices = {name: _Past(values) for name, values in panel.known.items()}

    @property
    def categorical(self) -> list[str]:
        """Features that are codes, not amounts."""
        return [*(f"static {name}" for name in self._statics), "event", "next event", "last event"]

    def names(self) -> list[str]:
        """Names of the F features."""
        one = np.zeros(1, np.intp)
        o = self.panel.n_periods
        level_S = self.level(o, one)
        return [*self._history(o, one, level_S), *self._of_step(o, o, one, level_S)]

    def rows(self, n_observed: int, steps: Mapping[int, Index]) -> Rows:
        """Features at the origin with `n_observed` periods behind it: series `steps[h]` at step h (1 .. H),
        one step under the other.
        """
        o = n_observed
        union = np.unique(np.concatenate(list(steps.values())))
        level_U = self.level(o, union)
        past_UF = np.stack(list(self._history(o, union, level_U).values()), axis=1)
        parts, levels = [], []
        for step, chosen in steps.items():
            place = np.searchsorted(union, chosen)
            columns = self._of_step(o, o + step - 1, chosen, level_U[place])
            parts.append(np.concatenate([past_UF[place], np.stack(list(columns.values()), axis=1)], axis=1))
            levels.append(level_U[place])
        return Rows(values_NF=np.concatenate(parts).astype(np.float32), level_N=np.concatenate(levels))

    def level(self, n_observed: int, chosen: Index | slice = ALL) -> Floats:
        """Mean of what the last 4 and 13 weeks of the chosen series sold a period, at least `LEAST_LEVEL`."""
        both = np.stack([self._past.mean(n_observed - w, n_observed, chosen) for w in LEVEL_WINDOWS])
        mean_N = np.nan_to_num(both).mean(axis=0)
        return np.maximum(mean_N, LEAST_LEVEL).astype(np.float32)

    def _history(self, o: int, chosen: Index, level_N: Floats) -> dict[str, Floats]:
        """The series up to the origin before period `o`."""
        past = self._past
        columns = {f"mean {w}": past.mean(o - w, o, chosen) / level_N for w in WINDOWS}
        columns |= {f"sold {w}": self._sold.mean(o - w, o, chosen) for w in (28, 91)}
        for w in (28, 91):
            square_N = self._square.mean(o - w, o, chosen)
            spread_N = np.sqrt(np.maximum(square_N - past.mean(o - w, o, chosen) ** 2, 0.0))
            columns[f"spread {w}"] = spread_N / level_N
        columns["log level"] = np.log(level_N)
        columns["since sale"] = (o - 1 - self._last_sale_ST[chosen, o - 1]).astype(np.float32)
        columns["since launch"] = np.maximum(o - self._started_S[chosen], 0).astype(np.float32)
        columns |= {f"lag {k}": past.at(o - k, chosen) / level_N for k in (1, 2, 3)}
        columns["year ago, level"] = past.mean(o - YEAR - 28, o - YEAR, chosen) / level_N
        columns |= {
            f"static {name}": codes_S[chosen].astype(np.float32) for name, codes_S in self._statics.items()
        }
        return columns

    def _of_step(self, o: int, t: int, chosen: Index, level_N: Floats) -> dict[str, Floats]:
        """Name -> (N,) features at the origin before period `o` that change with the period `t`."""
        day = self.panel.time(t).astype("datetime64[D]")
        calendar = {
            "step": t - o + 1,
            "weekday": (int(day.astype(int)) + 3) % 7,
            "day of month": int((day - day.astype("datetime64[M]")).astype(int)),
            "day of year": int((day - day.astype("datetime64[Y]")).astype(int)),
        }
        if self.panel.period == "hour":
            calendar["hour"] = int((self.panel.time(t) - day) // STEP["hour"])
        columns = {name: np.full(len(chosen), value, np.float32) for name, value in calendar.items()}
        group_N = self.panel.events.group_S[chosen]
        columns |= {name: values_GL[group_N, t] for name, values_GL in self._events.items()}
        columns |= self._aligned(o, t, chosen, level_N)
        columns |= self._of_groups(o, t, chosen)
        return columns | self._of_known(o, t, chosen)

    def _aligned(self, o: int, t: int, chosen: Index, level_N: Floats) -> dict[str, Floats]:
        """The same weekday (phase of the season) in the last weeks, and the same days of the last year."""
        season = self._season
        past = self._past
        back = t - season * (-(-(t - o + 1) // season))  # the latest period of this phase that is observed
        values = np.stack([past.at(back - season * k, chosen) for k in range(max(WEEKS))])
        columns = {f"week -{k + 1}": values[k] / level_N for k in range(4)}
        for n in WEEKS:
            columns[f"weekday mean {n}"] = _mean_of_present(values[:n]) / level_N
        columns["year ago"] = past.mean(t - YEAR - 3, min(t - YEAR + 4, o), chosen) / level_N
        return columns

    def _of_groups(self, o: int, t: int, chosen: Index) -> dict[str, Floats]:
        """How the series' groups (its item everywhere, its department in its store) go: trend, weekday, last
        year.
        """
        columns: dict[str, Floats] = {}
        season = self._season
        back = t - season * (-(-(t - o + 1) // season))
        for name, code_S in self._groups.items():
            past = self._group_past[name]
            level_G = np.maximum(past.mean(o - 28, o), 1e-6)
            phase_G = _mean_of_present(np.stack([past.at(back - season * k) for k in range(8)]))
            group = {
                "level": level_G,
                "last week": past.mean(o - 7, o) / level_G,
                "weekday": phase_G / np.maximum(past.mean(o - 56, o), 1e-6),
                "year ago": past.mean(t - YEAR - 3, min(t - YEAR + 4, o))
                / np.maximum(past.mean(o - YEAR - 28, o - YEAR), 1e-6),
            }
            columns |= {f"{name}: {part}": values_G[code_S[chosen]] for part, values_G in group.items()}
        return columns

    def _of_known(self, o: int, t: int, chosen: Index) -> dict[str, Floats]:
        """Known features of the period, as they are and over their own past."""
        columns: dict[str, Floats] = {}
        for name, past in self._prices.items():
            now_N = past.at(t, chosen)
            columns[name] = now_N
            for w in (28, 91, 364):
                mean_N = past.mean(o - w, o, chosen)
                columns[f"{name} over {w}"] = np.divide(
                    now_N, mean_N, out=np.full(len(now_N), np.nan, np.float32), where=mean_N > 0
                )
            columns[f"{name} week before"] = past.at(t - 7, chosen) - now_N
        return columns


def _groupings(panel: Panel) -> dict[str, NDArray[np.str_]]:
    """The item over all locations; the finest static within a location."""
    result = {"item": panel.keys.item}
    if panel.statics:
        sizes = {name: len(np.unique(labels)) for name, labels in panel.statics.items()}
        inner = [name for name in panel.statics if name not in ("store", "state", "city")]
        name = "dept" if "dept" in sizes else max(inner, key=sizes.__getitem__, default="")
        if name:
            location = np.char.add(panel.keys.location.astype(np.str_), "/")
            result["location and " + name] = np.char.add(location, panel.statics[name].astype(np.str_))
    result["location"] = panel.keys.location
    return result


def _codes(labels: NDArray[np.str_]) -> Index:
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def _group_means(demand_ST: Floats, code_S: Index) -> Floats:
    """(G, T) mean demand of the series of each group; NaN where all are missing."""
    order = np.argsort(code_S, kind="stable")
    starts = np.flatnonzero(np.diff(code_S[order], prepend=-1))
    parts = [_mean_of_present(demand_ST[rows]) for rows in np.split(order, starts[1:])]
    return np.stack(parts).astype(np.float32)


def _mean_of_present(values_XT: Floats) -> Floats:
    n_T = np.isfinite(values_XT).sum(axis=0)
    sum_T = np.nansum(values_XT, axis=0, dtype=np.float64)
    return np.divide(sum_T, n_T, out=np.full(n_T.shape, np.nan), where=n_T > 0).astype(np.float32)


def _event_features(panel: Panel) -> dict[str, Floats]:
    """Name -> (G, L): the event of each period (its channel, -1 none), the nearest before and after within
    two weeks, and how far they are.
    """
    intensity_GLE = panel.events.intensity_GLE
    n_groups, n, n_events = intensity_GLE.shape
    if not n_events:
        none = np.full((n_groups, n), -1.0, np.float32)
        return {"event": none, "next event": none, "last event": none, "until event": none, "since": none}
    on_GL = intensity_GLE.max(axis=2) > 0
    now_GL = np.where(on_GL, intensity_GLE.argmax(axis=2), -1).astype(np.float32)
    result = {"event": now_GL, "strength": intensity_GLE.max(axis=2).astype(np.float32)}
    for name, gap, sign in (("next event", "until event", 1), ("last event", "since", -1)):
        which_GL = np.full((n_groups, n), -1.0, np.float32)
        gap_GL = np.full((n_groups, n), EVENT_REACH + 1.0, np.float32)
        for k in range(EVENT_REACH, 0, -1):
            target = slice(0, n - k) if sign > 0 else slice(k, n)
            source = slice(k, n) if sign > 0 else slice(0, n - k)
            which_GL[:, target] = np.where(on_GL[:, source], now_GL[:, source], which_GL[:, target])
            gap_GL[:, target] = np.where(on_GL[:, source], k, gap_GL[:, target])
        result |= {name: which_GL, gap: gap_GL}
    return result
