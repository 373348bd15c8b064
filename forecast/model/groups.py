"""Groups of series whose common course tells more than one thin series can: an item over all locations, a
department of a location.

Letters: S series, T observed periods, G groups a series is in, B windows, O origins.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.demand.panel import Panel
from forecast.model.config import ModelConfig

N_GROUPS = 2
"""Of each series: its item at all locations, and its first static (a department) at its location."""
SPANS = (1, 4, 13, 52)
"""Patches of the trailing means."""
GROWTH_SPANS = (4, 13)
"""Patches of the means that are held against those a year before."""
WIDTH = len(SPANS) + len(GROWTH_SPANS) + 1
"""Features of a group."""


def series_groups(panel: Panel) -> NDArray[np.int64]:
    """(S, G) numbers of the groups of each series."""
    place = panel.keys.location.astype(str)
    if panel.statics:
        first = next(iter(panel.statics.values())).astype(str)
        place = np.char.add(np.char.add(place, "\x1f"), first)
    groups, n = [], 0
    for labels in (panel.keys.item.astype(str), place):
        names, number_S = np.unique(labels, return_inverse=True)
        groups.append(number_S + n)
        n += len(names)
    return np.stack(groups, axis=1).astype(np.int64)


def group_running_sum(values_ST: Tensor, groups_SG: Tensor) -> Tensor:
    """(groups, T + 1) float64 sums over the series of each group and its first t periods."""
    n = int(groups_SG.max()) + 1 if groups_SG.numel() else 0
    total_GT = values_ST.new_zeros((n, values_ST.shape[1] + 1), dtype=torch.float64)
    for g in range(groups_SG.shape[1]):
        total_GT[:, 1:].index_add_(0, groups_SG[:, g], values_ST.double())
    return total_GT.cumsum_(1)


class GroupSums(NamedTuple):
    """Running sums of all groups, (groups, T + 1) float64, and the groups of some series."""

    sum_GT: Tensor
    count_GT: Tensor
    groups_BG: Tensor


def group_levels(sums: GroupSums, ends_BO: Tensor, scale_BO: Tensor, config: ModelConfig) -> Tensor:
    """(B, O, G * WIDTH) levels of each group at each origin, means per series and period.

    Log ratios of its trailing means to its own scale, of its recent means to those a year before, and of its
    scale to the series'.
    """
    features = []
    for g in range(sums.groups_BG.shape[1]):
        row_B1 = sums.groups_BG[:, g, None]
        base_BO, _ = _mean(sums, row_B1, ends_BO, config.scale * config.patch)
        spare_BO = 0.05 * base_BO + 1e-3
        for span in SPANS:
            level_BO, seen_BO = _mean(sums, row_B1, ends_BO, span * config.patch)
            features.append(torch.log((level_BO + spare_BO) / (base_BO + spare_BO)) * seen_BO)
        for span in GROWTH_SPANS:
            level_BO, _ = _mean(sums, row_B1, ends_BO, span * config.patch)
            before_BO, seen_BO = _mean(sums, row_B1, ends_BO - config.year, span * config.patch)
            growth_BO = torch.log((level_BO + spare_BO) / (before_BO + spare_BO))
            features.append(growth_BO.clamp(-1, 1) * seen_BO)
        features.append(torch.log((base_BO + 1e-3) / (scale_BO + 1e-3)).clamp(-3, 3) / 2)
    return torch.stack(features, dim=2)


def _mean(sums: GroupSums, row_B1: Tensor, end_BO: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Mean over the observed series and periods of the n periods before `end` (exclusive), and whether any
    was."""
    last_BO = end_BO.clamp(0, sums.sum_GT.shape[1] - 1)
    first_BO = (end_BO - n).clamp(0, sums.sum_GT.shape[1] - 1)
    count_BO = sums.count_GT[row_B1, last_BO] - sums.count_GT[row_B1, first_BO]
    total_BO = sums.sum_GT[row_B1, last_BO] - sums.sum_GT[row_B1, first_BO]
    return (total_BO / count_BO.clamp(min=1)).float(), count_BO > 0
