"""Sums of scenarios against a plain loop over all of them."""

import itertools

import numpy as np
import pytest

from forecast.forecasts import scenario_quantiles
from forecast.planning import aggregate as aggregate_module
from forecast.planning.aggregate import aggregate, cell_numbers, combined, group_sums, make_cells

WEEKS = np.array([0, 7, 14])


def never():
    """Somebody waits all the time."""


def numbers(labels):
    return np.unique(labels, return_inverse=True)[1]


@pytest.fixture(scope="module")
def labels(snapshot):
    keys, statics = snapshot.keys, snapshot.statics
    columns = {"item": keys.item, "location": keys.location, "platform": keys.platform, **statics}
    return {name: numbers(values.astype(str)) for name, values in columns.items()}


@pytest.fixture(scope="module")
def cells(snapshot, labels):
    cell_S = cell_numbers([labels[name] for name in ("location", "platform", "city")], snapshot)
    return make_cells(snapshot, cell_S, never)


@pytest.fixture(params=["small chunks", "large chunks"])
def _chunks(request, monkeypatch):
    if request.param == "small chunks":
        monkeypatch.setattr(aggregate_module, "CHUNK_VALUES", 5 * 14 * 20)
        monkeypatch.setattr(aggregate_module, "BLOCK_VALUES", 2 * 14 * 20)


def plain(snapshot, scenarios_SHK, group_S, n_groups, edges):
    """Means (G, T) and scenarios (G, T, K), one series and period at a time."""
    shape = (n_groups, len(edges) - 1)
    mean_GT, sums_GTK = np.zeros(shape), np.zeros((*shape, scenarios_SHK.shape[2]))
    for row, group in enumerate(group_S):
        for t, (start, end) in enumerate(itertools.pairwise(edges)):
            for h in range(start, end):
                if group >= 0:
                    mean_GT[group, t] += float(snapshot.mean_SH[row, h])
                    sums_GTK[group, t] += scenarios_SHK[row, h]
    return mean_GT, sums_GTK


@pytest.mark.usefixtures("_chunks")
@pytest.mark.parametrize("use_cells", [False, True])
@pytest.mark.parametrize(
    ("names", "edges"),
    [
        (["location", "platform"], np.arange(15)),
        (["category"], WEEKS),
        (["item"], np.array([3, 4, 9])),
        (["item", "location", "platform"], np.array([2, 13])),
        ([], np.arange(4, 11)),
    ],
)
def test_groups_are_sums_of_their_series(snapshot, scenarios_SHK, labels, cells, names, edges, use_cells):
    group_S = np.zeros(len(snapshot.keys), np.intp)
    for name in names:
        group_S = combined(group_S, labels[name])
    n_groups = int(group_S.max()) + 1
    found = aggregate(snapshot, group_S, n_groups, edges, cells=cells if use_cells else None, check=never)
    mean_GT, sums_GTK = plain(snapshot, scenarios_SHK, group_S, n_groups, edges)
    np.testing.assert_allclose(found.mean_GT, mean_GT, rtol=1e-12)
    np.testing.assert_allclose(found.quantiles_GTQ, scenario_quantiles(sums_GTK), rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("_chunks")
def test_any_series_in_any_groups(snapshot, scenarios_SHK, labels, cells):
    random = np.random.default_rng(1)
    for n_groups in (1, 2, 5, 40):
        by_cell_S = random.permutation(int(cells.cell_S.max()) + 1)[cells.cell_S] % n_groups
        group_S = np.where(random.random(len(by_cell_S)) < 0.1, -1, by_cell_S)  # a few cells are cut
        blocks = list(group_sums(snapshot, group_S, n_groups, WEEKS, cells=cells, check=never))
        mean_GT, sums_GTK = plain(snapshot, scenarios_SHK, group_S, n_groups, WEEKS)
        found_GTK = np.concatenate([block.scenarios_gTK for block in blocks])
        np.testing.assert_allclose(found_GTK, sums_GTK, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found_GTK.mean(axis=2), mean_GT, rtol=1e-5, atol=1e-5)


def test_parts_add_up_to_the_whole_in_every_scenario(snapshot, labels, cells):
    parts = next(iter(group_sums(snapshot, labels["city"], 2, WEEKS, cells=cells, check=never)))
    whole = next(iter(group_sums(snapshot, 0 * labels["city"], 1, WEEKS, cells=cells, check=never)))
    np.testing.assert_allclose(parts.scenarios_gTK.sum(axis=0), whole.scenarios_gTK[0], rtol=1e-6)


def test_whole_cells_are_looked_up_and_others_expanded(snapshot, labels, cells, monkeypatch):
    expanded = []
    joint = aggregate_module.joint

    def counted(snapshot, rows, first, last):
        expanded.extend(rows.tolist())
        return joint(snapshot, rows, first, last)

    monkeypatch.setattr(aggregate_module, "joint", counted)
    aggregate(snapshot, labels["city"], 2, WEEKS, cells=cells, check=never)
    assert expanded == []
    without_one = labels["city"].copy()
    without_one[10] = -1
    aggregate(snapshot, without_one, 2, WEEKS, cells=cells, check=never)
    assert sorted(expanded) == [row for row in np.flatnonzero(cells.cell_S == cells.cell_S[10]) if row != 10]


def test_cells_take_the_labels_that_fit(snapshot, labels, monkeypatch):
    every = list(labels.values())
    assert cell_numbers(every, snapshot).max() + 1 == 12  # category, city and platform; no shops: 24 > 72 / 4
    monkeypatch.setattr(aggregate_module, "CELL_BYTES", 5 * 4 * 14 * 20)
    assert cell_numbers(every, snapshot).max() + 1 == 4


def test_long_work_stops_when_nobody_waits(snapshot, labels, monkeypatch):
    monkeypatch.setattr(aggregate_module, "CHUNK_VALUES", 1)
    looks = iter(range(3))

    def gone():
        if next(looks) == 2:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        aggregate(snapshot, labels["item"], 9, WEEKS, check=gone)


def test_no_group_is_no_sum(snapshot, cells):
    nobody = np.full(len(snapshot.keys), -1)
    found = aggregate(snapshot, nobody, 0, WEEKS, cells=cells, check=never)
    assert found.mean_GT.shape == (0, 2)
    assert found.quantiles_GTQ.shape == (0, 2, 17)
