"""The panel as tensors on the device, with the features that need the whole panel computed once.

Letters: S series, T observed periods, L periods of the calendar, G event groups, U unions (groups of series
whose total is a feature), F features, E event channels, N static columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.demand.panel import Panel
from forecast.model.calendar import analog_periods, calendar_features
from forecast.model.config import ModelConfig
from forecast.model.groups import identities, series_groups
from forecast.model.past import (
    WHOLE,
    PackedPast,
    half_units,
    pack_half,
    pack_shares,
    running_sum,
    seen_before,
)
from forecast.model.priors import borrowed_events
from forecast.model.schema import FeatureSchema
from forecast.model.stockouts import seen_demand

BASE_PATCHES = {"hour": 14, "day": 8, "week": 8}
"""Patches whose mean is the base that a lift is measured against."""
SPIKE_MEAN = 8.0
SPIKE_SIZE = 4.0
"""How often the trailing mean, and the mean size of a sale, a period may count for in a level."""
ROWS = 1024
"""Series packed at once."""


@dataclass(frozen=True, kw_only=True)
class PanelTensors:
    """What the model reads; every tensor lies on one device.

    past: what was observed, in few bytes (`forecast.model.past`). Demand is in units, 0 where unobserved; its
        share of the period's demand that could be seen is 1 in stock; demand times it is the sales
        (`forecast.model.stockouts`). analog_back: periods from the farthest period that has an analog to it.
    known_SPF: float16, standardised known-future features. calendar_LC, events_GLE, analog_GL: shared by
    series.
    lift_UT: log ratio of a union's total to its trailing base. codes_SN: static categories, 0 = unknown.
    group_sum_GT, group_count_GT: (groups, T + 1) float64 running sums of level and of what was seen, of
    groups of series; groups_SG: which groups a series is in, identity_KN: which statics name what is new in
    a window of kind K (`forecast.model.groups`). price_level_SA: how dear a series is beside its like.
    """

    past: PackedPast
    analog_back: int
    known_SPF: Tensor
    calendar_LC: Tensor
    events_GLE: Tensor
    analog_GL: Tensor
    lift_UT: Tensor
    event_group_S: Tensor
    unions_S2: Tensor
    group_sum_GT: Tensor
    group_count_GT: Tensor
    groups_SG: Tensor
    codes_SN: Tensor
    identity_KN: Tensor
    price_level_SA: Tensor

    @property
    def n_series(self) -> int:
        """S."""
        return self.past.demand_ST.shape[0]

    @property
    def n_periods(self) -> int:
        """T."""
        return self.past.demand_ST.shape[1]

    @property
    def n_bytes(self) -> int:
        """Of all tensors."""
        own = (value for value in vars(self).values() if isinstance(value, Tensor))
        held = (part for part in self.past if part is not None)
        return sum(one.numel() * one.element_size() for one in (*own, *held))

    @property
    def device(self) -> torch.device:
        """Where all of it lies."""
        return self.past.demand_ST.device


def build_tensors(
    panel: Panel, config: ModelConfig, schema: FeatureSchema, device: torch.device, *, horizon: int
) -> PanelTensors:
    """Move a panel to the device, with known features for `horizon` periods after its last (0 to train on
    it).

    Raises:
        InputError: a known feature of the schema is missing or does not reach over the horizon.
    """
    schema.check(panel, horizon)
    n_calendar = panel.n_periods + config.horizon + config.event_reach
    events = _pad_events(panel, schema, n_calendar)
    borrowed = borrowed_events(panel.events, schema.events, n_calendar)
    analog = analog_periods(
        events,
        least=config.analog_gap,
        year=config.year,
        reach=config.event_reach,
        borrowed_GLE=borrowed,
    )
    if borrowed is not None:
        events = np.maximum(events, borrowed)
    unions, groups = _unions(panel), series_groups(panel)
    packed = _Packing(panel, config, schema, horizon, groups, unions)
    codes_SN = schema.encode_statics(panel)

    def tensor(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    return PanelTensors(
        past=packed.past(device),
        analog_back=int(np.where(analog >= 0, np.arange(n_calendar) - analog, 0).max(initial=0)),
        known_SPF=packed.known_SPF.to(device),
        calendar_LC=tensor(calendar_features(panel.period, panel.start, n_calendar)),
        events_GLE=tensor(events),
        analog_GL=tensor(analog),
        lift_UT=tensor(_lifts(packed.union_sum_UT.numpy(), BASE_PATCHES[panel.period] * config.patch)),
        event_group_S=tensor(panel.events.group_S.astype(np.int64)),
        unions_S2=tensor(unions),
        group_sum_GT=running_sum(packed.group_sum_GT).to(device),
        group_count_GT=running_sum(packed.group_count_GT).to(device),
        groups_SG=tensor(groups),
        codes_SN=tensor(codes_SN),
        identity_KN=tensor(identities(panel, codes_SN)),
        price_level_SA=tensor(schema.price_levels(panel, horizon)),
    )


class _Packing:
    """The parts of a panel that have a row a series, packed some series at a time, and the totals of its
    groups and unions, so that no array of the panel's size in full precision is made."""

    def __init__(
        self,
        panel: Panel,
        config: ModelConfig,
        schema: FeatureSchema,
        horizon: int,
        groups_SG: NDArray[np.int64],
        unions_S2: NDArray[np.int64],
    ) -> None:
        s, t = panel.n_series, panel.n_periods
        groups, unions = torch.from_numpy(groups_SG), torch.from_numpy(unions_S2)
        self.group_sum_GT = torch.zeros(int(groups.max()) + 1, t, dtype=torch.float64)
        self.group_count_GT = torch.zeros_like(self.group_sum_GT)
        self.union_sum_UT = torch.zeros(int(unions.max()) + 1, t, dtype=torch.float64)
        self.known_SPF = torch.empty(s, t + horizon, len(schema.known), dtype=torch.float16)
        self._demand_ST = torch.empty(s, t, dtype=torch.float16)
        self._level_ST = torch.empty(s, t, dtype=torch.float16)
        self._observed_ST = torch.empty(s, t, dtype=torch.uint8)
        self._unit_S = torch.empty(s)
        self._stock_ST = None if panel.stocked_out_ST is None else torch.empty(s, t, dtype=torch.uint8)
        for first in range(0, s, ROWS):
            rows = slice(first, min(first + ROWS, s))
            part = panel.select(np.arange(rows.start, rows.stop))
            self._pack(rows, part, config)
            self.known_SPF[rows] = torch.from_numpy(schema.standardise(part, horizon))
            sales_BT = self._level(rows, self._demand_ST) * self._share(rows)
            for total, values_BT in (
                (self.group_sum_GT, self._level(rows, self._level_ST)),
                (self.group_count_GT, self._share(rows)),
            ):
                for g in range(groups.shape[1]):
                    total.index_add_(0, groups[rows, g], values_BT.double())
            for u in range(unions.shape[1]):
                self.union_sum_UT.index_add_(0, unions[rows, u], sales_BT.double())

    def past(self, device: torch.device) -> PackedPast:
        """All rows."""
        return PackedPast(
            demand_ST=self._demand_ST.to(device),
            level_ST=self._level_ST.to(device),
            observed_ST=self._observed_ST.to(device),
            stocked_out_ST=None if self._stock_ST is None else self._stock_ST.to(device),
            unit_S=self._unit_S.to(device),
            seen_SC=seen_before(self._observed_ST).to(device),
        )

    def _pack(self, rows: slice, part: Panel, config: ModelConfig) -> None:
        demand, observed = map(torch.from_numpy, seen_demand(part))
        self._observed_ST[rows] = pack_shares(observed)
        # Sales stay what they were: demand is their quotient by the share as it is kept.
        kept_BT = self._share(rows)
        demand_BT = torch.where(kept_BT > 0, demand * observed / kept_BT.clamp(min=1 / WHOLE), demand)
        self._unit_S[rows] = half_units(demand_BT)
        self._demand_ST[rows] = pack_half(demand_BT, self._unit_S[rows])
        level_BT = without_spikes(demand_BT * kept_BT, config)
        self._level_ST[rows] = pack_half(level_BT, self._unit_S[rows])
        if self._stock_ST is not None and part.stocked_out_ST is not None:
            self._stock_ST[rows] = pack_shares(torch.from_numpy(np.nan_to_num(part.stocked_out_ST)))

    def _level(self, rows: slice, half_ST: Tensor) -> Tensor:
        return half_ST[rows] * self._unit_S[rows, None]

    def _share(self, rows: slice) -> Tensor:
        return self._observed_ST[rows] / WHOLE


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


