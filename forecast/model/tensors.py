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
from forecast.model.groups import group_running_sum, identities, series_groups
from forecast.model.priors import borrowed_events
from forecast.model.schema import FeatureSchema
from forecast.model.stockouts import seen_demand

BASE_PATCHES = {"hour": 14, "day": 8, "week": 8}
"""Patches whose mean is the base that a lift is measured against."""
SPIKE_MEAN = 8.0
SPIKE_SIZE = 4.0
"""How often the trailing mean, and the mean size of a sale, a period may count for in a level."""


@dataclass(frozen=True, kw_only=True)
class PanelTensors:
    """What the model reads; every tensor lies on one device.

    demand_ST: units, 0 where unobserved. observed_ST: share of the period's demand that could be seen, 0..1:
        1 in stock; demand times it is the sales (`forecast.model.stockouts`).
    stocked_out_ST: share of the period without stock.
    demand_sum_ST, observed_sum_ST: (S, T + 1) sums of observed demand, its spikes cut, and of observations.
    known_SPF: standardised known-future features. calendar_LC, events_GLE, analog_GL: shared by series.
    lift_UT: log ratio of a union's total to its trailing base. codes_SN: static categories, 0 = unknown.
    group_sum_GT, group_count_GT: (groups, T + 1) float64 running sums like those of the series, of groups of
    series; groups_SG: which groups a series is in, identity_KN: which statics name what is new in a window of
    kind K (`forecast.model.groups`). price_level_SA: how dear a series is beside its like.
    """

    demand_ST: Tensor
    observed_ST: Tensor
    stocked_out_ST: Tensor | None
    demand_sum_ST: Tensor
    observed_sum_ST: Tensor
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
        return self.demand_ST.shape[0]

    @property
    def n_periods(self) -> int:
        """T."""
        return self.demand_ST.shape[1]


def build_tensors(
    panel: Panel, config: ModelConfig, schema: FeatureSchema, device: torch.device, *, horizon: int
) -> PanelTensors:
    """Move a panel to the device, with known features for `horizon` periods after its last (0 to train on
    it).

    Raises:
        InputError: a known feature of the schema is missing or does not reach over the horizon.
    """
    n_calendar = panel.n_periods + config.horizon + config.event_reach
    demand, observed = seen_demand(panel)
    calendar = calendar_features(panel.period, panel.start, n_calendar)
    events = _pad_events(panel, schema, n_calendar)
    unions, lift = _union_lifts(panel, demand, observed, BASE_PATCHES[panel.period] * config.patch)
    borrowed = borrowed_events(panel.events, schema.events, n_calendar)
    analog = analog_periods(
        events,
        horizon=config.horizon,
        year=config.year,
        reach=config.event_reach,
        borrowed_GLE=borrowed,
    )
    if borrowed is not None:
        events = np.maximum(events, borrowed)

    def tensor(array: NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(device)

    demand_ST = tensor(demand)
    observed_ST = tensor(observed)
    level_ST = _without_spikes(demand_ST * observed_ST, config)
    groups_SG, codes_SN = tensor(series_groups(panel)), schema.encode_statics(panel)
    return PanelTensors(
        demand_ST=demand_ST,
        observed_ST=observed_ST,
        stocked_out_ST=None if panel.stocked_out_ST is None else tensor(np.nan_to_num(panel.stocked_out_ST)),
        demand_sum_ST=_running_sum(level_ST),
        observed_sum_ST=_running_sum(observed_ST),
        known_SPF=tensor(schema.standardise(panel, horizon)),
        calendar_LC=tensor(calendar),
        events_GLE=tensor(events),
        analog_GL=tensor(analog),
        lift_UT=tensor(lift),
        event_group_S=tensor(panel.events.group_S.astype(np.int64)),
        unions_S2=tensor(unions),
        group_sum_GT=group_running_sum(level_ST, groups_SG),
        group_count_GT=group_running_sum(observed_ST, groups_SG),
        groups_SG=groups_SG,
        codes_SN=tensor(codes_SN),
        identity_KN=tensor(identities(panel, codes_SN)),
        price_level_SA=tensor(schema.price_levels(panel, horizon)),
    )


def _without_spikes(demand_ST: Tensor, config: ModelConfig) -> Tensor:
    """Demand with its spikes cut, so that a peak does not set the level of the days after it.

    A period counts for at most SPIKE_MEAN times the trailing mean, or SPIKE_SIZE times the mean of the
    trailing periods that sold anything, whichever is more; the first few sales of a series are never cut.
    """
    year = min(config.year, demand_ST.shape[1])
    total_ST = _before(_running_sum(demand_ST), year)
    wanted_ST = _before(_running_sum((demand_ST > 0).float()), year)
    recent = min(8 * config.patch, demand_ST.shape[1])
    mean_ST = _before(_running_sum(demand_ST), recent) / recent
    size_ST = total_ST / wanted_ST.clamp(min=1)
    most_ST = torch.maximum(SPIKE_MEAN * mean_ST, SPIKE_SIZE * size_ST)
    return torch.where(wanted_ST >= 8, torch.minimum(demand_ST, most_ST), demand_ST)


def _before(running_ST: Tensor, n: int) -> Tensor:
    """(S, T) sums over the n periods before each period, from (S, T + 1) running sums."""
    ends_ST = running_ST[:, :-1]
    return ends_ST - torch.nn.functional.pad(ends_ST, (n, 0))[:, : ends_ST.shape[1]]


def _running_sum(values_ST: Tensor) -> Tensor:
    """(S, T + 1) float32 sums of the first t periods; exact for counts below 2^24."""
    zero = torch.zeros_like(values_ST[:, :1])
    return torch.cat([zero, values_ST.cumsum(1)], dim=1)


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


def _union_lifts(
    panel: Panel, demand: NDArray[np.float32], observed: NDArray[np.float32], base: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Unions of each series (its location and first static; all) and (U, T) log lifts of their totals over
    the trailing base."""
    labels = panel.keys.location.astype(str)
    if panel.statics:
        first = next(iter(panel.statics.values())).astype(str)
        labels = np.char.add(np.char.add(labels, "\x1f"), first)
    _, group = np.unique(labels, return_inverse=True)
    n_groups = int(group.max()) + 1
    totals = np.zeros((n_groups + 1, panel.n_periods))
    for u in range(n_groups):  # a sum per group without a copy of the panel
        rows = group == u
        totals[u] = (observed[rows] * demand[rows]).sum(0, dtype=np.float64)
    totals[n_groups] = totals[:n_groups].sum(0)
    running = np.concatenate([np.zeros((n_groups + 1, 1)), totals.cumsum(1)], axis=1)
    first_day = np.maximum(np.arange(panel.n_periods) - base, 0)
    count = np.maximum(np.arange(panel.n_periods) - first_day, 1)
    mean = (running[:, :-1] - running[:, first_day]) / count
    lift = np.log((totals + 1) / (mean + 1))
    unions = np.stack([group, np.full_like(group, n_groups)], axis=1)
    return unions.astype(np.int64), np.clip(lift, -3, 3).astype(np.float32)
