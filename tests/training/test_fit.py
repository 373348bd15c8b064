"""Training on a small simulated panel, through Lightning, on the CPU."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import training.budget
import training.fit
import training.prequential
from forecast.demand.panel import Panel
from forecast.demand.simulate import SimulationConfig, simulate
from forecast.errors import InputError, SurgecastError
from forecast.evaluation.baselines import SeasonalNaive
from forecast.evaluation.metrics import aggregate, scales, scored, statistics
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.ensemble import Ensemble
from forecast.model.forecaster import Forecaster, Scores, score
from forecast.model.schema import FeatureSchema
from forecast.model.tensors import build_tensors
from training.budget import Best, Budget, Mark, Patience
from training.config import TrainingConfig
from training.curriculum import RECENT, plan, recent_origins
from training.feed import OriginFeed
from training.fit import fit
from training.module import SurgeModule
from training.records import EpochRecord

HORIZON = 14
TRAINING = TrainingConfig(steps=60, epoch_steps=20, batch=32, warmup_steps=10, device="cpu")
MODEL = ModelConfig(period="day", horizon=HORIZON, origins=12, channels=16, hidden=24)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulate(SimulationConfig(n_series=48, n_periods=560, horizon=60, n_locations=4)).panel


@pytest.fixture(scope="module")
def records() -> list[EpochRecord]:
    return []


@pytest.fixture(scope="module")
def bundle(panel: Panel, records: list[EpochRecord]) -> Bundle:
    return fit(panel.until(500), model=MODEL, training=TRAINING, on_epoch=records.append)


def test_a_short_training_beats_seasonal_naive(panel: Panel, bundle: Bundle) -> None:
    past = panel.until(500)
    truth = scored(panel, 500, HORIZON)
    wql = [
        aggregate(statistics(truth, forecaster(past, HORIZON), scales(past))).wql
        for forecaster in (Forecaster(bundle, "cpu"), SeasonalNaive())
    ]
    assert wql[0] < 0.9 * wql[1]


def test_validation_is_reported_and_out_of_sample(bundle: Bundle, records: list[EpochRecord]) -> None:
    assert [r.step for r in records] == sorted(r.step for r in records)
    assert records[-1].stage == "final"
    assert records[-1].fraction == 1.0
    assert all(r.validation["wql"] > 0 for r in records if r.stage != "final")
    assert bundle.facts["steps"] == 60
    last = [r for r in records if r.stage == "stage 1"][-1]
    assert bundle.facts["stage 1_wql"] == pytest.approx(last.validation["wql"], rel=1e-4)


def test_the_same_seed_gives_the_same_weights(panel: Panel) -> None:
    short = dataclasses.replace(TRAINING, steps=6, epoch_steps=3)
    first, again = (fit(panel.until(400), model=MODEL, training=short) for _ in range(2))
    other = fit(panel.until(400), model=MODEL, training=dataclasses.replace(short, seed=1))
    assert first.bundle_id == again.bundle_id
    assert first.bundle_id != other.bundle_id


def test_what_comes_after_the_cutoff_changes_nothing(panel: Panel) -> None:
    """Neither training nor forecasting sees past the origin: poison every later demand and stock state."""
    short = dataclasses.replace(TRAINING, steps=6, epoch_steps=3)
    assert panel.stocked_out_ST is not None
    demand, stock = panel.demand_ST.copy(), panel.stocked_out_ST.copy()
    demand[:, 450:] = 12345
    stock[:, 450:] = 1
    poisoned = dataclasses.replace(panel, demand_ST=demand, stocked_out_ST=stock)
    forecasts = []
    for source in (panel, poisoned):
        past = source.until(450)
        forecasts.append(Forecaster(fit(past, model=MODEL, training=short), "cpu")(past, HORIZON))
    np.testing.assert_array_equal(forecasts[0].mean_SH, forecasts[1].mean_SH)
    np.testing.assert_array_equal(forecasts[0].quantiles_SHQ, forecasts[1].quantiles_SHQ)
    np.testing.assert_array_equal(forecasts[0].ranks_SHK, forecasts[1].ranks_SHK)


def test_every_stage_is_scored_on_periods_that_it_was_not_trained_on() -> None:
    stages = plan(1000, MODEL, TRAINING)
    assert stages[-1].limit == 1000
    for stage in stages[:-1]:
        assert min(stage.origins) >= stage.limit
        assert max(stage.origins) + HORIZON <= 1000
    assert [s.share for s in stages] == sorted(s.share for s in stages)


def test_a_history_too_short_to_hold_anything_back_is_trained_in_one_stage() -> None:
    assert [s.name for s in plan(30, MODEL, TRAINING)] == ["final"]


def test_training_that_gains_nothing_stops_early(panel: Panel) -> None:
    idle = dataclasses.replace(TRAINING, steps=2000, epoch_steps=2, patience=3, learning_rate=1e-12)
    bundle = fit(panel.until(400), model=MODEL, training=idle)
    assert int(bundle.facts["steps"]) < 60


def test_small_gains_add_up_and_none_end_patience() -> None:
    patience = Patience(4)
    assert not any(patience.lost(0.5 * 0.9996**i) for i in range(100))
    assert [patience.lost(0.49) for _ in range(5)] == [False, False, False, True, True]


def test_a_first_stage_that_unlearns_ends_with_its_best_weights() -> None:
    """Pure noise of few series, which a network soon knows by heart."""
    noise = simulate(SimulationConfig(n_series=8, n_periods=130, horizon=20, n_locations=2)).panel
    demand = np.random.default_rng(0).poisson(3, noise.demand_ST.shape).astype(np.float32)
    noise = dataclasses.replace(noise, demand_ST=demand, stocked_out_ST=None).until(110)
    settings = dataclasses.replace(TRAINING, steps=1500, epoch_steps=10, patience=6)
    records: list[EpochRecord] = []
    model = ModelConfig(period="day", horizon=7, origins=8, channels=16, hidden=32)
    bundle = fit(noise, model=model, training=settings, on_epoch=records.append)
    first = [r for r in records if r.stage == "stage 1"]
    best = min(first, key=lambda r: r.validation["wql"])
    assert first[-1].validation["wql"] > 1.001 * best.validation["wql"], (
        "the test needs a stage that unlearns"
    )
    assert bundle.facts["stage 1_wql"] == pytest.approx(best.validation["wql"], rel=1e-5)
    # The rest is planned by what the best took, of which the stage has two fifths.
    left = int(bundle.facts["steps"]) - first[-1].step
    assert left == pytest.approx(1.5 * best.step, abs=3)


def test_what_was_spent_in_vain_counts_for_nothing() -> None:
    budget = Budget(dataclasses.replace(TRAINING, steps=1000))
    for _ in range(110):
        budget.tick()
    budget.shorten(0.4, Mark(30, 0.0))
    assert budget.fraction == pytest.approx(0.4)
    assert budget.total_steps - budget.step == 45
    budget.shorten(0.5)
    assert budget.total_steps - budget.step == 30


def test_the_best_weights_come_back() -> None:
    module, best = torch.nn.Linear(1, 1, bias=False), Best()
    for step, (weight, wql, worse) in enumerate([(1.0, 0.6, False), (2.0, 0.5, False), (3.0, 0.7, True)]):
        torch.nn.init.constant_(module.weight, weight)
        assert best.saw(wql, module, Mark(step, 0.0)) is worse
    best.restore(module)
    assert (float(module.weight.detach()), best.mark.step) == (2.0, 1)


def test_steps_are_never_more_than_asked_for(panel: Panel) -> None:
    bundle = fit(panel.until(400), model=MODEL, training=dataclasses.replace(TRAINING, steps=2))
    assert bundle.facts["steps"] == 2


def test_a_market_that_outgrows_what_was_learned_is_forecast_at_its_level(panel: Panel) -> None:
    """Demand that doubles over its last months leaves the latest forecasts low, most at their end; the
    means are lifted there."""
    growing = panel.demand_ST * np.exp(np.maximum(np.arange(panel.n_periods) - 300, 0) / 150).astype(
        np.float32
    )
    source = dataclasses.replace(panel, demand_ST=growing, stocked_out_ST=None).until(500)
    bundle = fit(source, model=MODEL, training=TRAINING)
    level = bundle.weights["level_H"]
    assert float(level[-1]) > 1.02
    assert float(level[-1]) > float(level[0])


class _Clock:
    """Stands in for `time`: moved by the work that is done, and by nothing else."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def scored_origins(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """The last origin and the number of origins of every forecast that training makes."""
    made: list[tuple[int, int]] = []

    def noted(*arguments: Any) -> Iterator[Scores]:
        made.append(arguments[2:4])
        return score(*arguments)

    monkeypatch.setattr(training.prequential, "score", noted)
    return made


def test_the_forecasts_that_set_the_level_fit_into_the_minutes(
    panel: Panel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes half a second, an origin of all series one; without regard to it, the end is 8 s late."""
    clock = _Clock()

    def slow_score(*arguments: Any) -> Iterator[Scores]:
        for part in score(*arguments):
            clock.now += arguments[3] * (part.rows.stop - part.rows.start) / panel.n_series
            yield part

    class Slow(SurgeModule):
        def training_step(self, *arguments: Any) -> torch.Tensor:
            clock.now += 0.5
            return super().training_step(*arguments)

    monkeypatch.setattr(training.prequential, "time", clock)
    monkeypatch.setattr(training.budget, "time", clock)
    monkeypatch.setattr(training.prequential, "score", slow_score)
    monkeypatch.setattr(training.fit, "SurgeModule", Slow)
    hurried = dataclasses.replace(
        TRAINING, steps=10_000, minutes=2.0, epoch_steps=20, validation_patches=12, stages=3
    )
    source = dataclasses.replace(panel, stocked_out_ST=None).until(500)
    bundle = fit(source, model=MODEL, training=hurried)
    assert 110 < clock.now <= 120.5
    assert not torch.equal(bundle.weights["level_H"], torch.ones(HORIZON))


