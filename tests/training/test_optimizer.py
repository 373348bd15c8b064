"""The optimiser: which weights it makes orthogonal steps for, and that schedules reach all of them."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from forecast.demand.simulate import SimulationConfig, simulate
from forecast.model.config import ModelConfig
from forecast.model.ensemble import Ensemble
from forecast.model.schema import FeatureSchema
from training.optimizer import MixedOptimizer, hidden_matrices

RATE = 0.1


class Net(nn.Module):
    """Two layers, the second of which is the last."""

    def __init__(self) -> None:
        super().__init__()
        self.middle = nn.Linear(6, 6)
        self.out = nn.Linear(6, 2)


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def _optimizer(network: nn.Module) -> MixedOptimizer:
    return MixedOptimizer(network, learning_rate=RATE, weight_decay=0.0)


def test_every_parameter_is_in_one_group() -> None:
    panel = simulate(SimulationConfig(n_series=6, n_periods=420, horizon=20)).panel
    model = ModelConfig(period="day", horizon=7, channels=8, hidden=16, members=2)
    network = Ensemble(model, FeatureSchema.fit(panel, 7))
    listed = [id(one) for group in _optimizer(network).param_groups for one in group["params"]]
    assert sorted(listed) == sorted(id(one) for one in network.parameters())


def test_the_last_layer_embeddings_and_biases_are_no_hidden_matrices() -> None:
    panel = simulate(SimulationConfig(n_series=6, n_periods=420, horizon=20)).panel
    model = ModelConfig(period="day", horizon=7, channels=8, hidden=16)
    network = Ensemble(model, FeatureSchema.fit(panel, 7))
    chosen = {id(one) for one in hidden_matrices(network)}
    names = {name for name, one in network.named_parameters() if id(one) in chosen}
    expected = ("patch_in", "origin_in", "blocks.0.mix", "middle.1")
    assert {f"members.0.{name}.weight" for name in expected} < names
    assert not {name for name in names if "embeddings" in name or ".out." in name or "bias" in name}


def test_a_step_of_a_hidden_matrix_is_as_long_in_every_direction(net: Net) -> None:
    """Even where the gradient is a thousand times as long in one as in another."""
    before = net.middle.weight.detach().clone()
    gradient = torch.diag(torch.logspace(0, -3, 6))
    net.middle.weight.grad = gradient
    _optimizer(net).step()
    lengths = torch.linalg.svdvals(before - net.middle.weight.detach())
    assert lengths.max() / lengths.min() < 4
    assert torch.linalg.svdvals(gradient).max() / torch.linalg.svdvals(gradient).min() > 900


def test_what_has_no_gradient_stays(net: Net) -> None:
    before = {name: one.detach().clone() for name, one in net.named_parameters()}
    net.out.weight.grad = torch.ones_like(net.out.weight)
    _optimizer(net).step()
    changed = {name for name, one in net.named_parameters() if not torch.equal(one, before[name])}
    assert changed == {"out.weight"}


def test_a_schedule_reaches_both_kinds(net: Net) -> None:
    optimizer = _optimizer(net)
    LambdaLR(optimizer, lambda step: 0.0)
    before = [one.detach().clone() for one in net.parameters()]
    for one in net.parameters():
        one.grad = torch.ones_like(one)
    optimizer.step()
    assert len(optimizer.param_groups) == 2
    assert all(torch.equal(one, old) for one, old in zip(net.parameters(), before, strict=True))
    optimizer.zero_grad()
    assert all(one.grad is None for one in net.parameters())
