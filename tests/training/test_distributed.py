"""Training in two gloo processes on the CPU, against one process and against a plain average of gradients."""

from __future__ import annotations

import dataclasses
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

import training.fit
from forecast.demand.panel import Panel
from forecast.demand.simulate import SimulationConfig, simulate
from forecast.errors import InputError, SurgecastError
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.forecaster import Forecaster
from training.config import TrainingConfig
from training.distributed import _processes, _wait
from training.feed import Draw, OriginFeed
from training.fit import fit
from training.handover import Job, read_digest, read_error, read_job, write_error, write_job
from training.module import SurgeModule
from training.records import EpochRecord
from training.team import Team

TOLERANCE = 0.03
"""Share by which the validation WQL of two processes may differ from one's: other windows are drawn."""
MODEL = ModelConfig(
    period="day", horizon=14, origins=12, channels=16, hidden=24, members=2, label_dropout=0.0
)
TRAINING = TrainingConfig(
    steps=60, epoch_steps=10, batch=32, warmup_steps=10, members=2, device="cpu", precision="float32"
)
TWO = dataclasses.replace(TRAINING, devices=2)


@pytest.fixture(scope="module")
def panel() -> Panel:
    """49 series, so that the shares of two processes differ."""
    config = SimulationConfig(n_series=49, n_periods=480, horizon=60, n_locations=4)
    return simulate(config).panel.until(450)


class Run(NamedTuple):
    bundle: Bundle
    records: list[EpochRecord]
    digests: list[str]


