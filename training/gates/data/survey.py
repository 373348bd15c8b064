"""What the data gate reads: demand by day and part of the business, in one pass over runs of series.

Days end with the last observed period, so that the last one is whole for hourly demand, too; of weekly demand
a day is a week here.

Letters: S series, B series at once, N labels of a dimension, P periods, D days, W days at their end that are
kept by label where there are many labels, U different sets of events, G groups of the event grid, E channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from forecast.data_gate_settings import DataGateSettings
from forecast.demand.panel import STEP, Panel, Period
from forecast.demand.panel_build import load_shards
from forecast.demand.shards import PanelShards
from forecast.home import Home
from training.gates.data.tally import Dimension, Tally

BLOCK: Final[dict[Period, int]] = {"hour": 24, "day": 1, "week": 1}
"""Periods of a day."""
SEASON: Final[dict[Period, int]] = {"hour": 7, "day": 7, "week": 1}
"""Days after which the same weekday comes again."""
DRIFT_WEEKS: Final = 4
"""Weeks whose distributions are compared with those of as many weeks before."""
AT_ONCE: Final = 1 << 27
"""Bytes of the dense arrays that are read at once."""
FEW: Final = 500
"""Labels of a dimension up to which the whole history is kept by label."""
MANY: Final = 20_000
"""Labels of a static feature from which it is no part of the business that a person would look at."""


@dataclass(frozen=True, kw_only=True)
class Windows:
    """judged: days at the end that are judged. usual: days before them that say what is usual. drift: days
    of either side of the comparison for drift, 0 where the history is too short."""

    judged: int
    usual: int
    drift: int
    season: int

    @property
    def width(self) -> int:
        """W."""
        return self.judged + self.usual


@dataclass(frozen=True, kw_only=True)
class Survey:
    """Demand by day, part and series.

    days_D: the day of each block's last period. units_P: all demand by period, for hourly demand.
    intensity_UDE, lift_UDE: the events on each day for a set of events; lift None where nothing is said.
    seen_W: series with demand. born_W: series that had demand on that day or before. stocked_W: mean share
    without stock of those seen, NaN where unknown.
    known_W: by feature, the share of born series that have it. ahead: by feature, the periods after the
    last observed that have it.
    series: keys, labels, and what `Tally.frame` says of each.
    """

    period: Period
    last: np.datetime64
    data_version: str
    windows: Windows
    days_D: NDArray[np.datetime64]
    units_P: NDArray[np.float64]
    channels: tuple[str, ...]
    like: Mapping[str, str]
    intensity_UDE: NDArray[np.float32]
    lift_UDE: NDArray[np.float32] | None
    dimensions: tuple[Dimension, ...]
    seen_W: NDArray[np.int64]
    born_W: NDArray[np.int64]
    stocked_W: NDArray[np.float64]
    known_W: Mapping[str, NDArray[np.float64]]
    ahead: Mapping[str, int]
    series: pl.DataFrame

    @property
    def all(self) -> Dimension:
        """All series as one."""
        return self.dimensions[0]

    def quiet_UD(self) -> NDArray[np.bool_]:
        """Days without any event."""
        quiet_UD: NDArray[np.bool_] = ~np.any(self.intensity_UDE > 0, axis=2)
        return quiet_UD

    def quiet_D(self) -> NDArray[np.bool_]:
        """Days without any event for any series."""
        quiet_D: NDArray[np.bool_] = np.all(self.quiet_UD(), axis=0)
        return quiet_D

    def calm_D(self) -> NDArray[np.bool_]:
        """Days that are not themselves an event's: the time around one may be."""
        peaks = [e for e, name in enumerate(self.channels) if name.endswith("/day")]
        calm_D: NDArray[np.bool_] = ~np.any(self.intensity_UDE[:, :, peaks] > 0, axis=(0, 2))
        return calm_D


def read_survey(
    home: Home, settings: DataGateSettings, period: Period, last: np.datetime64, cutoff: np.datetime64 | None
) -> Survey:
    """Read the last `history_days` up to the period `last`."""
    n_periods = settings.history_days * (np.timedelta64(1, "D") / STEP[period])
    since = last - (max(int(n_periods), 1) - 1) * STEP[period]
    return survey_of(load_shards(home, cutoff=cutoff, since=since, whole_bytes=AT_ONCE), settings)


