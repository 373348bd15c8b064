"""Stock-outs: what was seen, and what the rest may have been."""

from __future__ import annotations

import numpy as np
import torch

from forecast.model.losses import forecast_loss
from forecast.model.network import Distribution
from forecast.model.stockouts import complete, purchase_size, recover, recovered_mean, seen_demand
from forecast.quantiles import LEVELS, MEDIAN
from tests.support.panels import make_panel

NAN = np.nan


def quantiles(*rows: float) -> torch.Tensor:
    """Poisson-like quantiles around each row's level."""
    normal = torch.distributions.Normal(0.0, 1.0).icdf(torch.tensor(LEVELS))
    level = torch.tensor(rows)[:, None]
    return (level + level.sqrt() * normal).clamp(min=0)


def test_demand_times_what_was_seen_is_the_sales() -> None:
    panel = make_panel([[4, 3, 2, 5, NAN]], stocked_out_ST=np.array([[0, 0.25, 1, 0.95, 0]]))
    demand_ST, seen_ST = seen_demand(panel)
    np.testing.assert_allclose(seen_ST, [[1, 0.75, 0, 0, 0]])
    np.testing.assert_allclose(demand_ST, [[4, 4, 2, 5, 0]])


def test_a_panel_without_stock_is_seen_where_it_has_demand() -> None:
    demand_ST, seen_ST = seen_demand(make_panel([[1, NAN, 0]]))
    np.testing.assert_array_equal(seen_ST, [[1, 0, 1]])
    np.testing.assert_array_equal(demand_ST, [[1, 0, 0]])


def test_a_level_from_sales_over_seen_shares_is_not_that_of_quiet_days() -> None:
    """Shelves that run empty on busy days leave quiet days in stock; the ratio of sums sees through it."""
    generator = np.random.default_rng(0)
    hours_TH = generator.poisson(0.5, (20_000, 16))
    sold_TH = np.minimum(hours_TH.cumsum(1), 8)
    empty_TH = np.concatenate([np.zeros((20_000, 1), bool), sold_TH[:, :-1] >= 8], axis=1)
    sales_T = sold_TH[:, -1].astype(np.float32)
    panel = make_panel(sales_T[None], stocked_out_ST=empty_TH.mean(1)[None])
    demand_ST, seen_ST = seen_demand(panel)
    assert sales_T[~empty_TH.any(1)].mean() < 0.9 * 8
    assert abs((demand_ST * seen_ST).sum() / seen_ST.sum() / 8 - 1) < 0.03


def test_recovered_demand_lies_between_sales_and_what_the_forecast_expects_of_the_rest() -> None:
    forecast = quantiles(10.0, 10.0, 10.0, 10.0)
    sales, out = torch.tensor([5.0, 5.0, 9.0, 0.0]), torch.tensor([0.5, 0.1, 0.1, 1.0])
    mean_N = recover(forecast, sales, out, 1.0).mean_N
    assert 9 < mean_N[0] < 11
    assert 5 < mean_N[1] < 7.5
    assert 9 < mean_N[2] < 10.7
    assert abs(mean_N[3] - 10) < 0.2


def test_recovery_agrees_with_the_conjugate_posterior() -> None:
    """Poisson demand seen in part: what is missing is Poisson of the missing share, whatever was sold."""
    generator = np.random.default_rng(1)
    demand_N = generator.poisson(20.0, 4000)
    sales_N = generator.binomial(demand_N, 0.6)
    forecast = torch.tensor(np.quantile(demand_N, LEVELS), dtype=torch.float32).expand(4000, -1)
    mean_N = recover(forecast, torch.tensor(sales_N).float(), torch.full((4000,), 0.4), 1.0).mean_N
    assert abs(float(mean_N.mean()) / demand_N.mean() - 1) < 0.01
    np.testing.assert_allclose(mean_N.numpy().mean(), sales_N.mean() + 8.0, rtol=0.02)


def test_sales_above_all_quantiles_are_the_demand() -> None:
    found = recover(quantiles(1.0), torch.tensor([50.0]), torch.tensor([0.5]), 1.0)
    assert float(found.mean_N) == 50.0
    assert torch.isfinite(found.probability_NQ).all()


def test_a_purchase_is_a_low_quantile_of_demand_in_stock() -> None:
    assert purchase_size(torch.arange(0.0, 101.0)) == 10
    assert purchase_size(torch.zeros(3)) == 1


def test_only_counted_periods_that_sold_out_are_completed() -> None:
    torch.manual_seed(0)
    demand = torch.tensor([[[4.0, 4.0, 4.0]]])
    counted, out = torch.tensor([[[1.0, 1.0, 0.0]]]), torch.tensor([[[0.0, 0.6, 0.6]]])
    drawn, expected = complete(quantiles(10.0).expand(1, 1, 3, -1), demand, counted, out)
    assert drawn[0, 0, [0, 2]].tolist() == expected[0, 0, [0, 2]].tolist() == [4.0, 4.0]
    assert drawn[0, 0, 1] >= 4
    assert 8 < expected[0, 0, 1] < 12


def test_training_on_cut_sales_finds_the_demand() -> None:
    """The loss of censored sales has its least at the demand; that of sales as they stand falls short."""
    torch.manual_seed(0)
    demand_N = torch.poisson(torch.full((4000,), 12.0))
    out_N = torch.where(torch.rand(4000) < 0.5, 0.4, 0.0)
    sales_N = torch.where(out_N > 0, torch.binomial(demand_N, torch.full((4000,), 0.6)), demand_N)

    def fitted(stocked_out_N: torch.Tensor | None) -> tuple[float, float]:
        raw = torch.cat([torch.tensor([2.0, 5.0]), torch.full((len(LEVELS) - 1,), -0.5)]).requires_grad_()
        optimizer = torch.optim.Adam([raw], lr=0.05)
        for step in range(400):
            optimizer.param_groups[0]["lr"] = 0.05 * (1 - step / 400)
            steps = torch.cat([raw[1:2], torch.nn.functional.softplus(raw[2:])]).cumsum(0)
            forecast = Distribution(
                raw[0].exp().expand(1, 1, 4000), steps.expand(1, 1, 4000, -1), torch.ones(1, 1)
            )
            shaped = None if stocked_out_N is None else stocked_out_N[None, None]
            loss = forecast_loss(forecast, sales_N[None, None], torch.ones(1, 1, 4000), shaped)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return float(raw[0].detach().exp()), float(steps[MEDIAN].detach())

    mean, median = fitted(out_N)
    assert abs(mean / 12 - 1) < 0.02
    assert abs(median / 12 - 1) < 0.04
    assert fitted(None)[0] < 0.85 * 12


def test_recovered_mean_takes_arrays() -> None:
    mean_N = recovered_mean(
        quantiles(10.0).numpy(), np.array([5.0], np.float32), np.array([0.5], np.float32), np.ones(9)
    )
    assert 9 < mean_N[0] < 11
