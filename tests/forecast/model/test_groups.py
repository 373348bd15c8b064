"""Levels of groups against plain means over the series and periods of a group."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from forecast.demand.panel import Panel
from forecast.model.groups import (
    FEATURED,
    GROWTH_SPANS,
    NEW_ITEM,
    SPANS,
    WIDTH,
    group_course,
    group_levels,
    identities,
    series_groups,
)
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import build_tensors
from tests.forecast.model.conftest import small_config
from tests.forecast.model.test_windows import in_stock, seen, without_spikes
from tests.support.panels import make_panel


def test_groups_are_the_item_everywhere_and_the_department_of_a_location(panel: Panel) -> None:
    groups = series_groups(panel)
    first = next(iter(panel.statics.values()))
    for s in range(panel.n_series):
        same_item = panel.keys.item == panel.keys.item[s]
        same_place = (panel.keys.location == panel.keys.location[s]) & (first == first[s])
        np.testing.assert_array_equal(groups[:, 0] == groups[s, 0], same_item)
        np.testing.assert_array_equal(groups[:, 1] == groups[s, 1], same_place)
        np.testing.assert_array_equal(groups[:, 2] == groups[s, 2], first == first[s])
    assert not set(groups[:, 0]) & set(groups[:, 1])
    assert len(set(groups[:, 3])) == 1


def test_levels_of_groups_are_those_of_a_plain_loop(panel: Panel) -> None:
    config = small_config(panel.period)
    tensors = build_tensors(
        panel, config, FeatureSchema.fit(panel, config.horizon), torch.device("cpu"), horizon=0
    )
    recent, year = min(8 * config.patch, panel.n_periods), min(config.year, panel.n_periods)
    demand = np.stack([without_spikes(in_stock(panel, s), recent, year) for s in range(panel.n_series)])
    share = np.stack([seen(panel, s) for s in range(panel.n_series)])
    groups = series_groups(panel)
    series, scale, n = [0, 4, 9], 1.7, 6
    back = torch.arange(config.year // config.patch + max(SPANS) + n, -1, -1)
    grid = (panel.n_periods - 3 - config.patch * back)[None]
    course = group_course(tensors.group_sum_GT, tensors.group_count_GT, tensors.groups_SG[series], grid)
    found = group_levels(course, torch.full((3, n), scale), config)
    ends = grid[0, -n:].tolist()

    def mean(group: int, end: int, n: int) -> float | None:
        rows, past = (groups == group).any(axis=1), slice(max(end - n, 0), max(end, 0))
        count = float(share[rows, past].sum())
        return float(np.nansum(demand[rows, past])) / max(count, 1) if count else None

    for b, s in enumerate(series):
        for o, end in enumerate(ends):
            for g, group in enumerate(groups[s, list(FEATURED)]):
                base = mean(group, end, config.scale * config.patch) or 0.0
                spare = 0.05 * base + 1e-3
                expected = []
                for span in SPANS:
                    level = mean(group, end, span * config.patch)
                    expected.append(0.0 if level is None else math.log((level + spare) / (base + spare)))
                for span in GROWTH_SPANS:
                    level = mean(group, end, span * config.patch) or 0.0
                    before = mean(group, end - config.year, span * config.patch)
                    growth = 0.0 if before is None else math.log((level + spare) / (before + spare))
                    expected.append(min(max(growth, -1), 1))
                expected.append(min(max(math.log((base + 1e-3) / (scale + 1e-3)), -3), 3) / 2)
                part = found[b, o, g * WIDTH : (g + 1) * WIDTH].tolist()
                assert part == pytest.approx(expected, abs=1e-3)


def test_new_items_with_labels_unknown_do_not_blind_what_is_hidden() -> None:
    """With two items that the model does not know (code 0), the item column still names the item."""
    items = [f"item{i // 2}" for i in range(12)]
    panel = make_panel(np.ones((12, 30)), items=items, locations=["a", "b"] * 6)
    codes = np.maximum(np.arange(12)[:, None] // 2 - 1, 0)
    assert len({item for item, code in zip(items, codes[:, 0], strict=True) if code == 0}) == 2
    assert identities(panel, codes)[NEW_ITEM, 0]
    assert not identities(panel, np.minimum(codes, 2))[NEW_ITEM, 0]
