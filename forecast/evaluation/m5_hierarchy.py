"""M5's 12 levels: which node each series belongs to at each level, and forecasts summed to the nodes.

Letters: S series, N nodes of one level, H horizon, K scenarios, Q quantile levels,
X any columns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Floats, Panel
from forecast.errors import InputError
from forecast.forecasts import Forecasts, scenario_quantiles
from forecast.quantiles import LEVELS

Doubles = NDArray[np.float64]
Index = NDArray[np.intp]

LEVEL_KEYS: Final[tuple[tuple[str, ...], ...]] = (
    (),
    ("state_id",),
    ("store_id",),
    ("cat_id",),
    ("dept_id",),
    ("state_id", "cat_id"),
    ("state_id", "dept_id"),
    ("store_id", "cat_id"),
    ("store_id", "dept_id"),
    ("item_id",),
    ("item_id", "state_id"),
    ("item_id", "store_id"),
)
"""Key columns of the official levels 1 to 12."""
SERIES_PER_CHUNK: Final[int] = 1_000


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level. nodes: (N,) names, sorted. node_S: (S,) the node of each series."""

    number: int
    nodes: NDArray[np.str_]
    node_S: Index

    def total(self, values_SX: NDArray[np.floating]) -> Doubles:
        """Sum rows of series to rows of nodes: (S, X) -> (N, X), accumulated in float64; NaN counts as 0."""
        known_SX = np.where(np.isnan(values_SX), np.zeros((), values_SX.dtype), values_SX)
        return group_sum(known_SX, self.node_S, len(self.nodes))


@dataclass(frozen=True, kw_only=True)
class M5Hierarchy:
    """The 12 levels in the official order; `levels[0]` is the total, `levels[11]` the series themselves."""

    levels: tuple[Level, ...]

    @classmethod
    def from_panel(cls, panel: Panel) -> M5Hierarchy:
        """Read the levels off the panel's keys (item, location = store) and statics (dept, cat, store,
        state).

        Raises InputError when a static is missing or two series share item and store.
        """
        missing = [name for name in ("dept", "cat", "store", "state") if name not in panel.statics]
        if missing:
            raise InputError(
                "statics", expected="dept, cat, store and state", found=f"no {', '.join(missing)}"
            )
        columns = {f"{name}_id": panel.statics[name] for name in ("dept", "cat", "store", "state")}
        columns["item_id"] = panel.keys.item
        levels = tuple(
            _level(number, [columns[key] for key in keys], panel.n_series)
            for number, keys in enumerate(LEVEL_KEYS, 1)
        )
        if len(levels[-1].nodes) != panel.n_series:
            raise InputError(
                "series",
                expected="one per item and store",
                found=f"{len(levels[-1].nodes)} of {panel.n_series}",
            )
        for level in levels[:8]:
            if (_parents(levels[8], level)[levels[8].node_S] != level.node_S).any():
                raise InputError(
                    "statics", expected="one state a store, one category a department", found="several"
                )
        return cls(levels=levels)

    @property
    def n_nodes(self) -> int:
        """Nodes of all levels (42,840 for the whole of M5)."""
        return sum(len(level.nodes) for level in self.levels)

    def totals(self, values_SX: NDArray[np.floating]) -> Iterator[Doubles]:
        """Rows of series summed to each level in turn, (N, X) float64; NaN counts as 0.

        The same as `Level.total` of each level, but sums are reused where one level refines another.
        """
        store_dept, item_state = self.levels[8], self.levels[10]
        sums_NX = store_dept.total(values_SX)
        for level in self.levels[:8]:
            yield group_sum(sums_NX, _parents(store_dept, level), len(level.nodes))
        yield sums_NX
        sums_NX = item_state.total(values_SX)
        yield group_sum(sums_NX, _parents(item_state, self.levels[9]), len(self.levels[9].nodes))
        yield sums_NX
        yield self.levels[11].total(values_SX)


@dataclass(frozen=True, kw_only=True)
class LevelForecasts:
    """Forecasts of one level's nodes: mean_NH (sums of the series' means), quantiles_NHQ at the 17 levels."""

    level: Level
    mean_NH: Doubles
    quantiles_NHQ: Floats


