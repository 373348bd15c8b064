"""Windows of the panel: a batch is index arithmetic on the device, and one window holds many origins.

Letters: B windows, W patches of a window, p periods of a patch, O origins of a window, H horizon,
D = W p + H periods of the window with the horizon of its last origin, G groups, F features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from forecast.model.config import ModelConfig
from forecast.model.groups import GROWTH_SPANS, NEW_PLACE, GroupSums, Hidden, group_levels, prior_level
from forecast.model.past import Past, read_past
from forecast.model.tensors import PanelTensors


class Windows(NamedTuple):
    """One batch of windows. Demand beyond the panel's last period is unobserved; `observed_BD` masks the
    loss."""

    demand_BD: Tensor
    observed_BD: Tensor
    stocked_out_BD: Tensor | None
    known_BDF: Tensor
    past_lift_BDU: Tensor
    analog_lift_BDU: Tensor
    analog_level_BD: Tensor
    analog_seen_BD: Tensor
    scale_BW: Tensor
    means_BWM: Tensor
    group_BOM: Tensor
    age_BW: Tensor
    period_BD: Tensor
    group_B: Tensor
    codes_BN: Tensor
    price_level_BA: Tensor


LEAST = 0.02
"""Units that are added to what a scale is the mean of, so that it is never 0."""
STEADY = 7
"""Periods of a longer mean that steady the scale of a young or sold-out series."""
SPANS = (1, 4, 13, 52)
"""Patches of the trailing means that describe a level at an origin."""


def gather_windows(
    tensors: PanelTensors,
    series_B: Tensor,
    end_B: Tensor,
    config: ModelConfig,
    n_origins: int,
    hidden_B: Tensor | None = None,
) -> Windows:
    """Cut windows of `n_origins` origins, a patch apart; the last has observed the first `end_B` periods.

    end_B: (B,), or (1,) where all windows end together: what they share is then computed once.

    hidden_B: what each window acts as if it had no history (OWN, NEW_ITEM or NEW_PLACE of
    `forecast.model.groups`); such windows hold no demand at all, so their targets are cut from plain ones.
    """
    p, n_patches = config.patch, config.context + n_origins - 1
    n_past = n_patches * p
    offsets_D = torch.arange(-n_past, config.horizon, device=end_B.device)
    period_BD = end_B[:, None] + offsets_D
    past_BD, inside_BD = _clip(period_BD, tensors.n_periods)
    row_B1 = series_B[:, None]
    group_B = tensors.event_group_S[series_B]
    unions_BU = tensors.unions_S2[series_B]
    past = read_past(tensors.past, series_B, end_B, n_past + _reach_back(tensors, config), config.horizon)

    analog_BD = tensors.analog_GL[group_B[:, None], period_BD.clamp(0, tensors.analog_GL.shape[1] - 1)]
    analog_BD = torch.where(period_BD >= 0, analog_BD, -1)
    analog_safe_BD, seen_BD = _clip(analog_BD, tensors.n_periods)
    level_BD, base_seen_BD = _smooth_level(past, analog_safe_BD, p)

    ends_BW = end_B[:, None] - p * torch.arange(n_patches - 1, -1, -1, device=end_B.device)
    groups = GroupSums(tensors.group_sum_GT, tensors.group_count_GT, tensors.groups_SG[series_B])
    if hidden_B is not None:
        groups = groups._replace(hidden=Hidden(hidden_B, past))
    prior_BW = prior_level(groups, ends_BW, config)
    means_BWM, scale_BW = _trailing_means(past, ends_BW, prior_BW, config)
    if hidden_B is not None:
        means_BWM, scale_BW = torch.zeros_like(means_BWM), prior_BW + LEAST / STEADY
    known_BD = period_BD.clamp(0, tensors.known_SPF.shape[1] - 1)
    stock_BN = past.stocked_out_BN
    windows = Windows(
        demand_BD=past.at(past.demand_BN, period_BD) * inside_BD,
        observed_BD=past.at(past.observed_BN, period_BD) * inside_BD,
        stocked_out_BD=None if stock_BN is None else past.at(stock_BN, period_BD) * inside_BD,
        known_BDF=tensors.known_SPF[row_B1, known_BD].float(),
        past_lift_BDU=tensors.lift_UT[unions_BU[:, None, :], past_BD[:, :, None]] * inside_BD[:, :, None],
        analog_lift_BDU=tensors.lift_UT[unions_BU[:, None, :], analog_safe_BD[:, :, None]]
        * seen_BD[:, :, None],
        analog_level_BD=level_BD,
        analog_seen_BD=seen_BD * base_seen_BD,
        scale_BW=scale_BW,
        means_BWM=means_BWM,
        group_BOM=group_levels(groups, ends_BW[:, -n_origins:], scale_BW[:, -n_origins:], config),
        age_BW=torch.log1p(past.seen(ends_BW) / p),
        period_BD=period_BD.clamp(0, tensors.calendar_LC.shape[0] - 1),
        group_B=group_B,
        codes_BN=tensors.codes_SN[series_B],
        price_level_BA=tensors.price_level_SA[series_B],
    )
    return windows if hidden_B is None else _without_history(windows, tensors, hidden_B)


def _reach_back(tensors: PanelTensors, config: ModelConfig) -> int:
    """Periods before a window that its levels and analogs look at."""
    p = config.patch
    levels = max(*SPANS, 4 * config.scale) * p
    analogs = tensors.analog_back + 8 * p + p if tensors.analog_back else 0
    growth = max(config.year + (max(GROWTH_SPANS) - config.context) * p, 0)
    return max(levels, analogs, growth)


def _without_history(windows: Windows, tensors: PanelTensors, hidden_B: Tensor) -> Windows:
    """The windows as of series that nothing was observed of, without the names and totals of what is new."""
    local_U = torch.arange(windows.past_lift_BDU.shape[2], device=hidden_B.device) == 0
    known_B1U = (~((hidden_B == NEW_PLACE)[:, None, None] & local_U)).float()
    nothing_BD = torch.zeros_like(windows.demand_BD)
    return windows._replace(
        demand_BD=nothing_BD,
        observed_BD=nothing_BD,
        past_lift_BDU=windows.past_lift_BDU * known_B1U,
        analog_lift_BDU=windows.analog_lift_BDU * known_B1U,
        analog_level_BD=nothing_BD,
        analog_seen_BD=nothing_BD,
        age_BW=torch.zeros_like(windows.age_BW),
        codes_BN=windows.codes_BN * ~tensors.identity_KN[hidden_B],
    )


def _clip(index: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Index forced into 0..n-1, and 1.0 where it lay there already."""
    return index.clamp(0, n - 1), ((index >= 0) & (index < n)).float()


