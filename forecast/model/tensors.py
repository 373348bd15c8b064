"""The panel as tensors on the device, with the features that need the whole panel computed once.

Letters: S series, T observed periods, L periods of the calendar, G event groups, U unions (groups of series
whose total is a feature), F features, E event channels, N static columns.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.demand.panel import Panel
from forecast.model.calendar import calendar_features
from forecast.model.config import ModelConfig
from forecast.model.events import event_features
from forecast.model.groups import identities, series_groups
from forecast.model.packing import PackedRows, Totals, pack_known, pack_past
from forecast.model.past import PackedPast, running_sum
from forecast.model.schema import FeatureSchema, Floats64

BASE_PATCHES = {"hour": 14, "day": 8, "week": 8}
"""Patches whose mean is the base that a lift is measured against."""


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

    def to(self, device: torch.device) -> PanelTensors:
        """The same on another device; what lies there already is not copied."""
        moved: dict[str, Any] = {k: v.to(device) for k, v in vars(self).items() if isinstance(v, Tensor)}
        return replace(self, past=_moved(self.past, device), **moved)

    def of(self, rows: slice, packed: PackedRows) -> PanelTensors:
        """The tensors of a run of series of the panel whose `shared_tensors` these are."""
        device = self.device
        return replace(
            self,
            past=_moved(packed.past, device),
            known_SPF=packed.known_SPF.to(device),
            event_group_S=self.event_group_S[rows],
            unions_S2=self.unions_S2[rows],
            groups_SG=self.groups_SG[rows],
            codes_SN=self.codes_SN[rows],
            price_level_SA=self.price_level_SA[rows],
        )


def _moved(past: PackedPast, device: torch.device) -> PackedPast:
    stock_ST = past.stocked_out_ST
    return PackedPast(
        demand_ST=past.demand_ST.to(device),
        level_ST=past.level_ST.to(device),
        observed_ST=past.observed_ST.to(device),
        stocked_out_ST=None if stock_ST is None else stock_ST.to(device),
        unit_S=past.unit_S.to(device),
        seen_SC=past.seen_SC.to(device),
    )


def _no_past(n_periods: int) -> PackedPast:
    """The past of no series."""
    nothing_ST = torch.empty(0, n_periods)
    return PackedPast(nothing_ST, nothing_ST, nothing_ST, None, torch.empty(0), torch.empty(0, 1))


def build_tensors(
    panel: Panel, config: ModelConfig, schema: FeatureSchema, device: torch.device, *, horizon: int
) -> PanelTensors:
    """Move a panel to the device, with known features for `horizon` periods after its last (0 to train on
    it).

    Raises:
        InputError: a known feature of the schema is missing or does not reach over the horizon.
    """
    schema.check(panel, horizon)
    packed = PackedRows(pack_past(panel, config), pack_known(panel, schema, horizon))
    numbers = number_series(panel)
    totals = Totals(*numbers, panel.n_periods)
    totals.add(0, packed.past)
    prices_SA = schema.mean_prices(panel, horizon)
    shared = shared_tensors(panel, config, schema, numbers, totals, prices_SA)
    return shared.to(device).of(slice(None), packed)


class Numbers(NamedTuple):
    """The groups (S, G) and the unions (S, 2) that each series of a panel is in."""

    groups_SG: NDArray[np.int64]
    unions_S2: NDArray[np.int64]


def number_series(panel: Panel) -> Numbers:
    """Number the groups and unions of a panel's series by their keys and labels."""
    return Numbers(series_groups(panel), _unions(panel))


def shared_tensors(
    panel: Panel,
    config: ModelConfig,
    schema: FeatureSchema,
    numbers: Numbers,
    totals: Totals,
    prices_SA: Floats64,
) -> PanelTensors:
    """What all series of a panel share, and the little that is known of each, on the processor: the tensors
    of a panel without the past and the known features of any series, which `PanelTensors.of` adds.

    panel: keys, labels, events and axis are read. totals, prices_SA: of all its series
    (`FeatureSchema.mean_prices`).
    """
    n_periods = panel.n_periods
    n_calendar = n_periods + config.horizon + config.event_reach
    events, analog = event_features(panel.events, schema.events, config, n_calendar)
    codes_SN = schema.encode_statics(panel)
    lift_UT = _lifts(totals.union_sum_UT.numpy(), BASE_PATCHES[panel.period] * config.patch)
    return PanelTensors(
        past=_no_past(n_periods),
        analog_back=int(np.where(analog >= 0, np.arange(n_calendar) - analog, 0).max(initial=0)),
        known_SPF=torch.empty(0, n_periods, len(schema.known), dtype=torch.float16),
        calendar_LC=_tensor(
            calendar_features(panel.period, panel.start, n_calendar, seasonal=schema.seasonal)
        ),
        events_GLE=_tensor(events),
        analog_GL=_tensor(analog),
        lift_UT=_tensor(lift_UT),
        event_group_S=_tensor(panel.events.group_S.astype(np.int64)),
        unions_S2=_tensor(numbers.unions_S2),
        group_sum_GT=running_sum(totals.group_sum_GT),
        group_count_GT=running_sum(totals.group_count_GT),
        groups_SG=_tensor(numbers.groups_SG),
        codes_SN=_tensor(codes_SN),
        identity_KN=_tensor(identities(panel, codes_SN)),
        price_level_SA=_tensor(schema.price_levels(panel, prices_SA)),
    )


def _tensor(array: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array))


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
