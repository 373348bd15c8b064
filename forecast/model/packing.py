"""A panel's rows in few bytes, some series at a time, and the sums over all series that rows cannot tell.

No array of a panel's size in full precision is made here. Sums are added up series after series, so that it
makes no difference in which runs a panel comes.

Letters: S series, T observed periods, P periods with known features, G groups of series, U unions (groups of
series whose total is a feature), F features, B series of a block.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.demand.panel import Panel
from forecast.model.config import ModelConfig
from forecast.model.past import (
    WHOLE,
    PackedPast,
    half_units,
    pack_half,
    pack_shares,
    running_sum,
    seen_before,
)
from forecast.model.schema import FeatureSchema
from forecast.model.stockouts import seen_demand

SPIKE_MEAN = 8.0
SPIKE_SIZE = 4.0
"""How often the trailing mean, and the mean size of a sale, a period may count for in a level."""
ROWS: Final = 1024
"""Series packed at once."""


class PackedRows(NamedTuple):
    """What a model reads of each series of a panel, on the processor.

    known_SPF: float16, standardised known-future features.
    """

    past: PackedPast
    known_SPF: Tensor


class Totals:
    """Sums over the series of each group and union, which `add` takes in.

    group_sum_GT, group_count_GT, union_sum_UT: float64; level, what was seen, and sales.
    """

    def __init__(self, groups_SG: NDArray[np.int64], unions_S2: NDArray[np.int64], n_periods: int) -> None:
        self._groups, self._unions = torch.from_numpy(groups_SG), torch.from_numpy(unions_S2)
        self.group_sum_GT = torch.zeros(int(groups_SG.max()) + 1, n_periods, dtype=torch.float64)
        self.group_count_GT = torch.zeros_like(self.group_sum_GT)
        self.union_sum_UT = torch.zeros(int(unions_S2.max()) + 1, n_periods, dtype=torch.float64)

    def add(self, first: int, past: PackedPast) -> None:
        """The series from number `first` on."""
        for block in _blocks(len(past.unit_S)):
            rows = slice(first + block.start, first + block.stop)
            share_BT = past.observed_ST[block] / WHOLE
            level_BT = past.level_ST[block] * past.unit_S[block, None]
            sales_BT = past.demand_ST[block] * past.unit_S[block, None] * share_BT
            for total, values_BT in ((self.group_sum_GT, level_BT), (self.group_count_GT, share_BT)):
                for g in range(self._groups.shape[1]):
                    total.index_add_(0, self._groups[rows, g], values_BT.double())
            for u in range(self._unions.shape[1]):
                self.union_sum_UT.index_add_(0, self._unions[rows, u], sales_BT.double())


def pack_past(panel: Panel, config: ModelConfig) -> PackedPast:
    """What was observed of a panel's series."""
    s, t = panel.n_series, panel.n_periods
    past = PackedPast(
        demand_ST=torch.empty(s, t, dtype=torch.float16),
        level_ST=torch.empty(s, t, dtype=torch.float16),
        observed_ST=torch.empty(s, t, dtype=torch.uint8),
        stocked_out_ST=None if panel.stocked_out_ST is None else torch.empty(s, t, dtype=torch.uint8),
        unit_S=torch.empty(s),
        seen_SC=torch.empty(0),
    )
    for rows in _blocks(s):
        _pack(rows, panel.select(rows), config, past)
    return past._replace(seen_SC=seen_before(past.observed_ST))


def pack_known(panel: Panel, schema: FeatureSchema, horizon: int) -> Tensor:
    """(S, T + horizon, F) float16, the known features of a panel's series, standardised."""
    shape = (panel.n_series, panel.n_periods + horizon, len(schema.known))
    known_SPF = torch.empty(shape, dtype=torch.float16)
    for rows in _blocks(panel.n_series):
        known_SPF[rows] = torch.from_numpy(schema.standardise(panel.select(rows), horizon))
    return known_SPF


def _blocks(n: int) -> list[slice]:
    return [slice(first, min(first + ROWS, n)) for first in range(0, n, ROWS)]


def _pack(rows: slice, part: Panel, config: ModelConfig, into: PackedPast) -> None:
    demand, observed = map(torch.from_numpy, seen_demand(part))
    into.observed_ST[rows] = pack_shares(observed)
    # Sales stay what they were: demand is their quotient by the share as it is kept.
    kept_BT = into.observed_ST[rows] / WHOLE
    demand_BT = torch.where(kept_BT > 0, demand * observed / kept_BT.clamp(min=1 / WHOLE), demand)
    into.unit_S[rows] = half_units(demand_BT)
    into.demand_ST[rows] = pack_half(demand_BT, into.unit_S[rows])
    level_BT = without_spikes(demand_BT * kept_BT, config)
    into.level_ST[rows] = pack_half(level_BT, into.unit_S[rows])
    if into.stocked_out_ST is not None and part.stocked_out_ST is not None:
        into.stocked_out_ST[rows] = pack_shares(torch.from_numpy(np.nan_to_num(part.stocked_out_ST)))


def without_spikes(demand_ST: Tensor, config: ModelConfig) -> Tensor:
    """Demand with its spikes cut, so that a peak does not set the level of the days after it.

    A period counts for at most SPIKE_MEAN times the trailing mean, or SPIKE_SIZE times the mean of the
    trailing periods that sold anything, whichever is more; the first few sales of a series are never cut.
    """
    year = min(config.year, demand_ST.shape[1])
    total_ST = _before(running_sum(demand_ST), year)
    wanted_ST = _before(running_sum((demand_ST > 0).float()), year)
    recent = min(8 * config.patch, demand_ST.shape[1])
    mean_ST = _before(running_sum(demand_ST), recent) / recent
    size_ST = total_ST / wanted_ST.clamp(min=1)
    most_ST = torch.maximum(SPIKE_MEAN * mean_ST, SPIKE_SIZE * size_ST)
    return torch.where(wanted_ST >= 8, torch.minimum(demand_ST, most_ST), demand_ST)


def _before(running_ST: Tensor, n: int) -> Tensor:
    """(S, T) sums over the n periods before each period, from (S, T + 1) running sums."""
    ends_ST = running_ST[:, :-1]
    return ends_ST - torch.nn.functional.pad(ends_ST, (n, 0))[:, : ends_ST.shape[1]]
