"""Forecasts whose products are made in bf16 are those in float32, to what rounding can move."""

from __future__ import annotations

import pytest
import torch

from forecast.demand.panel import Panel
from forecast.model import ensemble
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import score
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import build_tensors
from tests.forecast.model.conftest import small_config


def test_products_in_bf16_move_means_a_little_and_totals_hardly(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(panel.period)
    schema = FeatureSchema.fit(panel, config.horizon)
    tensors = build_tensors(panel, config, schema, torch.device("cpu"), horizon=config.horizon)
    torch.manual_seed(0)
    network = Ensemble(config, schema)
    with torch.no_grad():  # as far from the start as training would go
        for weight in network.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    found = []
    for fast in (False, True):
        monkeypatch.setattr(ensemble, "has_bf16", lambda _device, fast=fast: fast)
        (part,) = score(network, tensors, panel.n_periods, 1)
        found.append(part)
    plain, quick = found
    assert quick.mean_BOH.dtype == torch.float32
    torch.testing.assert_close(quick.mean_BOH, plain.mean_BOH, rtol=0.05, atol=0.0)
    assert float(quick.mean_BOH.sum()) == pytest.approx(float(plain.mean_BOH.sum()), rel=2e-3)
    spread = float(plain.quantiles_BOHQ.abs().mean())
    assert float((quick.quantiles_BOHQ - plain.quantiles_BOHQ).abs().mean()) < 5e-3 * spread
    assert bool((quick.quantiles_BOHQ.diff(dim=3) >= 0).all())
    assert not torch.equal(quick.mean_BOH, plain.mean_BOH)
