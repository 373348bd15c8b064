"""Groups of series whose common course tells more than one thin series can: an item over all locations, a
department of a location, a department, everything.

Letters: S series, T observed periods, G groups a series is in, B windows, O origins, J ends a patch apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from forecast.demand.panel import Panel
from forecast.model.config import ModelConfig
from forecast.model.past import Course

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
    """What windows act as if it had no history (OWN, NEW_ITEM, NEW_PLACE; 0: nothing), and what their series
    did at the same ends."""

    kind_B: Tensor
    own: Course


class GroupCourse(NamedTuple):
    """Running sums of the groups of some windows, of all kinds, at J ends a patch apart, oldest first.

    sum_BGJ: demand; count_BGJ: series and periods seen; float64. gone_BG: groups that the window acts as if
    they had no history at all; None where nothing is hidden. What is hidden is taken out of the sums.
    """

    sum_BGJ: Tensor
    count_BGJ: Tensor
    gone_BG: Tensor | None = None

    def select(self, groups: list[int]) -> GroupCourse:
        """Some kinds of groups."""
        gone_BG = None if self.gone_BG is None else self.gone_BG[:, groups]
        return GroupCourse(self.sum_BGJ[:, groups], self.count_BGJ[:, groups], gone_BG)

    def totals(self, n: int, span: int, before: int = 0) -> tuple[Tensor, Tensor]:
        """(B, G, n) demand and number of what was seen in the `span` patches before each of the last n ends,
        or before those `before` patches earlier."""
        stop = self.sum_BGJ.shape[2] - before
        last, first = slice(stop - n, stop), slice(stop - n - span, stop - span)
        total_BGn = (self.sum_BGJ[:, :, last] - self.sum_BGJ[:, :, first]).float()
        count_BGn = (self.count_BGJ[:, :, last] - self.count_BGJ[:, :, first]).float()
        if self.gone_BG is None:
            return total_BGn, count_BGn
        # Less than half a period is what rounding leaves of a series that was alone in its group.
        there_BGn = ~self.gone_BG[:, :, None] & (count_BGn > 0.5)
        return total_BGn.clamp(min=0) * there_BGn, count_BGn * there_BGn


def group_course(
    sum_GT: Tensor, count_GT: Tensor, groups_BG: Tensor, ends_BJ: Tensor, hidden: Hidden | None = None
) -> GroupCourse:
    """Read the running sums (groups, T + 1) of the groups that some series are in.

    ends_BJ: (B, J), or (1, J) where windows end together.
    """
    end_B1J = ends_BJ.clamp(0, sum_GT.shape[1] - 1)[:, None]
    sum_BGJ = sum_GT[groups_BG[:, :, None], end_B1J]
    count_BGJ = count_GT[groups_BG[:, :, None], end_B1J]
    if hidden is None:
        return GroupCourse(sum_BGJ, count_BGJ)
    kind_B, own = hidden
    # A new location is gone from its department too; of a new item that is next to nothing.
    wider_G = torch.arange(groups_BG.shape[1], device=kind_B.device) >= DEPARTMENT
    whole_BG1 = ((kind_B == NEW_PLACE)[:, None] & wider_G)[:, :, None]
    hidden_B11 = (kind_B > 0)[:, None, None]
    sum_BGJ = sum_BGJ - hidden_B11 * torch.where(whole_BG1, sum_BGJ[:, PLACE, None], own.level_BJ[:, None])
    count_BGJ = count_BGJ - hidden_B11 * torch.where(
        whole_BG1, count_BGJ[:, PLACE, None], own.count_BJ[:, None]
    )
    gone_KG = torch.zeros(NEW_PLACE + 1, groups_BG.shape[1], dtype=torch.bool, device=kind_B.device)
    gone_KG[NEW_ITEM, ITEM] = gone_KG[NEW_PLACE, PLACE] = gone_KG[NEW_PLACE, LOCATION] = True
    return GroupCourse(sum_BGJ, count_BGJ, gone_KG[kind_B])


def group_levels(course: GroupCourse, scale_BO: Tensor, config: ModelConfig) -> Tensor:
    """(B, O, G * WIDTH) levels of each group at each origin, the last ends of the course; means per series
    and period.

    Log ratios of its trailing means to its own scale, of its recent means to those a year before, and of its
    scale to the series'.
    """
    n, year = scale_BO.shape[1], config.year // config.patch
    course = course.select(list(FEATURED))

    def mean(span: int, before: int = 0) -> tuple[Tensor, Tensor]:
        total_BGO, count_BGO = course.totals(n, span, before)
        return total_BGO / count_BGO.clamp(min=1), count_BGO > 0

    base_BGO, known_BGO = mean(config.scale)
    spare_BGO = 0.05 * base_BGO + 1e-3
    features = []
    for span in SPANS:
        level_BGO, seen_BGO = mean(span)
        features.append(torch.log((level_BGO + spare_BGO) / (base_BGO + spare_BGO)) * seen_BGO)
    for span in GROWTH_SPANS:
        level_BGO, _ = mean(span)
        before_BGO, seen_BGO = mean(span, year)
        growth_BGO = torch.log((level_BGO + spare_BGO) / (before_BGO + spare_BGO))
        features.append(growth_BGO.clamp(-1, 1) * seen_BGO)
    ratio_BGO = torch.log((base_BGO + 1e-3) / (scale_BO[:, None] + 1e-3))
    features.append(ratio_BGO.clamp(-3, 3) / 2 * known_BGO)
    return torch.stack(features, dim=3).transpose(1, 2).flatten(2)


def prior_level(course: GroupCourse, n: int, config: ModelConfig) -> Tensor:
    """(B, n) units per period to be expected, at the last n ends, of a series whose own history says nothing.

    The level of its department, times how much more its item sells than the department, times how much
    more the department sells at its location; a group with little history counts for little, one without
    for nothing. Of a department that nobody has sold yet the whole location tells how much more it sells.
    """
    total_BGn, count_BGn = course.totals(n, config.scale)

    def shrunk(g: int, towards_Bn: Tensor) -> Tensor:
        return (total_BGn[:, g] + PRIOR * towards_Bn) / (count_BGn[:, g] + PRIOR)

    all_Bn = total_BGn[:, ALL] / count_BGn[:, ALL].clamp(min=1)
    department_Bn = shrunk(DEPARTMENT, all_Bn)
    size_Bn = shrunk(LOCATION, all_Bn) / all_Bn.clamp(min=1e-6)
    new_Bn = count_BGn[:, DEPARTMENT] <= 0
    expected_Bn = torch.where(new_Bn & (all_Bn > 0), department_Bn * size_Bn, department_Bn)
    item_Bn, place_Bn = shrunk(ITEM, department_Bn), shrunk(PLACE, expected_Bn)
    return item_Bn * (place_Bn / department_Bn.clamp(min=1e-6))


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