def survey_of(shards: PanelShards, settings: DataGateSettings) -> Survey:
    """Count what the gate looks at."""
    outline = shards.outline
    block = BLOCK[outline.period]
    n_days = outline.n_periods // block
    lead = outline.n_periods - n_days * block  # a day at the beginning that is not whole
    windows = _windows(outline.period, n_days, settings)
    dimensions, groups_UG = _dimensions(outline, n_days, windows.width)
    tally = Tally.empty(outline, dimensions, windows, n_days, block)
    for rows, panel in shards:
        tally.count(rows, panel)
    intensity_GPE = outline.events.intensity_GLE[:, lead : outline.n_periods]
    lift_GLE = outline.events.lift_GLE
    lift_GPE = None if lift_GLE is None else lift_GLE[:, lead : outline.n_periods]
    return Survey(
        period=outline.period,
        last=outline.origin,
        data_version=outline.data_version,
        windows=windows,
        days_D=outline.times(lead, n_days * block)[block - 1 :: block].astype("datetime64[D]"),
        units_P=tally.units_P,
        channels=outline.events.names,
        like=outline.events.like,
        intensity_UDE=_strongest(intensity_GPE, groups_UG, block),
        lift_UDE=None if lift_GPE is None else _strongest(lift_GPE, groups_UG, block),
        dimensions=tuple(tally.dimensions),
        seen_W=tally.seen_W,
        born_W=tally.born_W,
        stocked_W=tally.stocked_W / np.where(tally.seen_W > 0, tally.seen_W, np.nan),
        known_W={
            name: v / np.where(tally.born_W > 0, tally.born_W, np.nan) for name, v in tally.known_W.items()
        },
        ahead=tally.ahead,
        series=tally.frame(outline),
    )


def _windows(period: Period, n_days: int, settings: DataGateSettings) -> Windows:
    season = SEASON[period]
    judged = min(settings.days, n_days)
    return Windows(
        judged=judged,
        usual=min(settings.reference_weeks * season, n_days - judged),
        drift=min(DRIFT_WEEKS * season, n_days // 2 // season * season),
        season=season,
    )


def _dimensions(outline: Panel, n_days: int, width: int) -> tuple[list[Dimension], NDArray[np.bool_]]:
    """The parts to look at, empty yet, and the groups of events that each set of events unites."""
    keys = outline.keys
    columns = {"all": np.full(len(keys), "all"), "platform": keys.platform, "location": keys.location}
    columns |= {name: labels for name, labels in outline.statics.items() if name not in columns}
    columns["item"] = keys.item
    dimensions: list[Dimension] = []
    sets: dict[bytes, int] = {}
    n_groups = len(outline.events.intensity_GLE)
    seen: list[NDArray[np.intp]] = []
    for name, column in columns.items():
        labels_N, code_S = np.unique(column, return_inverse=True)
        is_static = name in outline.statics
        one = name != "all" and len(labels_N) == 1
        if one or (is_static and len(labels_N) > MANY) or any(_same(code_S, other) for other in seen):
            continue
        seen.append(code_S)
        groups_NG = np.zeros((len(labels_N), n_groups), np.bool_)
        groups_NG[code_S, outline.events.group_S] = True
        set_N = np.array([sets.setdefault(row.tobytes(), len(sets)) for row in groups_NG], np.intp)
        kept = n_days if len(labels_N) <= FEW else width
        dimensions.append(Dimension.empty(name, labels_N, code_S, set_N, kept, width))
    groups_UG = np.array([np.frombuffer(row, np.bool_) for row in sets])
    return dimensions, groups_UG


def _same(one: NDArray[np.intp], other: NDArray[np.intp]) -> bool:
    """Whether two columns divide the series in the same way."""
    if one.max() != other.max():
        return False
    pairs = np.unique(one.astype(np.int64) * (int(other.max()) + 1) + other)
    return len(pairs) == int(one.max()) + 1


def _strongest(
    values_GPE: NDArray[np.float32], groups_UG: NDArray[np.bool_], block: int
) -> NDArray[np.float32]:
    """The largest value of each day, over its periods and the groups of a set; NaN where nothing is said."""
    g, p, e = values_GPE.shape
    by_day_GDE = np.fmax.reduce(values_GPE.reshape(g, p // block, block, e), axis=2)
    return np.stack([np.fmax.reduce(by_day_GDE[groups], axis=0) for groups in groups_UG])
