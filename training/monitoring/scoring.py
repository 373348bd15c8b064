"""A snapshot against what came true since, and against a seasonal naive that knew no more than it.

Series pass through in runs, as in `forecast.demand.shards`; nothing is kept of them but sums.

Letters: S series, H known periods of the horizon.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import STEP, Panel, SeriesKeys
from forecast.demand.shards import PanelShards
from forecast.evaluation.baselines import SeasonalNaive
from forecast.evaluation.metrics import Mask, Scales, scored, statistics
from forecast.evaluation.slices import SEGMENTS, slices
from forecast.forecasts import Floats, Forecasts
from forecast.snapshot.reader import Snapshot
from training.monitoring.tally import ALL, Part, Tally

CHUNK: Final = 8_192
"""Series that are compared at once: bounds the memory."""
KINDS: Final = (*SEGMENTS, "peak", "after peak", "normal")
"""Slices of `forecast.evaluation.slices` that count as segments; events are the snapshot's own."""
WEEK: Final = np.timedelta64(7 * 86_400, "s")
Rows = NDArray[np.intp]


class Comparison:
    """A snapshot as it is compared: n_periods of its horizon are known, n_series of its series were found in
    the store so far."""

    def __init__(self, snapshot: Snapshot, panel: Panel) -> None:
        """`panel`: the store's, or its outline."""
        self.snapshot = snapshot
        self.n_observed = panel.index(snapshot.manifest.origin) + 1
        self.n_periods = known_periods(panel, snapshot.manifest.origin, snapshot.manifest.horizon)
        self.n_series = 0
        self.tally = Tally()
        # A store only ever appends series, so that its snapshots nearly always hold its first ones.
        self._in_order = _begins_with(panel.keys, snapshot.keys)

    @property
    def n_gone(self) -> int:
        """Series that the store does not have (any more), once all runs of series were added."""
        return self.snapshot.manifest.n_series - self.n_series

    def add(self, rows: slice, panel: Panel) -> None:
        """Compare the series `rows` of the store, whose panel this is."""
        in_panel, in_snapshot = self._matching(panel.keys, rows)
        self.n_series += len(in_panel)
        for first in range(0, len(in_panel), CHUNK):
            chosen = slice(first, first + CHUNK)
            self._add(panel.select(in_panel[chosen]), in_snapshot[chosen])

    def _add(self, panel: Panel, rows: Rows) -> None:
        known = panel.until(self.n_observed)
        truth_SH = scored(panel, self.n_observed, self.n_periods)
        nothing = np.full(len(rows), np.nan)
        unscaled = Scales(mse_S=nothing, mae_S=nothing)
        own = statistics(truth_SH, self._forecasts(panel.keys, rows), unscaled)
        naive = statistics(truth_SH, SeasonalNaive(n_scenarios=1)(known, self.n_periods), unscaled)
        self.tally.add(own, naive, dict(self._parts(truth_SH, known, rows)))

    def _matching(self, keys: SeriesKeys, rows: slice) -> tuple[Rows, Rows]:
        """Rows of the same series, in this run of the store's series and in the snapshot."""
        if self._in_order:
            n = max(min(rows.stop, len(self.snapshot.keys)) - rows.start, 0)
            return np.arange(n), np.arange(rows.start, rows.start + n)
        triples = zip(keys.item.tolist(), keys.location.tolist(), keys.platform.tolist(), strict=True)
        place_S = np.array([self.snapshot.index.get(triple, -1) for triple in triples], dtype=np.intp)
        found = np.flatnonzero(place_S >= 0)
        return found, place_S[found]

    def _forecasts(self, keys: SeriesKeys, rows: Rows) -> Forecasts:
        """The published forecasts of the known periods, without scenarios."""
        manifest = self.snapshot.manifest
        return Forecasts(
            period=manifest.period,
            origin=manifest.origin,
            keys=keys,
            mean_SH=self.snapshot.mean_SH[rows, : self.n_periods],
            quantiles_SHQ=self.snapshot.quantiles(rows, self.n_periods),
            ranks_SHK=np.zeros((len(rows), self.n_periods, 0), np.uint8),
        )

    def _parts(self, truth_SH: Floats, known: Panel, rows: Rows) -> Iterator[tuple[Part, Mask]]:
        yield ALL, np.ones((1, 1), bool)
        for name, mask_SH in slices(truth_SH, known).items():
            if name in KINDS:
                yield Part("segment", name), mask_SH
        for platform in np.unique(known.keys.platform).tolist():
            yield Part("platform", str(platform)), (known.keys.platform == platform)[:, None]
        steps = np.arange(self.n_periods) * STEP[known.period] // WEEK
        for week in range(int(steps[-1]) + 1):
            yield Part("week", str(week + 1)), (steps == week)[None, :]
        yield from self._events(rows).items()

    def _events(self, rows: Rows) -> dict[Part, Mask]:
        """The periods of the events that were published with the forecasts, each phase apart."""
        times = self.snapshot.times[: self.n_periods]
        group_S = self.snapshot.group_S[rows]
        masks: dict[Part, Mask] = {}
        for span in self.snapshot.spans:
            during_H = (times >= span.start) & (times < span.end)
            if not during_H.any():
                continue
            phase = "" if span.phase == "day" else f", {span.phase}"
            part = Part("event", f"{span.name}{phase}")
            mask_SH = np.isin(group_S, span.groups)[:, None] & during_H
            masks[part] = masks[part] | mask_SH if part in masks else mask_SH
        return masks


def compare(
    shards: PanelShards, snapshots: Sequence[Snapshot], advance: Callable[[float], None]
) -> list[Comparison]:
    """Compare snapshots with a store that has their period and some demand after their origins.

    `advance` is told of each run of series that is done with a snapshot.
    """
    found = [Comparison(snapshot, shards.outline) for snapshot in snapshots]
    for rows, panel in shards:
        for one in found:
            one.add(rows, panel)
            advance(1)
    return found


def known_periods(panel: Panel, origin: np.datetime64, horizon: int) -> int:
    """Periods of a horizon that the store reaches, at least 0."""
    return max(min(horizon, panel.n_periods - panel.index(origin) - 1), 0)


def _begins_with(keys: SeriesKeys, first: SeriesKeys) -> bool:
    """Whether the first series of `keys` are those of `first`, row for row."""
    n = len(first)
    return len(keys) >= n and all(
        np.array_equal(getattr(first, name), getattr(keys, name)[:n])
        for name in ("item", "location", "platform")
    )
