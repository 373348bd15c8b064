"""Groups of series whose common course tells more than one thin series can: an item over all locations, a
department of a location, a department, everything.

Letters: S series, T observed periods, G groups a series is in, B windows, O origins, W patches.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.demand.panel import Panel
from forecast.model.config import ModelConfig
from forecast.model.past import Past

ITEM, PLACE, DEPARTMENT, ALL, LOCATION = range(5)
"""Groups of each series: its item at all locations, its first static (a department) at its location, that
static at all locations, all series, and its whole location."""
FEATURED = (ITEM, PLACE, LOCATION, ALL)
"""Those whose course is a feature; the department only tells the level of a series without history."""
OWN, NEW_ITEM, NEW_PLACE = 1, 2, 3
"""What a window acts as if it had no history: the series alone, its item everywhere, its whole location.
So the model learns what to say of new ones."""
PRIOR = 7
"""Periods of the wider group that a group's level starts from."""
SPANS = (1, 4, 13, 52)
"""Patches of the trailing means."""
GROWTH_SPANS = (4, 13)
"""Patches of the means that are held against those a year before."""
WIDTH = len(SPANS) + len(GROWTH_SPANS) + 1
"""Features of a group."""


def series_groups(panel: Panel) -> NDArray[np.int64]:
    """(S, G) numbers of the groups of each series."""
    place = panel.keys.location.astype(str)
    everything = department = np.zeros(panel.n_series, np.str_)
    if panel.statics:
        department = next(iter(panel.statics.values())).astype(str)
        place = np.char.add(np.char.add(place, "\x1f"), department)
    groups, n = [], 0
    item, location = panel.keys.item.astype(str), panel.keys.location.astype(str)
    for labels in (item, place, department, everything, location):
        names, number_S = np.unique(labels, return_inverse=True)
        groups.append(number_S + n)
        n += len(names)
    return np.stack(groups, axis=1).astype(np.int64)


class Hidden(NamedTuple):
    """What windows act as if it had no history (OWN, NEW_ITEM or NEW_PLACE), and what their series did."""

    kind_B: Tensor
    past: Past


class GroupSums(NamedTuple):
    """Running sums of all groups, (groups, T + 1) float64, and the groups of some series; without what is
    hidden."""

    sum_GT: Tensor
    count_GT: Tensor
    groups_BG: Tensor
    hidden: Hidden | None = None


def group_levels(sums: GroupSums, ends_BO: Tensor, scale_BO: Tensor, config: ModelConfig) -> Tensor:
    """(B, O, G * WIDTH) levels of each group at each origin, means per series and period.

    Log ratios of its trailing means to its own scale, of its recent means to those a year before, and of its
    scale to the series'.
    """
    features = []
    for g in FEATURED:
        base_BO, known_BO = _mean(sums, g, ends_BO, config.scale * config.patch)
        spare_BO = 0.05 * base_BO + 1e-3
        for span in SPANS:
            level_BO, seen_BO = _mean(sums, g, ends_BO, span * config.patch)
            features.append(torch.log((level_BO + spare_BO) / (base_BO + spare_BO)) * seen_BO)
        for span in GROWTH_SPANS:
            level_BO, _ = _mean(sums, g, ends_BO, span * config.patch)
            before_BO, seen_BO = _mean(sums, g, ends_BO - config.year, span * config.patch)
            growth_BO = torch.log((level_BO + spare_BO) / (before_BO + spare_BO))
            features.append(growth_BO.clamp(-1, 1) * seen_BO)
        features.append(torch.log((base_BO + 1e-3) / (scale_BO + 1e-3)).clamp(-3, 3) / 2 * known_BO)
    return torch.stack(features, dim=2)