def test_minutes_are_kept_at_the_end_once_and_never_more_than_there_are() -> None:
    budget = Budget(dataclasses.replace(TRAINING, steps=10_000, minutes=1.0), spent=30.0)
    assert budget.fraction == pytest.approx(30 / 60, abs=0.01)
    budget.keep(20.0)
    assert budget.fraction == pytest.approx(30 / 40, abs=0.01)
    budget.keep(10.0)
    assert budget.fraction == pytest.approx(30 / 40, abs=0.01)
    budget.keep(1e9)
    assert budget.fraction == 1.0
    by_steps = Budget(TRAINING)
    by_steps.keep(20.0)
    assert by_steps.fraction == 0.0


def test_origins_that_cannot_set_the_level_are_not_forecast(
    panel: Panel, scored_origins: list[tuple[int, int]]
) -> None:
    """Where stock-outs are common the result would be thrown away."""
    past, short = panel.until(500), dataclasses.replace(TRAINING, steps=12, epoch_steps=3)
    recent = (500 - HORIZON, RECENT)
    never = dataclasses.replace(past, stocked_out_ST=np.zeros_like(past.demand_ST))
    often = dataclasses.replace(
        past, stocked_out_ST=np.where(np.arange(500) % 20, 0.0, 0.5)[None].repeat(48, 0)
    )
    assert len(recent_origins(never, MODEL)) == RECENT
    fit(never, model=MODEL, training=short)
    assert scored_origins[-1] == recent
    scored_origins.clear()
    assert recent_origins(often, MODEL) == ()
    bundle = fit(often, model=MODEL, training=short)
    assert recent not in scored_origins
    assert torch.equal(bundle.weights["level_H"], torch.ones(HORIZON))


