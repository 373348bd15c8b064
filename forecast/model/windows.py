"""Windows of the panel: a batch is index arithmetic on the device, and one window holds many origins.

Letters: B windows, W patches of a window, p periods of a patch, O origins of a window, H horizon,
D = W p + H periods of the window with the horizon of its last origin, J ends a patch apart that reach back
as far as any level does, F features.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from forecast.model.config import ModelConfig
from forecast.model.groups import GROWTH_SPANS, NEW_PLACE, Hidden, group_course, group_levels, prior_level
from forecast.model.past import Course, Past, read_past
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
    `forecast.model.groups`, 0 for nothing); such windows hold no demand at all.
    """
    windows = _cut(tensors, series_B, end_B, config, n_origins, hidden_B)
    return windows if hidden_B is None else _without_history(windows, tensors, hidden_B)


def gather_examples(
    tensors: PanelTensors,
    series_B: Tensor,
    end_B: Tensor,
    hidden_B: Tensor | None,
    config: ModelConfig,
    limit: int,
    ahead: slice,
) -> tuple[Windows, Targets]:
    """Windows of `config.origins` origins and what came true after each; also after those of windows that act
    as if they had no history."""
    windows = _cut(tensors, series_B, end_B, config, config.origins, hidden_B)
    targets = gather_targets(windows, config, config.origins, limit, ahead)
    return windows if hidden_B is None else _without_history(windows, tensors, hidden_B), targets


def _cut(
    tensors: PanelTensors,
    series_B: Tensor,
    end_B: Tensor,
    config: ModelConfig,
    n_origins: int,
    hidden_B: Tensor | None,
) -> Windows:
    """Windows whose levels know nothing of what is hidden; demand is still in them."""
    p, n_patches = config.patch, config.context + n_origins - 1
    n_past = n_patches * p
    offsets_D = torch.arange(-n_past, config.horizon, device=end_B.device)
    period_BD = end_B[:, None] + offsets_D
    past_BD, inside_BD = _clip(period_BD, tensors.n_periods)
    group_B = tensors.event_group_S[series_B]
    unions_BU = tensors.unions_S2[series_B]
    back = _patches_back(config, n_origins)
    past = read_past(
        tensors.past, series_B, end_B, max(back * p, _reach_back(tensors, n_past, p)), config.horizon
    )
    ends_BJ = end_B[:, None] - p * torch.arange(back, -1, -1, device=end_B.device)
    course = past.course(ends_BJ)

    analog_BD = tensors.analog_GL[group_B[:, None], period_BD.clamp(0, tensors.analog_GL.shape[1] - 1)]
    analog_BD = torch.where(period_BD >= 0, analog_BD, -1)
    analog_safe_BD, seen_BD = _clip(analog_BD, tensors.n_periods)
    level_BD, base_seen_BD = _smooth_level(past, analog_safe_BD, p)

    levels = _levels(tensors, series_B, ends_BJ, course, config, n_origins, hidden_B)
    known_BD = period_BD.clamp(0, tensors.known_SPF.shape[1] - 1)
    known_BD = series_B[:, None] * tensors.known_SPF.shape[1] + known_BD
    stock_BN = past.stocked_out_BN
    recorded = past.at(
        period_BD, past.demand_BN, past.observed_BN, *(() if stock_BN is None else (stock_BN,))
    )
    demand_BD, observed_BD, *stock_BD = (values_BD * inside_BD for values_BD in recorded)
    return Windows(
        demand_BD=demand_BD,
        observed_BD=observed_BD,
        stocked_out_BD=stock_BD[0] if stock_BD else None,
        known_BDF=tensors.known_SPF.flatten(0, 1)[known_BD].float(),
        past_lift_BDU=_lifts(tensors, unions_BU, past_BD) * inside_BD[:, :, None],
        analog_lift_BDU=_lifts(tensors, unions_BU, analog_safe_BD) * seen_BD[:, :, None],
        analog_level_BD=level_BD,
        analog_seen_BD=seen_BD * base_seen_BD,
        scale_BW=levels.scale_BW,
        means_BWM=levels.means_BWM,
        group_BOM=levels.group_BOM,
        age_BW=torch.log1p(course.count_BJ[:, -n_patches:] / p),
        period_BD=period_BD.clamp(0, tensors.calendar_LC.shape[0] - 1),
        group_B=group_B,
        codes_BN=tensors.codes_SN[series_B],
        price_level_BA=tensors.price_level_SA[series_B],
    )


