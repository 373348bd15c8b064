"""The panel: all series times all periods, dense, in plain numpy arrays, ready for a device.

Letters: S series, T observed periods, P periods with known features (P >= T), G groups of series that share a
calendar, L periods of the event grid (L >= P), E event channels. numpy only, so that training runs where
polars is not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from forecast.errors import InputError

Period = Literal["hour", "day", "week"]
STEP: dict[Period, np.timedelta64] = {
    "hour": np.timedelta64(3600, "s"),
    "day": np.timedelta64(86_400, "s"),
    "week": np.timedelta64(7 * 86_400, "s"),
}
SEASON: dict[Period, int] = {"hour": 24, "day": 7, "week": 52}
"""Periods after which the strongest short cycle repeats."""
LEAST_SEEN = 0.1
"""A smaller share of a period in stock tells no more than that demand was at least the sales."""
MAX_NAME = 200
"""Characters that the name of an item, location or platform may have."""

Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class SeriesKeys:
    """What a series is: item, location, platform; three string arrays of length S, row for row."""

    item: NDArray[np.str_]
    location: NDArray[np.str_]
    platform: NDArray[np.str_]

    def __len__(self) -> int:
        return len(self.item)

    def select(self, rows: NDArray[np.intp] | slice) -> SeriesKeys:
        """The keys of some rows; of a slice not copied."""
        return SeriesKeys(item=self.item[rows], location=self.location[rows], platform=self.platform[rows])


@dataclass(frozen=True, kw_only=True)
class EventGrid:
    """Events as numbers: `intensity_GLE[g, t, e]` is the strength (1 = plain, 0 = none) of channel e in
    period t.

    A channel is an event kind and a phase, named `kind/phase` (`double-11/day`, `double-11/pre-sale`). The
    grid reaches beyond the known periods so that the approach to an event just after the horizon is seen.

    Of kinds that a model has not seen: `like` names the kind that a kind resembles; `lift_GLE` is the
    expected multiple of ordinary demand by period, NaN where nothing is said, None where nowhere is.
    """

    names: tuple[str, ...]
    intensity_GLE: Floats
    group_S: NDArray[np.int32]
    like: Mapping[str, str] = field(default_factory=dict)
    lift_GLE: Floats | None = None


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Demand, masks and known features of S series.

    demand_ST: units per period, at least the sales; NaN where missing (never zero by default).
    stocked_out_ST: share of the period without stock, 0..1, or None when stock is not recorded.
    known: name -> (S, P) features known ahead (price, promotion ...); NaN where unknown.
    statics: name -> (S,) category labels of each series (department, city ...).
    start: first period, datetime64[s], UTC or local without zone, one convention per store.
    data_version: the version of the demand table it was read from, for the record.
    """

    period: Period
    start: np.datetime64
    keys: SeriesKeys
    demand_ST: Floats
    stocked_out_ST: Floats | None = None
    known: Mapping[str, Floats] = field(default_factory=dict)
    statics: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    events: EventGrid
    data_version: str = ""

    def __post_init__(self) -> None:
        s, t = self.demand_ST.shape
        if len(self.keys) != s:
            raise InputError("keys", expected=f"{s} series", found=str(len(self.keys)))
        for name, values in self.known.items():
            if values.shape[0] != s or values.shape[1] < t:
                raise InputError(f"known[{name}]", expected=f"({s}, >= {t})", found=str(values.shape))
        for name, labels in self.statics.items():
            if labels.shape != (s,):
                raise InputError(f"statics[{name}]", expected=f"({s},)", found=str(labels.shape))

    @property
    def n_series(self) -> int:
        """S."""
        return int(self.demand_ST.shape[0])

    @property
    def n_periods(self) -> int:
        """T, the number of observed periods."""
        return int(self.demand_ST.shape[1])

    @property
    def n_known(self) -> int:
        """P, the number of periods whose known features are there; L when there are none."""
        return min(
            (int(v.shape[1]) for v in self.known.values()), default=int(self.events.intensity_GLE.shape[1])
        )

    @property
    def no_history_S(self) -> NDArray[np.bool_]:
        """Which series have no demand at all: not one period that tells of it (`told_ST`).

        Such a series is known by its keys, labels and known features alone.
        """
        none_S: NDArray[np.bool_] = ~np.any(self.told_ST, axis=1)
        return none_S

    @property
    def told_ST(self) -> NDArray[np.bool_]:
        """Which periods tell of demand: observed, and in stock for `LEAST_SEEN` of it at least. Stock that is
        not known counts as in stock."""
        told_ST: NDArray[np.bool_] = np.isfinite(self.demand_ST)
        if self.stocked_out_ST is not None:
            told_ST &= ~(self.stocked_out_ST > 1 - LEAST_SEEN)
        return told_ST

    @property
    def origin(self) -> np.datetime64:
        """The last observed period."""
        return self.time(self.n_periods - 1)

    def time(self, index: int) -> np.datetime64:
        """The start of period `index`, which may lie beyond the panel."""
        return self.start + index * STEP[self.period]

    def times(self, first: int, n: int) -> NDArray[np.datetime64]:
        """The starts of n periods from index `first` on."""
        return self.start + np.arange(first, first + n) * STEP[self.period]

    def index(self, time: np.datetime64) -> int:
        """The index of the period that `time` falls into; negative or beyond T when outside."""
        return int((time.astype("datetime64[s]") - self.start) // STEP[self.period])

    def until(self, n_periods: int) -> Panel:
        """What was known when `n_periods` periods had been observed; later demand and stock are gone."""
        if not 1 <= n_periods <= self.n_periods:
            raise InputError("cutoff", expected=f"1..{self.n_periods} periods", found=str(n_periods))
        stock = None if self.stocked_out_ST is None else self.stocked_out_ST[:, :n_periods]
        return replace(self, demand_ST=self.demand_ST[:, :n_periods], stocked_out_ST=stock)

    def select(self, rows: NDArray[np.intp] | slice) -> Panel:
        """The panel of some series; of a slice nothing is copied."""
        return replace(
            self,
            keys=self.keys.select(rows),
            demand_ST=self.demand_ST[rows],
            stocked_out_ST=None if self.stocked_out_ST is None else self.stocked_out_ST[rows],
            known={k: v[rows] for k, v in self.known.items()},
            statics={k: v[rows] for k, v in self.statics.items()},
            events=replace(self.events, group_S=self.events.group_S[rows]),
        )