def test_no_demand_at_all_is_refused(panel: Panel) -> None:
    nothing = dataclasses.replace(panel, demand_ST=np.zeros_like(panel.demand_ST))
    with pytest.raises(InputError, match="at least one period with demand"):
        fit(nothing, model=MODEL, training=TRAINING)


def test_a_learning_rate_that_explodes_is_an_error_and_not_a_model(panel: Panel) -> None:
    wild = dataclasses.replace(TRAINING, learning_rate=1e30, warmup_steps=1)
    with pytest.raises(SurgecastError, match="training loss"):
        fit(panel, model=MODEL, training=wild)


def test_a_loss_that_is_no_number_keeps_the_last_good_weights_and_names_the_series(panel: Panel) -> None:
    demand = panel.demand_ST.copy()
    demand[7, 470:] = 1e30
    broken = dataclasses.replace(panel, demand_ST=demand, stocked_out_ST=None).until(500)
    settings = dataclasses.replace(TRAINING, steps=200, epoch_steps=5, first_stage=0.3)
    bundle = fit(broken, model=MODEL, training=settings)
    stopped = str(bundle.facts["stopped"])
    assert str(panel.keys.item[7]) in stopped
    assert "training loss: expected a number, found" in stopped
    assert 5 <= int(bundle.facts["steps"]) < 200
    assert [name for name, value in bundle.weights.items() if not value.isfinite().all()] == []
    healthy = dataclasses.replace(panel, stocked_out_ST=None).until(500)
    assert np.isfinite(Forecaster(bundle, "cpu")(healthy, HORIZON).quantiles_SHQ).all()


def test_lower_precision_in_training_is_close_to_full(panel: Panel) -> None:
    """The same draw, weights and loss, but for the precision of the products."""
    past = panel.until(500)
    schema = FeatureSchema.fit(past, HORIZON)
    tensors = build_tensors(past, MODEL, schema, torch.device("cpu"), horizon=0)
    torch.manual_seed(0)
    network = Ensemble(MODEL, schema)
    losses, gradients = [], []
    for precision in ("float32", "bf16"):
        settings = dataclasses.replace(TRAINING, precision=precision)
        module = SurgeModule(network.eval(), tensors, settings, lambda: 0.0)
        network.zero_grad()
        loss = module.training_step(OriginFeed(tensors, MODEL, settings, 450).draw(), 0)
        loss.backward()
        losses.append(float(loss.detach()))
        parts = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
        gradients.append(torch.cat(parts))
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)
    assert losses[0] != losses[1]
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_ctrl_c_stays_a_keyboard_interrupt(panel: Panel) -> None:
    def interrupt(record: EpochRecord) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(panel, model=MODEL, training=TRAINING, on_epoch=interrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
