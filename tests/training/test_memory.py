"""A device without room for a step: fewer windows, or an error that says what was asked for and what
helps."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import training.fit
from forecast.demand.panel import Panel
from forecast.demand.simulate import SimulationConfig, simulate
from forecast.errors import SurgecastError
from forecast.model.config import ModelConfig
from training.config import TrainingConfig
from training.feed import Draw
from training.fit import fit
from training.memory import first_windows, memory_wanted
from training.module import SurgeModule

MODEL = ModelConfig(period="day", horizon=7, origins=6, channels=8, hidden=16)
TRAINING = TrainingConfig(steps=8, epoch_steps=4, batch=32, warmup_steps=2, device="cpu", cold=0.25)
FULL = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB."


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulate(SimulationConfig(n_series=20, n_periods=200, horizon=30, n_locations=2)).panel


def _hiding(draw: Draw) -> int:
    return 0 if draw.hidden_B is None else int((draw.hidden_B > 0).sum())


class Attempt:
    """One try of a step: its number, its windows, those without history, and the weights it began with."""

    def __init__(self, index: int, draw: Draw, module: SurgeModule) -> None:
        self.index, self.windows, self.cold = index, len(draw.series_B), _hiding(draw)
        self.weights = torch.cat([p.detach().flatten().clone() for p in module.network.parameters()])


class Crowded(SurgeModule):
    """A device on which `room` windows fit, in either half of a step."""

    room = 8
    fails = "forward"
    attempts: ClassVar[list[Attempt]]
    optimisers: ClassVar[list[Any]]

    def training_step(self, draw: Draw, batch_idx: int) -> Tensor:
        self.attempts.append(Attempt(batch_idx, draw, self))
        full = len(draw.series_B) > self.room
        if full and self.fails == "forward":
            raise torch.OutOfMemoryError(FULL)
        loss = super().training_step(draw, batch_idx)
        if full:
            loss.register_hook(_fail)
        return loss

    def configure_optimizers(self) -> Any:
        made = super().configure_optimizers()
        self.optimisers.append(made)
        return made


def _fail(_gradient: Tensor) -> None:
    raise torch.OutOfMemoryError(FULL)


@pytest.fixture
def crowded(monkeypatch: pytest.MonkeyPatch) -> type[Crowded]:
    class Fresh(Crowded):
        attempts: ClassVar[list[Attempt]] = []
        optimisers: ClassVar[list[Any]] = []

    monkeypatch.setattr(training.fit, "SurgeModule", Fresh)
    return Fresh


@pytest.mark.parametrize("half", ["forward", "backward"])
def test_a_step_that_does_not_fit_is_done_again_with_fewer_windows(
    panel: Panel, crowded: type[Crowded], half: str, capsys: pytest.CaptureFixture[str]
) -> None:
    crowded.fails = half
    bundle = fit(panel, model=MODEL, training=TRAINING)
    said = capsys.readouterr().err.splitlines()
    assert said == [
        "out of memory on cpu: a step of 32 windows asked for 20.00 MiB more; training goes on with 8 windows"
        " a step"
    ]
    assert [a.windows for a in crowded.attempts] == [32, 16, *[8] * TRAINING.steps]
    assert [a.index for a in crowded.attempts] == [0, 0, *range(TRAINING.steps)]
    first, again, done, after = (a.weights for a in crowded.attempts[:4])
    assert torch.equal(first, again)
    assert torch.equal(first, done)
    assert not torch.equal(first, after)
    assert len(crowded.optimisers) == 1
    assert bundle.facts["steps"] == TRAINING.steps
    assert "stopped" not in bundle.facts
    # The share without history stays a quarter, in the draw that was cut and in those after it.
    assert [a.cold for a in crowded.attempts[:3]] == [8, 4, 2]
    assert {a.cold for a in crowded.attempts[4:]} == {2}


def test_one_window_that_does_not_fit_is_an_error_that_says_what_helps(
    panel: Panel, crowded: type[Crowded], capsys: pytest.CaptureFixture[str]
) -> None:
    crowded.room = 0
    with pytest.raises(SurgecastError) as raised:
        fit(panel, model=MODEL, training=TRAINING)
    message = str(raised.value)
    assert message.startswith(
        "memory of cpu: expected room for a step of one window, found none for the 20.00 MiB"
    )
    assert "a shorter horizon" in message
    assert "training loss" not in message
    assert [a.windows for a in crowded.attempts] == [32, 16, 8, 4, 2, 1]
    assert capsys.readouterr().err == ""


def test_another_error_of_a_step_is_raised_as_it_is(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_arguments: object) -> Tensor:
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(SurgeModule, "training_step", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        fit(panel, model=MODEL, training=TRAINING)


def test_a_panel_that_does_not_fit_is_named(panel: Panel, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_named: object) -> None:
        raise torch.OutOfMemoryError(FULL)

    monkeypatch.setattr(training.fit, "build_tensors", full)
    with pytest.raises(
        SurgecastError, match=r"memory of cpu: expected room for 20.00 MiB more, found none; .*fewer"
    ):
        fit(panel, model=MODEL, training=TRAINING)


PATCHED = """
import torch
from training.module import SurgeModule

def full(*_arguments):
    if torch.distributed.get_rank() == 1:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB.")
    return step(*_arguments)

step, SurgeModule.training_step = SurgeModule.training_step, full
"""


def test_one_of_several_processes_without_room_ends_all_with_its_error(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "sitecustomize.py").write_text(PATCHED)
    monkeypatch.syspath_prepend(str(tmp_path))  # the processes look where this one looks
    with pytest.raises(SurgecastError, match=r"room for 3.00 GiB more, found none; .*--devices 1") as raised:
        fit(panel, model=MODEL, training=dataclasses.replace(TRAINING, devices=2))
    assert "\n" not in str(raised.value)


def test_what_was_asked_for_is_read_from_gpus_and_processors() -> None:
    on_cpu = "DefaultCPUAllocator: can't allocate memory: you tried to allocate 800 bytes. Error code 12"
    assert memory_wanted(torch.OutOfMemoryError(FULL)) == "20.00 MiB"
    assert memory_wanted(RuntimeError(on_cpu)) == "800 bytes"
    assert memory_wanted(torch.OutOfMemoryError("full")) == "an unknown amount"
    assert memory_wanted(RuntimeError("shapes do not match")) is None


def test_a_cut_draw_keeps_its_first_windows() -> None:
    hidden = torch.tensor([1, 0, 0, 0, 2, 0, 0, 0])
    draw = Draw(torch.arange(8), torch.arange(8) + 10, 99, slice(0, 7), hidden)
    cut = first_windows(draw, 4)
    assert (cut.series_B.tolist(), cut.end_B.tolist()) == ([0, 1, 2, 3], [10, 11, 12, 13])
    assert _hiding(cut) == 1
    assert (cut.limit, cut.ahead) == (99, slice(0, 7))
    assert first_windows(draw, 8) is draw
    assert first_windows(draw._replace(hidden_B=None), 4).hidden_B is None
