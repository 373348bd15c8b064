"""A panel in runs of series is the panel."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from forecast.demand.incoming import Incoming
from forecast.demand.panel import Panel
from forecast.demand.panel_build import PanelReader, build_panel
from forecast.demand.shards import (
    ALIGNED,
    SHARD_BYTES,
    WHOLE_BYTES,
    PanelShards,
    cut,
    outline_of,
    series_bytes,
)
from forecast.demand.simulate import BLOCK, SimulationConfig, simulate, simulated_shards
from forecast.demand.sources.table import no_events
from forecast.demand.store import DemandStore

START = datetime(2024, 1, 1)


def same(found: Panel, expected: Panel) -> None:
    np.testing.assert_array_equal(found.demand_ST, expected.demand_ST)
    assert (found.stocked_out_ST is None) == (expected.stocked_out_ST is None)
    if found.stocked_out_ST is not None:
        np.testing.assert_array_equal(found.stocked_out_ST, expected.stocked_out_ST)
    assert list(found.known) == list(expected.known)
    for name, values in found.known.items():
        np.testing.assert_array_equal(values, expected.known[name])
    for name, labels in found.statics.items():
        np.testing.assert_array_equal(labels, expected.statics[name])
    for name in ("item", "location", "platform"):
        np.testing.assert_array_equal(getattr(found.keys, name), getattr(expected.keys, name))
    np.testing.assert_array_equal(found.events.group_S, expected.events.group_S)
    assert (found.period, found.start, found.data_version) == (
        expected.period,
        expected.start,
        expected.data_version,
    )


def add(store: DemandStore, name: str, kind: str, rng: np.random.Generator, places: str) -> None:
    """An import of random cells of 7 items at some places, rows in any order."""
    keys = [(f"i{n}", place) for n in range(7) for place in places]
    n = 60
    rows = pl.DataFrame(
        {
            "series": rng.integers(0, len(keys), n),
            "time": [START + timedelta(days=int(t)) for t in rng.integers(0, 30, n)],
            "demand": pl.Series(rng.poisson(3, n).astype(np.float32)),
            "stocked_out": pl.Series(rng.random(n).astype(np.float32)),
            "price": pl.Series(rng.random(n).astype(np.float32)),
        }
    ).unique(["series", "time"], maintain_order=True)
    series = pl.DataFrame(
        {
            "item": [item for item, _ in keys],
            "location": [place for _, place in keys],
            "platform": ["p"] * len(keys),
            "colour": [f"{name} {item}" for item, _ in keys],
        }
    )
    store.add(
        Incoming(
            source=name,
            kind=kind,
            period="day",
            hashes=(name,),
            series=series,
            chunks=[rows],
            known=("price",),
            overlaps=True,
        )
    )


@pytest.mark.parametrize("cutoff", [None, np.datetime64("2024-01-20")])
def test_runs_of_the_stores_series_are_those_of_its_panel(tmp_path: Path, cutoff: np.datetime64) -> None:
    store, rng = DemandStore(tmp_path), np.random.default_rng(0)
    add(store, "t", "table", rng, "xy")
    add(store, "o", "orders", rng, "yz")
    whole = build_panel(store, no_events, cutoff=cutoff, horizon=5)
    reader = PanelReader(store, no_events, cutoff=cutoff, horizon=5)
    same(outline_of(whole), reader.outline)
    assert whole.n_series == 21
    for size in (1, 4, 21):
        for first in range(0, 21, size):
            rows = slice(first, min(first + size, 21))
            same(reader.read(rows), whole.select(rows))
    (one,) = [panel for _, panel in reader.shards()]
    same(one, whole)


def test_an_import_meanwhile_does_not_show(tmp_path: Path) -> None:
    store, rng = DemandStore(tmp_path), np.random.default_rng(1)
    add(store, "t", "table", rng, "x")
    reader, before = PanelReader(store, no_events), build_panel(store, no_events)
    add(store, "u", "table", rng, "xy")
    same(reader.read(), before)
    assert build_panel(store, no_events).n_series == 14


def test_simulated_shards_are_the_simulated_panel() -> None:
    config = SimulationConfig(n_series=BLOCK + 70, n_periods=20, horizon=3)
    whole, shards = simulate(config).panel, simulated_shards(config)
    cuts = [slice(0, 40), slice(40, BLOCK - 1), slice(BLOCK - 1, BLOCK + 1), slice(BLOCK + 1, BLOCK + 70)]
    for rows, panel in PanelShards(shards.outline, shards._load, cuts):
        same(panel, whole.select(rows))
    same(outline_of(whole), shards.outline)


@pytest.mark.parametrize("n_series", [1, 1024, 30_490, 100_000, 1_000_000])
@pytest.mark.parametrize("n_bytes", [40, 11_904, 10_000_000])
def test_cuts_cover_all_series_in_bounded_runs(n_series: int, n_bytes: int) -> None:
    found = cut(n_series, n_bytes)
    assert (found[0].start, found[-1].stop) == (0, n_series)
    assert all(one.stop == other.start for one, other in pairwise(found))
    if n_series * n_bytes <= WHOLE_BYTES:
        assert len(found) == 1
        return
    assert all(rows.start % ALIGNED == 0 for rows in found)
    assert max(rows.stop - rows.start for rows in found) * n_bytes <= max(SHARD_BYTES, ALIGNED * n_bytes)


def test_bytes_of_a_series_are_those_of_its_arrays() -> None:
    panel = simulate(SimulationConfig(n_series=5, n_periods=40, horizon=7)).panel
    assert panel.stocked_out_ST is not None
    arrays = [panel.demand_ST, panel.stocked_out_ST, *panel.known.values()]
    known = {name: values.shape[1] for name, values in panel.known.items()}
    assert 5 * series_bytes(40, known, stock=True) == sum(array.nbytes for array in arrays)