def _pad_events(panel: Panel, schema: FeatureSchema, n: int) -> NDArray[np.float32]:
    """(G, n, E) intensities in the schema's order of channels; channels that the model never saw are left
    out."""
    source = panel.events.intensity_GLE
    result = np.zeros((source.shape[0], n, len(schema.events)), np.float32)
    span = min(n, source.shape[1])
    for e, name in enumerate(schema.events):
        if name in panel.events.names:
            result[:, :span, e] = source[:, :span, panel.events.names.index(name)]
    return result


def _unions(panel: Panel) -> NDArray[np.int64]:
    """(S, 2) unions of each series: its location and first static, and all."""
    labels = panel.keys.location.astype(str)
    if panel.statics:
        first = next(iter(panel.statics.values())).astype(str)
        labels = np.char.add(np.char.add(labels, "\x1f"), first)
    names, group_S = np.unique(labels, return_inverse=True)
    return np.stack([group_S, np.full_like(group_S, len(names))], axis=1).astype(np.int64)


def _lifts(total_UT: NDArray[np.float64], base: int) -> NDArray[np.float32]:
    """(U, T) log lifts of the unions' totals over their trailing base."""
    n = total_UT.shape[1]
    running = np.pad(total_UT.cumsum(axis=1), ((0, 0), (1, 0)))
    first = np.maximum(np.arange(n) - base, 0)
    count = np.maximum(np.arange(n) - first, 1)
    mean = (running[:, :-1] - running[:, first]) / count
    lift_UT: NDArray[np.float32] = np.clip(np.log((total_UT + 1) / (mean + 1)), -3, 3).astype(np.float32)
    return lift_UT