@pytest.fixture(scope="module")
def both(panel: Panel, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two processes."""
    folder = tmp_path_factory.mktemp("job")
    write_job(folder, Job(panel=panel, model=MODEL, training=TWO, began=time.time()))
    records: list[EpochRecord] = []
    with _processes(folder, 2) as processes:
        _wait(folder, processes, records.append)
    return Run(Bundle.load(folder / "bundle"), records, [read_digest(folder, rank) for rank in range(2)])


@pytest.fixture(scope="module")
def alone(panel: Panel) -> Run:
    """The same in one process."""
    records: list[EpochRecord] = []
    return Run(fit(panel, model=MODEL, training=TRAINING, on_epoch=records.append), records, [])


def test_two_processes_end_with_the_same_weights(both: Run) -> None:
    assert both.digests[0] == both.digests[1]


def test_two_processes_learn_what_one_learns(both: Run, alone: Run) -> None:
    wql = [[r.validation["wql"] for r in run.records if r.stage != "final"] for run in (both, alone)]
    assert len(wql[0]) == len(wql[1])
    assert wql[0][-1] == pytest.approx(wql[1][-1], rel=TOLERANCE)
    assert both.bundle.facts["stage 3_wql"] == pytest.approx(wql[0][-1], rel=1e-4)
    assert [r.step for r in both.records] == [r.step for r in alone.records]
    assert both.bundle.facts["devices"] == 2
    assert "devices" not in alone.bundle.facts


class _Seat(Team):
    """One process of two that exchanges nothing: for a feed alone."""

    def __init__(self, rank: int) -> None:
        self.rank, self.size = rank, 2


def test_two_processes_average_gradients_and_put_scores_together_in_order(
    both: Run, panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow, plain way: one process that draws both halves of the batch and averages their losses."""
    others: list[OriginFeed] = []

    def feed_of_first(*arguments: object) -> OriginFeed:
        others.append(OriginFeed(*arguments[:-1], _Seat(1)))  # type: ignore[arg-type]
        return OriginFeed(*arguments[:-1], _Seat(0))  # type: ignore[arg-type]

    class Plain(SurgeModule):
        def training_step(self, draw: Draw, batch_idx: int) -> Tensor:
            others[0].limit = draw.limit
            halves = (draw, others[0].draw())
            assert halves[0].ahead == halves[1].ahead
            assert [sorted(set((half.series_B % 2).tolist())) for half in halves] == [[0], [1]]
            losses = [SurgeModule.training_step(self, half, batch_idx) for half in halves]
            return torch.stack(losses).mean()

    monkeypatch.setattr(training.fit, "OriginFeed", feed_of_first)
    monkeypatch.setattr(training.fit, "SurgeModule", Plain)
    plain = fit(panel, model=MODEL, training=TRAINING)
    for metric in ("wql", "wape", "bias"):
        name = f"stage 3_{metric}"
        assert both.bundle.facts[name] == pytest.approx(plain.facts[name], abs=5e-4)
    apart = [Forecaster(bundle, "cpu")(panel, 14) for bundle in (both.bundle, plain)]
    np.testing.assert_allclose(apart[0].mean_SH, apart[1].mean_SH, rtol=0.02, atol=0.01)
    # Where the truth fell is drawn at random within a count; the rest of the order of scenarios is the same.
    pairs = [bundle.ranks_SHK.reshape(panel.n_series, -1).astype(float) for bundle in (both.bundle, plain)]
    same = [np.corrcoef(a, b)[0, 1] for a, b in zip(*pairs, strict=True)]
    shifted = [np.corrcoef(a, b)[0, 1] for a, b in zip(pairs[0], np.roll(pairs[1], 1, 0), strict=True)]
    assert np.mean(same) > 0.3
    assert np.mean(same) > np.mean(shifted) + 0.2


def test_a_loss_that_is_no_number_in_one_process_stops_all_with_good_weights(panel: Panel) -> None:
    demand = panel.demand_ST.copy()
    demand[7, 420:] = 1e30  # of the second process's share
    broken = dataclasses.replace(panel, demand_ST=demand, stocked_out_ST=None)
    settings = dataclasses.replace(TWO, steps=200, epoch_steps=5, first_stage=0.3)
    bundle = fit(broken, model=MODEL, training=settings)
    stopped = str(bundle.facts["stopped"])
    assert "training loss: expected a number, found nan at step" in stopped
    assert "the largest losses there: item-" in stopped
    assert 5 <= int(bundle.facts["steps"]) < 200
    assert all(value.isfinite().all() for value in bundle.weights.values())


def test_an_error_in_the_processes_is_raised_here(panel: Panel) -> None:
    wild = dataclasses.replace(TWO, learning_rate=1e30, warmup_steps=1)
    with pytest.raises(SurgecastError, match="training loss: expected a number"):
        fit(panel, model=MODEL, training=wild)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_two_gpus_learn_what_one_process_learns(panel: Panel, alone: Run) -> None:
    bundle = fit(panel, model=MODEL, training=dataclasses.replace(TWO, device="cuda"))
    assert bundle.facts["stage 3_wql"] == pytest.approx(alone.bundle.facts["stage 3_wql"], rel=TOLERANCE)


def test_minutes_end_all_processes_together(panel: Panel) -> None:
    hurried = dataclasses.replace(TWO, steps=100_000, minutes=0.2)
    bundle = fit(panel, model=MODEL, training=hurried)
    assert 1 <= int(bundle.facts["steps"]) < 100_000


def test_a_panel_is_handed_over_whole(panel: Panel, tmp_path: Path) -> None:
    lift_GLE = np.full_like(panel.events.intensity_GLE, 2.0)
    panel = dataclasses.replace(
        panel, events=dataclasses.replace(panel.events, like={"new": "old"}, lift_GLE=lift_GLE)
    )
    job = Job(panel=panel, model=MODEL, training=TWO, began=1.5)
    write_job(tmp_path, job)
    found = read_job(tmp_path)
    assert (found.model, found.training, found.began) == (job.model, job.training, job.began)
    for name, value, expected in _arrays(found.panel, panel):
        np.testing.assert_array_equal(value, expected, err_msg=name)
    for name in ("period", "start", "origin", "data_version"):
        assert getattr(found.panel, name) == getattr(panel, name)
    assert found.panel.events.names == panel.events.names
    assert found.panel.events.like == panel.events.like
    assert list(found.panel.known) == list(panel.known)


def _arrays(found: Panel, expected: Panel) -> Iterator[tuple[str, object, object]]:
    for name in ("demand_ST", "stocked_out_ST"):
        yield name, getattr(found, name), getattr(expected, name)
    for name in ("item", "location", "platform"):
        yield name, getattr(found.keys, name), getattr(expected.keys, name)
    yield "events", found.events.intensity_GLE, expected.events.intensity_GLE
    yield "lifts", found.events.lift_GLE, expected.events.lift_GLE
    yield "groups", found.events.group_S, expected.events.group_S
    for name in expected.known:
        yield name, found.known[name], expected.known[name]
    for name in expected.statics:
        yield name, found.statics[name], expected.statics[name]


def test_errors_keep_their_class_and_words(tmp_path: Path) -> None:
    write_error(tmp_path, 1, InputError("demand", expected="some", found="none"))
    found = read_error(tmp_path, 1)
    assert isinstance(found, InputError)
    assert (found.field, str(found)) == ("demand", "demand: expected some, found none")
    assert read_error(tmp_path, 0) is None


@contextmanager
def small_files() -> Iterator[None]:
    """Files may have 16 KiB, as on a disk that is nearly full (so may the log of the tests)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (16_384, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_room_for_what_is_handed_over_names_the_folder(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with small_files(), pytest.raises(SurgecastError) as raised:
        fit(panel, model=MODEL, training=TWO)
    message = str(raised.value)
    assert message.startswith(f"temporary folder: expected room in {tmp_path} for the panel")
    assert "TMPDIR" in message
    assert "\n" not in message
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_that_is_not_there_is_named(
    panel: Panel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(
        SurgecastError, match=f"expected room in {tmp_path}/gone for the panel .*No such file"
    ):
        fit(panel, model=MODEL, training=TWO)