def _patches_back(config: ModelConfig, n_origins: int) -> int:
    """Patches before the end of a window that some level at one of its ends looks at."""
    levels = config.context + n_origins - 2 + max(*SPANS, 4 * config.scale)
    return max(levels, n_origins - 1 + config.year // config.patch + max(GROWTH_SPANS))


def _reach_back(tensors: PanelTensors, n_past: int, p: int) -> int:
    """Periods before the end of a window that its analogs look at."""
    return n_past + (tensors.analog_back + 8 * p + p if tensors.analog_back else 0)


def _lifts(tensors: PanelTensors, unions_BU: Tensor, period_BD: Tensor) -> Tensor:
    """(B, D, U) lifts of the unions at some periods."""
    place_BDU = unions_BU[:, None, :] * tensors.lift_UT.shape[1] + period_BD[:, :, None]
    return tensors.lift_UT.take(place_BDU)


def _without_history(windows: Windows, tensors: PanelTensors, hidden_B: Tensor) -> Windows:
    """The windows, those that hide something as of series that nothing was observed of, without the names and
    totals of what is new."""
    shown_B1 = (hidden_B == 0).float()[:, None]
    local_U = torch.arange(windows.past_lift_BDU.shape[2], device=hidden_B.device) == 0
    known_B1U = (~((hidden_B == NEW_PLACE)[:, None, None] & local_U)).float()
    return windows._replace(
        demand_BD=windows.demand_BD * shown_B1,
        observed_BD=windows.observed_BD * shown_B1,
        past_lift_BDU=windows.past_lift_BDU * known_B1U,
        analog_lift_BDU=windows.analog_lift_BDU * known_B1U,
        analog_level_BD=windows.analog_level_BD * shown_B1,
        analog_seen_BD=windows.analog_seen_BD * shown_B1,
        age_BW=windows.age_BW * shown_B1,
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


class _Levels(NamedTuple):
    """Parts of `Windows` that tell the level of each series and of its groups."""

    means_BWM: Tensor
    scale_BW: Tensor
    group_BOM: Tensor


def _levels(
    tensors: PanelTensors,
    series_B: Tensor,
    ends_BJ: Tensor,
    course: Course,
    config: ModelConfig,
    n_origins: int,
    hidden_B: Tensor | None,
) -> _Levels:
    """Levels at the last ends, from trailing means of the series and of its groups; what is hidden has its
    level from its like alone."""
    hidden = None if hidden_B is None else Hidden(hidden_B, course)
    groups = group_course(
        tensors.group_sum_GT, tensors.group_count_GT, tensors.groups_SG[series_B], ends_BJ, hidden
    )
    prior_BW = prior_level(groups, config.context + n_origins - 1, config)
    means_BWM, scale_BW = _trailing_means(course, prior_BW, config)
    if hidden_B is not None:
        shown_B1 = (hidden_B == 0)[:, None]
        means_BWM = means_BWM * shown_B1[:, :, None]
        scale_BW = torch.where(shown_B1, scale_BW, prior_BW + LEAST / STEADY)
    return _Levels(means_BWM, scale_BW, group_levels(groups, scale_BW[:, -n_origins:], config))


def _trailing_means(course: Course, prior_BW: Tensor, config: ModelConfig) -> tuple[Tensor, Tensor]:
    """(B, W, M) log ratios of trailing means to the scale, and the scale (B, W) in units per period, at the
    last ends of the course."""
    w, p = prior_BW.shape[1], config.patch
    scale_BW, share_BW = course.mean(w, config.scale, p)
    longer_BW, longer_share_BW = course.mean(w, 4 * config.scale, p)
    n_BW, m_BW = share_BW * config.scale * p, longer_share_BW * 4 * config.scale * p
    # As few periods of its like steady the longer mean; without any history there is nothing else.
    longer_BW = (longer_BW * m_BW + prior_BW * STEADY) / (m_BW + STEADY)
    scale_BW = (scale_BW * n_BW + longer_BW * STEADY + LEAST) / (n_BW + STEADY)
    least_BW = scale_BW + 1e-3
    ratios = []
    for span in SPANS:
        mean_BW, seen_BW = course.mean(w, span, p)
        ratios.append(
            torch.log((mean_BW + 0.1 * scale_BW + 1e-3) / (0.1 * scale_BW + least_BW)) * (seen_BW > 0)
        )
    return torch.stack(ratios, dim=2), scale_BW


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
