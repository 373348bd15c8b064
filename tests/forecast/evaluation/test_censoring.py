"""Days sold out on purpose."""

from __future__ import annotations

import numpy as np
import pytest

from forecast.errors import InputError
from forecast.evaluation.censoring import censor
from tests.support.panels import make_panel


def days(n_series: int = 3, n_days: int = 200) -> np.ndarray:
    hours = np.zeros((n_series, n_days, 24), np.float32)
    hours[:, :, 6:22] = np.random.default_rng(0).poisson(1.0, (n_series, n_days, 16))
    return hours


def test_cut_days_keep_the_sales_before_the_cut_and_all_others_stay() -> None:
    hours = days()
    natural = np.zeros(hours.shape[:2])
    natural[0, :50] = 0.3
    panel = make_panel(hours.sum(2), stocked_out_ST=natural)
    profile = np.full((3, 24), 1 / 16)
    profile[:, :6] = profile[:, 22:] = 0
    found = censor(panel, hours, profile, share=0.3, rng=np.random.default_rng(1))
    assert not found.chosen_ST[0, :50].any()
    assert (found.cut_ST <= found.chosen_ST).all()
    assert 0.2 < found.chosen_ST[1:].mean() < 0.4
    assert 0.5 < found.cut_ST.sum() / found.chosen_ST.sum() < 1
    stocked_out = found.panel.stocked_out_ST
    assert stocked_out is not None
    np.testing.assert_array_equal(found.panel.demand_ST[~found.cut_ST], panel.demand_ST[~found.cut_ST])
    np.testing.assert_allclose(stocked_out[~found.cut_ST], natural[~found.cut_ST])
    for s, t in zip(*np.nonzero(found.cut_ST), strict=True):
        n_hidden = round(float(stocked_out[s, t]) * 16)
        assert 1 <= n_hidden <= 15
        assert found.panel.demand_ST[s, t] == hours[s, t, : 22 - n_hidden].sum()


def test_the_same_seed_cuts_the_same_days() -> None:
    hours = days()
    panel, profile = make_panel(hours.sum(2)), np.full((3, 24), 1 / 24)
    first, second = (censor(panel, hours, profile, share=0.5, rng=np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first.cut_ST, second.cut_ST)
    np.testing.assert_array_equal(first.panel.demand_ST, second.panel.demand_ST)


def test_hours_of_other_days_are_refused() -> None:
    hours = days()
    with pytest.raises(InputError, match="hours"):
        censor(
            make_panel(hours.sum(2)), hours[:, 1:], np.ones((3, 24)), share=0.5, rng=np.random.default_rng(0)
        )