def prior_level(sums: GroupSums, ends_BW: Tensor, config: ModelConfig) -> Tensor:
    """(B, W) units per period to be expected of a series whose own history says nothing.

    The level of its department, times how much more its item sells than the department, times how much
    more the department sells at its location; a group with little history counts for little, one without
    for nothing. Of a department that nobody has sold yet the whole location tells how much more it sells.
    """
    n = config.scale * config.patch

    def shrunk(g: int, towards_BW: Tensor) -> Tensor:
        total_BW, count_BW = _total(sums, g, ends_BW, n)
        return (total_BW + PRIOR * towards_BW) / (count_BW + PRIOR)

    total_BW, count_BW = _total(sums, ALL, ends_BW, n)
    all_BW = total_BW / count_BW.clamp(min=1)
    department_BW = shrunk(DEPARTMENT, all_BW)
    size_BW = shrunk(LOCATION, all_BW) / all_BW.clamp(min=1e-6)
    new_BW = _total(sums, DEPARTMENT, ends_BW, n)[1] <= 0
    expected_BW = torch.where(new_BW & (all_BW > 0), department_BW * size_BW, department_BW)
    item_BW, place_BW = shrunk(ITEM, department_BW), shrunk(PLACE, expected_BW)
    return (item_BW * place_BW / department_BW.clamp(min=1e-6)).float()


def _mean(sums: GroupSums, g: int, end_BO: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Mean over the observed series and periods of the n periods before `end` (exclusive), and whether any
    was."""
    total_BO, count_BO = _total(sums, g, end_BO, n)
    return (total_BO / count_BO.clamp(min=1)).float(), count_BO > 0


def _total(sums: GroupSums, g: int, end_BO: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Demand and number of the observed series and periods of the n periods before `end`, less what is
    hidden."""
    last_BO = end_BO.clamp(0, sums.sum_GT.shape[1] - 1)
    first_BO = (end_BO - n).clamp(0, sums.sum_GT.shape[1] - 1)

    def over(running: Tensor, row_B: Tensor) -> Tensor:
        return running[row_B[:, None], last_BO] - running[row_B[:, None], first_BO]

    group_B, place_B = sums.groups_BG[:, g], sums.groups_BG[:, PLACE]
    total_BO, count_BO = over(sums.sum_GT, group_B), over(sums.count_GT, group_B)
    hidden = sums.hidden
    if hidden is None:
        return total_BO, count_BO
    kind_B1 = hidden.kind_B[:, None]
    # A new location is gone from its department too; of a new item that is next to nothing.
    whole_B1 = (kind_B1 == NEW_PLACE) & (g >= DEPARTMENT)
    place, own = (over(sums.sum_GT, place_B), over(sums.count_GT, place_B)), hidden.past.total(end_BO, n)
    total_BO = total_BO - torch.where(whole_B1, place[0], own[0])
    count_BO = count_BO - torch.where(whole_B1, place[1], own[1])
    there_B1 = kind_B1 != {ITEM: NEW_ITEM, PLACE: NEW_PLACE, LOCATION: NEW_PLACE}.get(g, 0)
    # Less than half a period is what rounding leaves of a series that was alone in its group.
    there_BO = there_B1 & (count_BO > 0.5)
    return total_BO.clamp(min=0) * there_BO, count_BO * there_BO


def identities(panel: Panel, codes_SN: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(K, N) whether a static column is another name of the item (row NEW_ITEM) or of the location (row
    NEW_PLACE): different for different ones. Labels that the model does not know (code 0) do not count."""
    result = np.zeros((NEW_PLACE + 1, codes_SN.shape[1]), np.bool_)
    for kind, labels in ((NEW_ITEM, panel.keys.item), (NEW_PLACE, panel.keys.location)):
        _, number_S = np.unique(labels, return_inverse=True)
        for n in range(codes_SN.shape[1]):
            known_S = codes_SN[:, n] > 0
            code_S, label_S = codes_SN[known_S, n], number_S[known_S]
            n_codes, n_labels = len(np.unique(code_S)), len(np.unique(label_S))
            n_pairs = len(np.unique(np.stack([code_S, label_S]), axis=1).T)
            result[kind, n] = 1 < n_codes == n_labels == n_pairs
    return result