def aggregate(forecasts: Forecasts, hierarchy: M5Hierarchy) -> tuple[LevelForecasts, ...]:
    """Forecasts of every node of every level, in one pass over the series.

    Means are sums of means. Quantiles of levels 1 to 11 are those of the summed joint scenarios; level 12
    keeps the marginal quantiles. Series are expanded in chunks of whole items, so that levels 10 and 11 are
    done chunk by chunk; levels 1 to 8 are sums of level 9. Memory beside the result: about (N of level 9 + a
    chunk) H K floats.
    """
    shape = (forecasts.horizon, len(LEVELS))
    quantiles = [np.zeros((len(level.nodes), *shape), np.float32) for level in hierarchy.levels]
    store_dept = hierarchy.levels[8]
    totals_NX = np.zeros((len(store_dept.nodes), forecasts.horizon * forecasts.n_scenarios))
    for rows in _whole_items(hierarchy.levels[9].node_S):
        values_SX = forecasts.scenarios(rows).reshape(len(rows), -1)
        totals_NX += group_sum(values_SX, store_dept.node_S[rows], len(store_dept.nodes))
        for i in (9, 10):
            present, node_S = np.unique(hierarchy.levels[i].node_S[rows], return_inverse=True)
            sums_NX = group_sum(values_SX, node_S, len(present))
            quantiles[i][present] = scenario_quantiles(sums_NX.reshape(len(present), forecasts.horizon, -1))
    for i, level in enumerate(hierarchy.levels[:9]):
        sums_NX = group_sum(totals_NX, _parents(store_dept, level), len(level.nodes))
        quantiles[i] = scenario_quantiles(sums_NX.reshape(len(level.nodes), forecasts.horizon, -1))
    quantiles[11] = forecasts.quantiles_SHQ[np.argsort(hierarchy.levels[11].node_S)]
    return tuple(
        LevelForecasts(level=level, mean_NH=mean_NH, quantiles_NHQ=quantiles_NHQ)
        for level, mean_NH, quantiles_NHQ in zip(
            hierarchy.levels, hierarchy.totals(forecasts.mean_SH), quantiles, strict=True
        )
    )


def group_sum(values_SX: NDArray[np.floating], group_S: Index, n_groups: int) -> Doubles:
    """Sum rows by group: (S, X) and (S,) group numbers -> (n_groups, X) in float64; empty groups are 0."""
    order = np.argsort(group_S, kind="stable")
    present, first = np.unique(group_S[order], return_index=True)
    sums_GX = np.zeros((n_groups, values_SX.shape[1]))
    if len(present) == len(order):  # nothing to sum
        sums_GX[present] = values_SX[order]
        return sums_GX
    # A sum per group is five to twenty times as fast as np.add.reduceat with its cast to float64.
    for group, rows in zip(present, np.split(order, first[1:]), strict=True):
        values_SX[rows].sum(axis=0, dtype=np.float64, out=sums_GX[group])
    return sums_GX


def _level(number: int, columns: Sequence[NDArray[np.str_]], n_series: int) -> Level:
    if not columns:
        return Level(number=number, nodes=np.array(["Total"]), node_S=np.zeros(n_series, np.intp))
    names = columns[0].astype(np.str_)
    for column in columns[1:]:
        names = np.char.add(np.char.add(names, "_"), column.astype(np.str_))
    nodes, node_S = np.unique(names, return_inverse=True)
    return Level(number=number, nodes=nodes, node_S=node_S.astype(np.intp))


def _parents(child: Level, parent: Level) -> Index:
    """(N of child,) the parent's node of each node of the child level."""
    _, first = np.unique(child.node_S, return_index=True)
    return parent.node_S[first]


def _whole_items(item_S: Index) -> Iterator[Index]:
    """Rows of series in chunks of at least SERIES_PER_CHUNK (but the last) that never cut an item in two."""
    order = np.argsort(item_S, kind="stable")
    starts = np.flatnonzero(np.diff(item_S[order], prepend=-1))
    cuts = [0]
    for start in starts:
        if start - cuts[-1] >= SERIES_PER_CHUNK:
            cuts.append(int(start))
    yield from (order[a:b] for a, b in zip(cuts, [*cuts[1:], len(order)], strict=True))
