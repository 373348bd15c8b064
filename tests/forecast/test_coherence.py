"""Coherence: scenarios of a sum are the sums of scenarios, whatever the series and the days.

Letters: S series, H horizon, K scenarios, N nodes.
"""

import numpy as np
import pytest
from panels import make_panel, random_forecasts

from forecast.evaluation.m5_hierarchy import LEVEL_KEYS, M5Hierarchy, aggregate
from forecast.forecasts import scenario_quantiles

STORES = [(state, f"{state}_{n}") for state in ("CA", "TX", "WI") for n in (1, 2, 3)]
ITEMS = [
    (f"{dept}_{n:03d}", dept, dept.split("_")[0])
    for dept in ("FOODS_1", "FOODS_2", "FOODS_3", "HOBBIES_1", "HOBBIES_2", "HOUSEHOLD_1", "HOUSEHOLD_2")
    for n in range(6)
]
HORIZON = 28
TOLERANCE = 1e-6
"""Of sums of single-precision numbers, relative."""


@pytest.fixture(scope="module")
def panel():
    """378 series of M5's form: 42 items of 7 departments and 3 categories in 9 stores of 3 states."""
    pairs = [(item, store) for item in ITEMS for store in STORES]
    return make_panel(
        np.ones((len(pairs), 60)),
        items=[item[0] for item, _ in pairs],
        locations=[store[1] for _, store in pairs],
        statics={
            "dept": [item[1] for item, _ in pairs],
            "cat": [item[2] for item, _ in pairs],
            "store": [store[1] for _, store in pairs],
            "state": [store[0] for _, store in pairs],
        },
    )


@pytest.fixture(scope="module")
def forecasts(panel):
    """Random marginals and ranks; a few series are zero but for their mean, and a few are dead."""
    made = random_forecasts(panel, HORIZON, k=20)
    made.quantiles_SHQ[5::40] = 0.0
    made.mean_SH[6::40] = 0.0
    made.quantiles_SHQ[6::40] = 0.0
    return made


def total(forecasts, rows, days):
    """(K,) scenarios of the demand of some series over some days."""
    return forecasts.scenarios(rows)[:, days].sum(axis=(0, 1), dtype=np.float64)


def test_a_thousand_groups_and_day_ranges_sum_up(forecasts):
    generator = np.random.default_rng(0)
    n_series = len(forecasts.keys)
    whole_SHK = forecasts.scenarios(slice(None)).astype(np.float64)
    for _ in range(1_000):
        rows = generator.permutation(n_series)[: generator.integers(1, 60)]
        first, last = sorted(generator.integers(0, HORIZON, 2))
        cut, day = generator.integers(0, len(rows) + 1), generator.integers(first, last + 1)
        asked_K = total(forecasts, rows, slice(first, last + 1))
        # The same scenarios, whichever series they are asked for with: any split adds up to the whole.
        parts_K = sum(
            total(forecasts, group, days)
            for group in (rows[:cut], rows[cut:])
            for days in (slice(first, day), slice(day, last + 1))
        )
        np.testing.assert_allclose(parts_K, asked_K, rtol=TOLERANCE)
        np.testing.assert_allclose(
            whole_SHK[rows, first : last + 1].sum(axis=(0, 1)), asked_K, rtol=TOLERANCE
        )
        # And their mean is the sum of the means.
        mean = forecasts.mean_SH[rows, first : last + 1].sum(dtype=np.float64)
        assert asked_K.mean() == pytest.approx(mean, rel=1e-5)


def test_each_of_the_twelve_levels_is_the_sum_of_its_series(panel, forecasts):
    hierarchy = M5Hierarchy.from_panel(panel)
    levels = aggregate(forecasts, hierarchy)
    assert len(levels) == len(LEVEL_KEYS) == 12
    total_HK = forecasts.scenarios(slice(None)).sum(axis=0, dtype=np.float64)
    for one in levels:
        sums_NHK = np.stack(
            [
                forecasts.scenarios(np.flatnonzero(one.level.node_S == node)).sum(axis=0, dtype=np.float64)
                for node in range(len(one.level.nodes))
            ]
        )
        np.testing.assert_allclose(sums_NHK.sum(axis=0), total_HK, rtol=TOLERANCE)
        np.testing.assert_allclose(one.mean_NH, sums_NHK.mean(axis=2), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(one.mean_NH.sum(axis=0), levels[0].mean_NH[0], rtol=TOLERANCE)
        if one.level.number < 12:  # single series keep the quantiles that were forecast
            np.testing.assert_allclose(one.quantiles_NHQ, scenario_quantiles(sums_NHK), rtol=1e-5)
