"""What has to be known of all series before the first is scored: the sums of groups and unions, the prices of
a department, how far the known features reach.

A panel in one piece is packed here and kept; of a larger one each shard is read, added up and let go, and
read again when its turn to be scored comes.

Letters: S series, T observed periods, P periods with known features, A relative features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from forecast.demand.panel import Panel
from forecast.demand.shards import PanelShards, without_numbers
from forecast.model.ahead import one_ahead
from forecast.model.config import ModelConfig
from forecast.model.packing import PackedRows, Totals, pack_known, pack_past
from forecast.model.past import PackedPast
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import PanelTensors, number_series, shared_tensors

Check = Callable[[Panel], None]


@dataclass(frozen=True, kw_only=True)
class Survey:
    """All series of a panel, ready to be scored shard by shard.

    outline: keys, labels, events and axis of all series; its known features tell only in which periods after
        the last any series has a value: 0 there, NaN elsewhere.
    no_history_S: as of a panel. shared: on the processor.
    whole: the panel and its rows where it is in one piece.
    """

    shards: PanelShards
    schema: FeatureSchema
    config: ModelConfig
    horizon: int
    outline: Panel
    no_history_S: NDArray[np.bool_]
    shared: PanelTensors
    whole: tuple[Panel, PackedRows] | None

    def packed(self) -> Iterator[tuple[slice, Panel, PackedRows]]:
        """The shards, first to last; the next is read and packed in a thread while one is used."""
        if self.whole is not None:
            yield slice(0, self.outline.n_series), *self.whole
            return
        yield from one_ahead(self.pack(rows, panel) for rows, panel in self.shards)

    def pack(self, rows: slice, panel: Panel) -> tuple[slice, Panel, PackedRows]:
        """A shard, the panel of the series `rows`, with its rows."""
        known_SPF = pack_known(panel, self.schema, self.horizon)
        return rows, panel, PackedRows(pack_past(panel, self.config), known_SPF)


def survey(
    shards: PanelShards, config: ModelConfig, schema: FeatureSchema, horizon: int, check: Check | None = None
) -> Survey:
    """Look at all series once.

    check: called with the outline of the result; raises an error where features do not reach over the horizon
    (`FeatureSchema.check`, when None).
    Raises InputError where a known feature of the schema is missing, or as `check` does.
    """
    outline = shards.outline
    schema.check(outline, 0)
    numbers = number_series(outline)
    totals = Totals(*numbers, outline.n_periods)
    reach = {name: np.zeros(values.shape[1], np.bool_) for name, values in outline.known.items()}
    prices, no_history = [], []
    last: tuple[Panel, PackedPast] | None = None
    for rows, panel in one_ahead(iter(shards)):
        past = pack_past(panel, config)
        totals.add(rows.start, past)
        prices.append(schema.mean_prices(panel, horizon))
        no_history.append(panel.no_history_S)
        for name, values in panel.known.items():
            reach[name][panel.n_periods :] |= np.isfinite(values[:, panel.n_periods :]).any(axis=0)
        last = (panel, past)
    outline = _reaching(outline, reach)
    (check or (lambda found: schema.check(found, horizon)))(outline)
    whole = None
    if len(shards) == 1 and last is not None:
        panel, past = last
        whole = (panel, PackedRows(past, pack_known(panel, schema, horizon)))
    return Survey(
        shards=shards,
        schema=schema,
        config=config,
        horizon=horizon,
        outline=outline,
        no_history_S=np.concatenate(no_history),
        shared=shared_tensors(outline, config, schema, numbers, totals, np.concatenate(prices)),
        whole=whole,
    )


def _reaching(outline: Panel, reach: dict[str, NDArray[np.bool_]]) -> Panel:
    demand_ST, _ = without_numbers(outline.demand_ST.shape, {})
    known = {
        name: np.broadcast_to(np.where(there_P, 0, np.nan).astype(np.float32), outline.known[name].shape)
        for name, there_P in reach.items()
    }
    return replace(outline, demand_ST=demand_ST, stocked_out_ST=None, known=known)
