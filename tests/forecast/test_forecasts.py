"""Scenarios from quantiles and ranks, against the plain way."""

import numpy as np
from panels import make_panel, random_forecasts

from forecast.forecasts import expand, rank_weights, scenario_quantiles, spread
from forecast.quantiles import LEVELS


def test_scenarios_are_the_marginals_values_in_the_order_of_the_ranks():
    forecasts = random_forecasts(make_panel(np.ones((6, 30))), 5, k=20)
    forecasts.quantiles_SHQ[2] = 0.0
    found_SHK = expand(forecasts.mean_SH, forecasts.quantiles_SHQ, forecasts.ranks_SHK)
    for s in range(6):
        for h in range(5):
            values_K = forecasts.quantiles_SHQ[s, h] @ rank_weights(20)
            values_K = values_K * (forecasts.mean_SH[s, h] / values_K.mean()) if s != 2 else values_K
            values_K = values_K if s != 2 else np.full(20, forecasts.mean_SH[s, h])
            np.testing.assert_allclose(found_SHK[s, h], values_K[forecasts.ranks_SHK[s, h]], rtol=1e-5)
    np.testing.assert_allclose(found_SHK.mean(axis=2), forecasts.mean_SH, rtol=1e-5)


def test_a_marginals_values_ascend_and_their_quantiles_are_what_they_came_from():
    forecasts = random_forecasts(make_panel(np.ones((4, 30))), 3, k=200)
    mean_SH = forecasts.quantiles_SHQ.dot(rank_weights(200).mean(axis=1))
    values_SHK = spread(mean_SH, forecasts.quantiles_SHQ, 200)
    assert (np.diff(values_SHK, axis=2) >= 0).all()
    inner = [q for q, level in enumerate(LEVELS) if 0.05 < level < 0.95]
    found_SHQ = scenario_quantiles(values_SHK.astype(np.float64))
    np.testing.assert_allclose(found_SHQ[..., inner], forecasts.quantiles_SHQ[..., inner], rtol=0.03)
