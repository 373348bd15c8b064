"""Steps in lanes: the same as in one piece, on any number of threads, and errors that come out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from forecast.demand.simulate import SimulationConfig, simulate
from forecast.model.config import ModelConfig
from forecast.model.ensemble import Ensemble
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import PanelTensors, build_tensors
from training.config import TrainingConfig
from training.feed import Draw, OriginFeed
from training.lanes import LANES, Lanes, cut
from training.module import SurgeModule

MODEL = ModelConfig(
    period="day", horizon=14, origins=24, channels=16, hidden=24, members=2, label_dropout=0.0
)
TRAINING = TrainingConfig(batch=64, precision="float32", device="cpu", cold=0.1)


class Set(NamedTuple):
    """What a step needs."""

    network: Ensemble
    tensors: PanelTensors

    def draw(self) -> Draw:
        return OriginFeed(self.tensors, MODEL, TRAINING, 450).draw()

    def step(self, draw: Draw, *, in_lanes: bool = True) -> tuple[Tensor, list[Tensor | None]]:
        """Loss and gradients of a step of the second member."""
        module = SurgeModule(self.network, self.tensors, TRAINING, lambda: 0.0, in_lanes=in_lanes)
        self.network.zero_grad()
        loss = module.training_step(draw, 1)
        loss.backward()
        return loss.detach(), [parameter.grad for parameter in self.network.parameters()]


@pytest.fixture(scope="module")
def everything() -> Set:
    config = SimulationConfig(n_series=40, n_periods=480, horizon=20, n_locations=4)
    panel = dataclasses.replace(simulate(config).panel, stocked_out_ST=None).until(450)
    schema = FeatureSchema.fit(panel, 14)
    torch.manual_seed(0)
    tensors = build_tensors(panel, MODEL, schema, torch.device("cpu"), horizon=0)
    return Set(Ensemble(MODEL, schema), tensors)


@pytest.fixture
def threads() -> Iterator[None]:
    """Torch's threads as they were, afterwards."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_step_in_lanes_is_the_step_in_one_piece(everything: Set) -> None:
    draw = everything.draw()
    assert len(cut(draw, MODEL.origins)) == LANES
    loss, gradients = everything.step(draw)
    whole, expected = everything.step(draw, in_lanes=False)
    assert float(loss) == pytest.approx(float(whole), rel=1e-5)
    there = [gradient is not None for gradient in gradients]
    assert there == [gradient is not None for gradient in expected]
    assert 0 < sum(there) < len(there), "the first member must have no gradient"
    for one, other in zip(gradients, expected, strict=True):
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.usefixtures("threads")
def test_the_number_of_threads_changes_no_bit(everything: Set) -> None:
    draw, found = everything.draw(), []
    for n in (1, 2, 2):
        torch.set_num_threads(n)
        found.append(everything.step(draw)[1])
    for several in zip(*found, strict=True):
        assert several[0] is several[1] is several[2] is None or all(
            torch.equal(several[0], other) for other in several[1:]
        )


def test_every_window_is_in_one_part_and_random_numbers_in_none_are_the_same(everything: Set) -> None:
    draw = everything.draw()
    parts = cut(draw, MODEL.origins)
    assert torch.equal(torch.cat([part.series_B for part in parts]), draw.series_B)
    assert torch.equal(torch.cat([part.end_B for part in parts]), draw.end_B)
    assert draw.hidden_B is not None
    hidden = [part.hidden_B for part in parts if part.hidden_B is not None]
    assert torch.equal(torch.cat(hidden), draw.hidden_B)
    assert len({part.seed for part in parts}) == len(parts)


def test_a_small_draw_stays_whole(everything: Set) -> None:
    draw = everything.draw()
    small = draw._replace(series_B=draw.series_B[:8], end_B=draw.end_B[:8], hidden_B=None)
    assert cut(small, MODEL.origins) == [small]


def test_what_a_lane_raises_comes_out(everything: Set) -> None:
    def full(draw: Draw) -> tuple[Tensor, Tensor]:
        raise torch.OutOfMemoryError("full")

    with pytest.raises(torch.OutOfMemoryError, match="full"):
        Lanes().loss(cut(everything.draw(), MODEL.origins), full, [])
