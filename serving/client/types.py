"""What a client asks with and what it gets: frozen values with numpy arrays in them.

Letters: H forecast periods, N periods of history, T sums in time, Q quantile levels. Demand is in units,
times are on the installation's clock, without a zone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.errors import InputError
from forecast.forecasts import Floats

if TYPE_CHECKING:
    import polars as pl

Times = NDArray[np.datetime64]
Levels = NDArray[np.float64]
Moment = str | date | np.datetime64
"""A day, or a time without a zone, such as "2026-11-11" or "2026-11-11T08:00"."""
Order = Literal["snapshot", "surge", "volume"]
Span = Literal["period", "day", "week", "total"]


class Key(NamedTuple):
    """What a series is."""

    item: str
    location: str
    platform: str


@dataclass(frozen=True, kw_only=True)
class SeriesFilter:
    """Which series are meant: those that pass all conditions; what is empty is none.

    min_base: least recent ordinary demand, units per period. labels: for a static label, such as category,
    the value or values that pass.
    """

    item: str = ""
    location: str = ""
    platform: str = ""
    min_base: float = 0.0
    labels: Mapping[str, str | Sequence[str]] = field(default_factory=dict)


ALL = SeriesFilter()


@dataclass(frozen=True, kw_only=True)
class FeatureChange:
    """Another plan for a feature that is known ahead, such as a price: it is `set` to a value or
    `multiply`-ed by one, in the periods from `start` to just before `end` (None: of the horizon).
    """

    name: str
    set: float | None = None
    multiply: float | None = None
    start: Moment | None = None
    end: Moment | None = None

    def __post_init__(self) -> None:
        if (self.set is None) == (self.multiply is None):
            found = "neither" if self.set is None else "both"
            raise InputError(f"change of {self.name}", expected="one of set and multiply", found=found)


@dataclass(frozen=True, kw_only=True)
class EventChange:
    """Another date or strength of all events of a kind: moved by so many days, its strength multiplied; a
    strength of 0 takes it away.
    """

    kind: str
    move_days: int = 0
    multiply_intensity: float | None = None


Change = FeatureChange | EventChange


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Where an answer comes from. `step` is the length of a period."""

    model_version: str
    snapshot: str
    origin: np.datetime64
    step: np.timedelta64


@dataclass(frozen=True, kw_only=True)
class EventSpan:
    """A phase of an event, from `start` to just before `end`."""

    name: str
    kind: str
    phase: str
    start: np.datetime64
    end: np.datetime64
    intensity: float


def at_level(levels: Levels, quantiles: Floats, level: float) -> Floats:
    """The quantile at one of the levels (..., Q); InputError for a level that is not among them."""
    at = np.flatnonzero(np.isclose(levels, level))
    if not at.size:
        known = ", ".join(f"{known:g}" for known in levels)
        raise InputError("level", expected=f"one of {known}", found=f"{level:g}")
    result: Floats = quantiles[..., at[0]]
    return result


@dataclass(frozen=True, kw_only=True)
class SeriesForecast:
    """The forecast of one series: H periods, Q quantile levels, N periods of history; demand in units per
    period.

    times (H,) and history_times (N,) are the starts of the periods; mean (H,); quantiles (H, Q); history (N,)
    with NaN where missing. History and events are empty unless they were asked for. no_history: the series
    had no demand at all, and is forecast from what it is.
    """

    key: Key
    source: ModelFacts
    times: Times
    mean: Floats
    levels: Levels
    quantiles: Floats
    history_times: Times
    history: Floats
    events: tuple[EventSpan, ...]
    no_history: bool = False

    def quantile(self, level: float) -> Floats:
        """The quantile (H,) of one of the levels; InputError for a level that the forecast does not hold."""
        return at_level(self.levels, self.quantiles, level)

    def to_frame(self) -> pl.DataFrame:
        """A polars frame as `serving.client.to_frame` makes it: a row for each period."""
        from serving.client.frames import to_frame

        return to_frame([self])


@dataclass(frozen=True, kw_only=True)
class SeriesSummary:
    """A series and what is coming, in units; `base` is its recent ordinary demand per period. no_history: as
    of a `SeriesForecast`."""

    key: Key
    total: float
    base: float
    zero_share: float
    peak: float
    peak_ratio: float
    peak_time: np.datetime64
    no_history: bool = False


@dataclass(frozen=True, kw_only=True)
class GroupForecast:
    """The demand of a group of series together: mean (T,), quantiles (T, Q). values: one for each name that
    was grouped by.
    """

    values: tuple[str, ...]
    n_series: int
    mean: Floats
    quantiles: Floats


@dataclass(frozen=True, kw_only=True)
class AggregateForecast:
    """Sums of joint scenarios by group: T in time, each from `times` to just before `ends`, at Q levels."""

    source: ModelFacts
    by: tuple[str, ...]
    times: Times
    ends: Times
    levels: Levels
    groups: tuple[GroupForecast, ...]

    def quantile(self, group: GroupForecast, level: float) -> Floats:
        """The quantile (T,) of a group at one of the levels; InputError for a level that there is not."""
        return at_level(self.levels, group.quantiles, level)

    def to_frame(self) -> pl.DataFrame:
        """A polars frame with a row for each group and sum: the names grouped by, series, time, end, mean and
        a column for each level, such as q0.975.
        """
        from serving.client.frames import aggregate_frame

        return aggregate_frame(self)


@dataclass(frozen=True, kw_only=True)
class Surge:
    """A series (`key`) or a group (`values`) whose demand will probably exceed a multiple of its base.

    base: recent ordinary demand, units per period. extra: units expected beyond it in the surging periods
    `times`. peak_probability: of more than the multiple in the strongest period. driver, driver_kind: the
    event behind it, empty where there is none.
    """

    source: ModelFacts
    key: Key | None
    values: tuple[str, ...]
    n_series: int
    base: float
    extra: float
    times: Times
    peak_time: np.datetime64
    peak: float
    peak_probability: float
    driver: str
    driver_kind: str
    no_history: bool


@dataclass(frozen=True, kw_only=True)
class EventSummary:
    """A phase of an event and the number of series that it touches."""

    source: ModelFacts
    span: EventSpan
    n_series: int


@dataclass(frozen=True, kw_only=True)
class ScenarioForecast:
    """Two forecasts of a series by the live model: as things are, and with the changes."""

    baseline: SeriesForecast
    changed: SeriesForecast

    @property
    def source(self) -> ModelFacts:
        """Where both come from."""
        return self.changed.source


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export wrote."""

    source: ModelFacts
    path: Path
    n_rows: int


@dataclass(frozen=True, kw_only=True)
class ServingModel:
    """What serves. `created` is in UTC. `refused` says why a newer snapshot does not serve, and is empty when
    all is well.
    """

    source: ModelFacts
    bundle: str
    data_version: str
    created: np.datetime64
    horizon: int
    n_series: int
    n_scenarios: int
    n_history: int
    levels: Levels
    refused: str


@dataclass(frozen=True, kw_only=True)
class PublishedModel:
    """A snapshot that could serve, and the model that made it. `created` is in UTC."""

    snapshot: str
    model_version: str
    bundle: str
    created: np.datetime64
    origin: np.datetime64
    n_series: int
    serving: bool