def _smooth_level(past: Past, index: Tensor, p: int) -> tuple[Tensor, Tensor]:
    """Log ratio of a series' own mean around a past period to its base before it, shrunk where little was
    sold."""
    reach = max(p // 2, 1) if p > 1 else 0
    near, seen = past.mean(index + reach + 1, 2 * reach + 1)
    base, base_seen = past.mean(index - reach, 8 * p)
    level = torch.log((near * (2 * reach + 1) + 2 * base + 0.1) / (base * (2 * reach + 3) + 0.1))
    return level, (seen > 0).float() * (base_seen > 0.2).float()


def _trailing_means(past: Past, ends: Tensor, prior: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """(B, W, M) log ratios of trailing means to the scale, and the scale (B, W) in units per period."""
    scale, share = past.mean(ends, config.scale * config.patch)
    longer, longer_share = past.mean(ends, 4 * config.scale * config.patch)
    n, m = share * config.scale * config.patch, longer_share * 4 * config.scale * config.patch
    # As few periods of its like steady the longer mean; without any history there is nothing else.
    longer = (longer * m + prior * STEADY) / (m + STEADY)
    scale = (scale * n + longer * STEADY + LEAST) / (n + STEADY)
    means = [past.mean(ends, span * config.patch) for span in SPANS]
    ratios = [torch.log((m + 0.1 * scale + 1e-3) / (1.1 * scale + 1e-3)) * (s > 0) for m, s in means]
    return torch.stack(ratios, dim=2), scale


class Targets(NamedTuple):
    """What came true after each origin of a batch, (B, O, H); kept apart from the windows that the network
    reads.

    demand_BOH: demand, sales where the period sold out.
    counted_BOH: 1 where the truth counts: observed before the limit, at an origin that has seen some history.
    """

    demand_BOH: Tensor
    counted_BOH: Tensor
    stocked_out_BOH: Tensor | None


def gather_targets(
    windows: Windows, config: ModelConfig, n_origins: int, limit: int, ahead: slice
) -> Targets:
    """The steps `ahead` after each of the last `n_origins` patch ends, truth from period `limit` on
    hidden."""
    first = config.context * config.patch + ahead.start

    def steps(values_BD: Tensor) -> Tensor:
        return values_BD[:, first:].unfold(1, ahead.stop - ahead.start, config.patch)[:, :n_origins]

    visible_BD = (windows.period_BD < limit).float()
    known_BD = (windows.observed_BD > 0).float()
    sales_BD = windows.demand_BD * torch.where(windows.observed_BD > 0, windows.observed_BD, 1.0)
    if windows.stocked_out_BD is not None:
        known_BD = torch.maximum(known_BD, (windows.stocked_out_BD > 0).float())
    seen_BO1 = (windows.age_BW[:, -n_origins:, None] > 0).float()
    stock = windows.stocked_out_BD
    return Targets(
        steps(sales_BD),
        steps(known_BD * visible_BD) * seen_BO1,
        None if stock is None else steps(stock),
    )
