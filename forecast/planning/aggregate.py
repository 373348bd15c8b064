"""Sums of joint scenarios: the demand of groups of series together, over runs of periods.

Letters: S series, H horizon, K scenarios, Q quantile levels, G groups, g the groups of a block, T runs of
periods in time, C cells, N some of the series or cells, n those of a chunk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from forecast.forecasts import Floats, expand, scenario_quantiles
from forecast.quantiles import LEVELS
from forecast.snapshot import Snapshot

Doubles = NDArray[np.float64]
Index = NDArray[np.intp]
Numbers = NDArray[np.integer]
Check = Callable[[], None]
"""Called between pieces of long work; raises when nobody waits for it any more."""

CHUNK_VALUES: Final = 1 << 20
"""Scenario values expanded at once: some 16 MB, and a few milliseconds between two checks."""
BLOCK_VALUES: Final = 1 << 22
"""Scenario values of a block of groups: 32 MB."""
CELL_BYTES: Final = 64 << 20
"""Memory that the sums of all cells may take."""
SERIES_PER_CELL: Final = 4
"""Fewer series in a cell, on average, are as quick to expand as to look up."""


class Block(NamedTuple):
    """Neighbouring groups from number `first` on: scenarios and means of their T sums, units."""

    first: int
    scenarios_gTK: Doubles
    mean_gT: Doubles


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Demand of G groups in T runs of periods, units.

    mean_GT: the sums of the series' means. quantiles_GTQ: at LEVELS, of the sums of the joint scenarios.
    """

    mean_GT: Doubles
    quantiles_GTQ: Floats


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Sums made once, for questions whose groups are unions of cells.

    cell_S: the cell of each series. order_S: the series ordered by cell; start_C: where each cell begins
    there. scenarios_CHK, mean_CH: demand of each cell, units.
    """

    cell_S: Index
    order_S: Index
    start_C: Index
    scenarios_CHK: Floats
    mean_CH: Doubles

    def whole(self, group_S: Index) -> tuple[Index, Index]:
        """The group of each cell (C,) all of whose series are in one group, else -1; and the groups (S,)
        without the series of these cells.
        """
        ordered_S = group_S[self.order_S]
        lowest_C = np.minimum.reduceat(ordered_S, self.start_C)
        highest_C = np.maximum.reduceat(ordered_S, self.start_C)
        group_C = np.where(lowest_C == highest_C, lowest_C, -1)
        return group_C, np.where(group_C[self.cell_S] >= 0, -1, group_S)


def cell_numbers(labels: Sequence[Numbers], snapshot: Snapshot) -> Index:
    """(S,) cells: the combinations of as many labels (each (S,) numbers) as `CELL_BYTES` and
    `SERIES_PER_CELL` allow, those of few values first.
    """
    n_series, horizon, n_scenarios = snapshot.ranks_SHK.shape
    most = min(n_series // SERIES_PER_CELL, CELL_BYTES // (4 * horizon * n_scenarios))
    cell_S: Index = np.zeros(n_series, np.intp)
    for label_S in sorted(labels, key=lambda numbers: int(numbers.max())):
        wider_S = combined(cell_S, label_S)
        if int(wider_S.max()) < most:
            cell_S = wider_S
    return cell_S


def combined(first_S: Numbers, second_S: Numbers) -> Index:
    """(S,) numbers 0, 1, ... of the pairs of two numbers that occur, by the first, then the second."""
    pair_S = first_S.astype(np.int64) * (int(second_S.max(initial=0)) + 1) + second_S
    number_S: Index = np.unique(pair_S, return_inverse=True)[1]
    return number_S


def make_cells(snapshot: Snapshot, cell_S: Index, check: Check) -> Cells:
    """Sum the scenarios of every cell; `cell_S` numbers the cells 0, 1, ... without a gap."""
    n_cells = int(cell_S.max()) + 1
    order_S, bounds = by_group(cell_S, n_cells)
    _, horizon, n_scenarios = snapshot.ranks_SHK.shape
    scenarios_CHK = np.empty((n_cells, horizon, n_scenarios), np.float32)
    mean_CH = np.empty((n_cells, horizon))
    for block in group_sums(snapshot, cell_S, n_cells, np.arange(horizon + 1), check=check):
        of_block = slice(block.first, block.first + len(block.mean_gT))
        scenarios_CHK[of_block] = block.scenarios_gTK
        mean_CH[of_block] = block.mean_gT
    return Cells(
        cell_S=cell_S, order_S=order_S, start_C=bounds[:-1], scenarios_CHK=scenarios_CHK, mean_CH=mean_CH
    )


def aggregate(
    snapshot: Snapshot,
    group_S: Index,
    n_groups: int,
    edges_T: Index,
    *,
    cells: Cells | None = None,
    check: Check,
) -> Sums:
    """The demand of groups together; see `group_sums` for the parameters. Memory beside the result is
    bounded.
    """
    n_sums = len(edges_T) - 1
    mean_GT = np.empty((n_groups, n_sums))
    quantiles_GTQ = np.empty((n_groups, n_sums, len(LEVELS)), np.float32)
    for block in group_sums(snapshot, group_S, n_groups, edges_T, cells=cells, check=check):
        of_block = slice(block.first, block.first + len(block.mean_gT))
        mean_GT[of_block] = block.mean_gT
        quantiles_GTQ[of_block] = scenario_quantiles(block.scenarios_gTK)
    return Sums(mean_GT=mean_GT, quantiles_GTQ=quantiles_GTQ)


def group_sums(
    snapshot: Snapshot,
    group_S: Index,
    n_groups: int,
    edges_T: Index,
    *,
    cells: Cells | None = None,
    check: Check,
) -> Iterator[Block]:
    """The joint scenarios of groups, block by block, all groups in order.

    group_S: (S,) the group of each series, -1 for none. edges_T: (T + 1,) periods of the horizon, ascending;
    sum t is of the periods edges_T[t] up to, without, edges_T[t + 1]. Series of whole `cells` are not looked
    at; the others are expanded, a chunk at a time. `check` is called before each chunk.
    """
    group_C: Index = np.empty(0, np.intp)
    if cells is not None:
        group_C, group_S = cells.whole(group_S)
    rows_N, bounds_G = by_group(group_S, n_groups)
    cells_N, cell_bounds_G = by_group(group_C, n_groups)
    n_sums, n_scenarios = len(edges_T) - 1, snapshot.ranks_SHK.shape[2]
    size = max(1, BLOCK_VALUES // (n_sums * n_scenarios))
    for first in range(0, max(1, n_groups), size):  # once for no group too: the shapes are right then
        n = min(size, n_groups - first)
        block = Block(first, np.zeros((n, n_sums, n_scenarios)), np.zeros((n, n_sums)))
        if cells is not None:
            _add_cells(block, cells, cells_N, cell_bounds_G, edges_T)
        _add_series(block, snapshot, rows_N, bounds_G, edges_T, check)
        yield block


def by_group(group_S: Index, n_groups: int) -> tuple[Index, Index]:
    """The rows that are in a group, ordered by group, and the (G + 1,) bounds of the groups in them."""
    rows_N = np.flatnonzero(group_S >= 0)
    rows_N = rows_N[np.argsort(group_S[rows_N], kind="stable")]
    return rows_N, np.searchsorted(group_S[rows_N], np.arange(n_groups + 1))


def _add_cells(block: Block, cells: Cells, cells_N: Index, bounds_G: Index, edges_T: Index) -> None:
    periods = slice(edges_T[0], edges_T[-1])
    for g in range(len(block.mean_gT)):
        of_group = cells_N[bounds_G[block.first + g] : bounds_G[block.first + g + 1]]
        for cell in of_group.tolist():
            block.scenarios_gTK[g] += over_time(cells.scenarios_CHK[cell, periods][None], edges_T)[0]
            block.mean_gT[g] += over_time(cells.mean_CH[cell, periods][None], edges_T)[0]


def _add_series(
    block: Block, snapshot: Snapshot, rows_N: Index, bounds_G: Index, edges_T: Index, check: Check
) -> None:
    first, last = int(edges_T[0]), int(edges_T[-1])
    bounds = bounds_G[block.first : block.first + len(block.mean_gT) + 1].tolist()
    size = max(1, CHUNK_VALUES // ((last - first) * snapshot.ranks_SHK.shape[2]))
    g = 0
    for start in range(bounds[0], bounds[-1], size):
        check()
        stop = min(start + size, bounds[-1])
        rows = rows_N[start:stop]
        scenarios_nTK = over_time(joint(snapshot, rows, first, last), edges_T)
        mean_nT = over_time(snapshot.mean_SH[rows, first:last].astype(np.float64), edges_T)
        while g < len(bounds) - 1 and bounds[g] < stop:
            of_group = slice(max(bounds[g], start) - start, min(bounds[g + 1], stop) - start)
            block.scenarios_gTK[g] += scenarios_nTK[of_group].sum(axis=0)
            block.mean_gT[g] += mean_nT[of_group].sum(axis=0)
            if bounds[g + 1] > stop:
                break
            g += 1


def joint(snapshot: Snapshot, rows: Index, first: int, last: int) -> Floats:
    """Joint scenarios (n, last - first, K) of some series in the periods `first` up to, without, `last`."""
    quantiles_nhQ = snapshot.quantiles(rows, last)[:, first:]
    return expand(snapshot.mean_SH[rows, first:last], quantiles_nhQ, snapshot.ranks_SHK[rows, first:last])


def over_time(values_Nh: NDArray[np.floating], edges_T: Index) -> NDArray[np.floating]:
    """Values (N, h, ...) of the periods from edges_T[0] on, summed to (N, T, ...)."""
    if len(edges_T) - 1 == values_Nh.shape[1]:
        return values_Nh
    steps = (edges_T - edges_T[0]).tolist()
    sums = [values_Nh[:, a:b].sum(axis=1) for a, b in pairwise(steps)]
    return np.stack(sums, axis=1)
