"""Surges: where demand will exceed a multiple of its base with some probability.

Letters: S series, K scenarios, U units (single series, or groups of them), N units that surge, n units of a
block; h the periods that are looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.errors import InputError
from forecast.forecasts import Floats, spread
from forecast.planning.aggregate import CHUNK_VALUES, Cells, Check, Doubles, Index, group_sums
from forecast.snapshot import Snapshot
from forecast.snapshot.summary import RECENT


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """What counts as a surge: more than `multiple` times the base, with at least `probability`."""

    multiple: float = 2.0
    probability: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.multiple < np.inf:
            raise InputError("multiple", expected="a number above 0", found=str(self.multiple))
        if not 0 < self.probability <= 1:
            raise InputError("probability", expected="above 0, at most 1", found=str(self.probability))


@dataclass(frozen=True, kw_only=True)
class Surges:
    """N surges, the most extra units first.

    unit_N: the series (row of the snapshot) or group. base_N: its base, units per period. extra_N: expected
    demand beyond the base, in the scenarios where there is any, summed over the surging periods, units.
    surging_Nh: which periods surge. peak_N: the one of the largest mean among them, an index into h;
    peak_mean_N its mean, units; peak_probability_N the probability there of more than the multiple.
    """

    unit_N: Index
    base_N: Floats
    extra_N: Floats
    surging_Nh: NDArray[np.bool_]
    peak_N: Index
    peak_mean_N: Floats
    peak_probability_N: Floats

    def __len__(self) -> int:
        return len(self.unit_N)

    def take(self, order: Index) -> Surges:
        """Some of the surges, in the order given."""
        return Surges(**{name: values[order] for name, values in vars(self).items()})


class Outlook(NamedTuple):
    """Units and their K values of demand in each of h periods, in any order along K, with their means."""

    unit_n: Index
    values_nhK: NDArray[np.floating]
    mean_nh: NDArray[np.floating]


def usual_demand(snapshot: Snapshot) -> Doubles:
    """(S,) what surges are measured by, units per period: the base of each series.

    Where nothing was observed, the median of its forecast: what is new is no surge.
    """
    base_S = snapshot.summary.base_S.astype(np.float64)
    new_S = np.flatnonzero(np.isnan(base_S))
    base_S[new_S] = np.median(snapshot.mean_SH[new_S], axis=1)
    return base_S


def least_base(snapshot: Snapshot) -> float:
    """The least that a base counts as: one unit in the recent window, as in `Summary.ratio_S`, so that what
    hardly ever sold does not look like a surge.
    """
    manifest = snapshot.manifest
    return 1 / min(manifest.n_history, RECENT[manifest.period])


def series_outlooks(
    snapshot: Snapshot, rows_N: Index, first: int, last: int, check: Check
) -> Iterator[Outlook]:
    """Single series in the periods `first` up to, without, `last`.

    A period's probability does not depend on the order of its scenarios, so no rank is read.
    """
    n_scenarios = snapshot.ranks_SHK.shape[2]
    size = max(1, CHUNK_VALUES // ((last - first) * n_scenarios))
    for start in range(0, max(1, len(rows_N)), size):  # once for no series too: the shapes are right then
        check()
        rows = rows_N[start : start + size]
        mean_nh = snapshot.mean_SH[rows, first:last]
        yield Outlook(rows, spread(mean_nh, snapshot.quantiles(rows, last)[:, first:], n_scenarios), mean_nh)


def group_outlooks(
    snapshot: Snapshot,
    group_S: Index,
    n_groups: int,
    periods: tuple[int, int],
    *,
    cells: Cells | None,
    check: Check,
) -> Iterator[Outlook]:
    """Groups of series together, from their joint scenarios; `periods` are the first and the one after the
    last.
    """
    edges_T = np.arange(periods[0], periods[1] + 1)
    for block in group_sums(snapshot, group_S, n_groups, edges_T, cells=cells, check=check):
        unit_n = np.arange(block.first, block.first + len(block.mean_gT))
        yield Outlook(unit_n, block.scenarios_gTK, block.mean_gT)


def find_surges(outlooks: Iterable[Outlook], base_U: Doubles, threshold: Threshold) -> Surges:
    """The surges among the units of one outlook at least; `base_U` is the base of every unit by its number,
    above 0.
    """
    found = [_surges_of(outlook, base_U[outlook.unit_n], threshold) for outlook in outlooks]
    joined = Surges(**{name: np.concatenate([vars(one)[name] for one in found]) for name in vars(found[0])})
    return joined.take(np.argsort(-joined.extra_N, kind="stable"))


def _surges_of(outlook: Outlook, base_n: Doubles, threshold: Threshold) -> Surges:
    with np.errstate(over="ignore"):  # more than a float holds is more than any demand
        limit_n = (threshold.multiple * base_n).astype(outlook.values_nhK.dtype)
    above_nh = np.count_nonzero(outlook.values_nhK > limit_n[:, None, None], axis=2)
    probability_nh = above_nh / outlook.values_nhK.shape[2]
    surging_nh = probability_nh >= threshold.probability
    hit = np.flatnonzero(surging_nh.any(axis=1))
    surging_Nh, mean_Nh, base_N = surging_nh[hit], outlook.mean_nh[hit], base_n[hit]
    base_N11 = base_N[:, None, None].astype(outlook.values_nhK.dtype)
    extra_Nh = np.maximum(outlook.values_nhK[hit] - base_N11, 0).mean(axis=2)
    peak_N = np.where(surging_Nh, mean_Nh, -np.inf).argmax(axis=1)
    at = np.arange(len(hit)), peak_N
    return Surges(
        unit_N=outlook.unit_n[hit],
        base_N=base_N.astype(np.float32),
        extra_N=np.where(surging_Nh, extra_Nh, 0).sum(axis=1).astype(np.float32),
        surging_Nh=surging_Nh,
        peak_N=peak_N,
        peak_mean_N=mean_Nh[at].astype(np.float32),
        peak_probability_N=probability_nh[hit][at].astype(np.float32),
    )
