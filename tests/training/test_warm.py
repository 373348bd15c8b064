"""Training that goes on from a bundle: what it gains, what it keeps, and what it refuses."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from forecast.demand.panel import EventGrid, Panel
from forecast.demand.simulate import SimulationConfig, simulate
from forecast.errors import InputError
from forecast.evaluation.metrics import aggregate, scales, scored, statistics
from forecast.model.bundle import Bundle
from forecast.model.config import ModelConfig
from forecast.model.forecaster import Forecaster
from training.config import TrainingConfig
from training.fit import fit
from training.handover import Job, write_job
from training.records import EpochRecord
from training.warm import shortened, why_not
from training.worker import main

HORIZON, ORIGIN, CUTOFF = 14, 440, 475
TRAINING = TrainingConfig(steps=80, epoch_steps=20, batch=32, warmup_steps=10, device="cpu")
WARM = dataclasses.replace(shortened(TRAINING), steps=8, epoch_steps=4)
MODEL = ModelConfig(period="day", horizon=HORIZON, origins=12, channels=16, hidden=24)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return simulate(SimulationConfig(n_series=48, n_periods=560, horizon=60, n_locations=4)).panel


@pytest.fixture(scope="module")
def start(panel: Panel) -> Bundle:
    return fit(panel.until(ORIGIN), model=MODEL, training=TRAINING)


@pytest.fixture(scope="module")
def records() -> list[EpochRecord]:
    return []


@pytest.fixture(scope="module")
def warm(panel: Panel, start: Bundle, records: list[EpochRecord]) -> Bundle:
    return fit(panel.until(CUTOFF), model=MODEL, training=WARM, start=start, on_epoch=records.append)


def wql(bundle: Bundle, panel: Panel, origin: int = CUTOFF) -> float:
    past = panel.until(origin)
    found = Forecaster(bundle, "cpu")(past, HORIZON)
    return aggregate(statistics(scored(panel, origin, HORIZON), found, scales(past))).wql


def with_known(panel: Panel, **known: np.ndarray) -> Panel:
    return dataclasses.replace(panel, known={**panel.known, **known})


def with_event(panel: Panel, name: str, day: int, like: dict[str, str] | None = None) -> Panel:
    """The panel with one more channel in its calendar, on for a day."""
    grid = panel.events
    on = np.zeros((*grid.intensity_GLE.shape[:2], 1), np.float32)
    on[:, day] = 1.0
    intensity = np.concatenate([grid.intensity_GLE, on], axis=2)
    events = EventGrid(
        names=(*grid.names, name), intensity_GLE=intensity, group_S=grid.group_S, like=like or {}
    )
    return dataclasses.replace(panel, events=events)


def test_a_few_steps_from_a_bundle_are_worth_more_than_as_many_from_nothing(
    panel: Panel, warm: Bundle
) -> None:
    cold = fit(panel.until(CUTOFF), model=MODEL, training=dataclasses.replace(TRAINING, steps=8))
    assert wql(warm, panel) < 0.9 * wql(cold, panel)


def test_a_bundle_says_what_it_started_from(panel: Panel, start: Bundle, warm: Bundle) -> None:
    again = fit(panel.until(CUTOFF + 7), model=MODEL, training=WARM, start=warm)
    assert (warm.facts["start"], warm.facts["warm_generation"]) == (start.bundle_id, 1)
    assert (again.facts["start"], again.facts["warm_generation"]) == (warm.bundle_id, 2)
    assert warm.facts["steps"] == 8
    assert "start" not in start.facts


def test_two_warm_fits_give_the_same_bundle_and_another_start_another(
    panel: Panel, start: Bundle, warm: Bundle
) -> None:
    again = fit(panel.until(CUTOFF), model=MODEL, training=WARM, start=start)
    other = fit(panel.until(CUTOFF), model=MODEL, training=WARM, start=warm)
    assert again.bundle_id == warm.bundle_id
    assert not torch.equal(other.weights["members.0.out.weight"], warm.weights["members.0.out.weight"])


def test_what_comes_after_the_cutoff_changes_nothing(panel: Panel, start: Bundle, warm: Bundle) -> None:
    assert panel.stocked_out_ST is not None
    demand, stock = panel.demand_ST.copy(), panel.stocked_out_ST.copy()
    demand[:, CUTOFF:] = 12345
    stock[:, CUTOFF:] = 1
    poisoned = dataclasses.replace(panel, demand_ST=demand, stocked_out_ST=stock)
    again = fit(poisoned.until(CUTOFF), model=MODEL, training=WARM, start=start)
    assert again.bundle_id == warm.bundle_id


def test_only_what_the_start_has_not_seen_is_scored_with_its_weights(
    panel: Panel, start: Bundle, warm: Bundle, records: list[EpochRecord]
) -> None:
    """Four origins lie between: 440, 447, 454, 461; their scores are those of the start itself."""
    plain = dataclasses.replace(
        start, weights={**start.weights, "level_H": torch.ones_like(start.weights["level_H"])}
    )
    past = panel.until(CUTOFF)
    parts = [scored(past, origin, HORIZON) for origin in (440, 447, 454, 461)]
    loss = units = 0.0
    for origin, truth_SH in zip((440, 447, 454, 461), parts, strict=True):
        known = panel.until(origin)
        one = statistics(truth_SH, Forecaster(plain, "cpu")(known, HORIZON), scales(known))
        loss += float(np.nansum(one.quantile_loss_SH))
        units += float(np.nansum(truth_SH))
    assert warm.facts["start_wql"] == pytest.approx(loss / units, rel=0.02)  # it rounds its quantiles
    assert {record.stage for record in records} == {"final"}
    next_day = fit(panel.until(ORIGIN + 7), model=MODEL, training=WARM, start=start)
    assert "start_wql" not in next_day.facts  # no horizon of the week since is known yet


def test_scenarios_stay_coupled_as_they_were_where_nothing_new_is_known(
    panel: Panel, start: Bundle, warm: Bundle
) -> None:
    week = fit(panel.until(ORIGIN + 7), model=MODEL, training=WARM, start=start)
    np.testing.assert_array_equal(week.ranks_SHK, start.ranks_SHK)
    for ranks in (week.ranks_SHK, warm.ranks_SHK):
        np.testing.assert_array_equal(
            np.sort(ranks, axis=2), np.broadcast_to(np.arange(100, dtype=np.uint8), ranks.shape)
        )
    moved = np.abs(warm.ranks_SHK.astype(int) - start.ranks_SHK).mean(axis=(0, 1))
    assert ((moved > 15).sum(), (moved < 5).sum()) == (4, 96)  # four scenarios for four new origins


def test_series_may_come_go_and_change_places(panel: Panel, start: Bundle) -> None:
    order = np.concatenate([np.arange(47, 29, -1), np.arange(2, 20)])
    chosen = panel.select(order)
    item = chosen.keys.item.copy()
    item[:3] = ["new one", "new two", "new three"]
    changed = dataclasses.replace(chosen, keys=dataclasses.replace(chosen.keys, item=item))
    past = changed.until(ORIGIN + 7)
    bundle = fit(past, model=MODEL, training=WARM, start=start)
    np.testing.assert_array_equal(bundle.ranks_SHK[3:], start.ranks_SHK[order[3:]])
    for new in range(3):
        assert (start.ranks_SHK == bundle.ranks_SHK[new]).all(axis=(1, 2)).any()
    forecasts = Forecaster(bundle, "cpu")(past, HORIZON)
    assert np.isfinite(forecasts.quantiles_SHQ).all()
    assert (forecasts.mean_SH[:3] > 0).all()


def test_a_new_event_kind_begins_as_the_kind_that_it_is_like(panel: Panel, start: Bundle) -> None:
    known = start.schema.events[0]
    kind, _, phase = known.partition("/")
    new = f"fresh/{phase}"
    likened = with_event(panel, new, ORIGIN + 3, like={"fresh": kind}).until(ORIGIN + 7)
    plain = with_event(panel, new, ORIGIN + 3).until(ORIGIN + 7)
    still = dataclasses.replace(WARM, steps=1, learning_rate=1e-12, weight_decay=0.0)
    kernels = []
    for past in (likened, plain):
        assert why_not(start, past, MODEL) == ""
        bundle = fit(past, model=MODEL, training=still, start=start)
        assert bundle.schema.events == (*start.schema.events, new)
        kernels.append(bundle.weights["members.0.event_kernel.weight"])
    before = start.weights["members.0.event_kernel.weight"]
    torch.testing.assert_close(kernels[0][:, -1], before[:, 0])
    torch.testing.assert_close(kernels[1][:, -1], torch.zeros_like(before[:, 0]), atol=1e-9, rtol=0)
    torch.testing.assert_close(kernels[0][:, :-1], before)


def test_a_bundle_that_does_not_fit_is_refused_by_name(panel: Panel, start: Bundle) -> None:
    past = panel.until(CUTOFF)
    assert why_not(start, past, MODEL) == ""
    assert why_not(start, past, dataclasses.replace(MODEL, origins=11)) == ""
    n = panel.demand_ST.shape[1] + 60
    warmth = np.random.default_rng(0).normal(20, 5, (48, n)).astype(np.float32)
    gone = dataclasses.replace(past, known={k: v for k, v in past.known.items() if k != "price"})
    schema = dataclasses.replace(start.schema, seasonal=False)
    unseasonal = dataclasses.replace(start, schema=schema)
    found = {
        "warmth is new": why_not(start, with_known(past, warmth=warmth), MODEL),
        "price is gone": why_not(start, gone, MODEL),
        "horizon is 21, was 14": why_not(start, past, dataclasses.replace(MODEL, horizon=21)),
        "hidden is 32, was 24": why_not(start, past, dataclasses.replace(MODEL, hidden=32)),
        "too many new series: 100% of 48": why_not(start, renamed(past), MODEL),
        "the time of the year is new": why_not(unseasonal, past, MODEL),
        "after the cutoff": why_not(start, panel.until(ORIGIN - 1), MODEL),
    }
    assert {expected: text for expected, text in found.items() if expected not in text} == {}
    with pytest.raises(InputError, match="warmth is new"):
        fit(with_known(past, warmth=warmth), model=MODEL, training=WARM, start=start)


def renamed(panel: Panel) -> Panel:
    items = np.char.add(panel.keys.item, "-b")
    return dataclasses.replace(panel, keys=dataclasses.replace(panel.keys, item=items))


def test_a_calendar_that_is_all_new_and_columns_full_of_new_labels_are_refused(
    panel: Panel, start: Bundle
) -> None:
    past, grid = panel.until(CUTOFF), panel.events
    names = tuple(f"other-{name}" for name in grid.names)
    calendar = dataclasses.replace(past, events=dataclasses.replace(grid, names=names))
    assert "too many new event kinds: other-" in why_not(start, calendar, MODEL)
    column = next(s.name for s in start.schema.statics if s.name in past.statics)
    labels = np.where(np.arange(48) < 10, "never seen", past.statics[column])
    relabelled = dataclasses.replace(past, statics={**past.statics, column: labels})
    assert f"too many new labels: 21% of the series have one of {column}" in why_not(start, relabelled, MODEL)


def test_a_network_of_another_release_is_refused(panel: Panel, start: Bundle) -> None:
    weights = {name: value for name, value in start.weights.items() if "place_in" not in name}
    other = dataclasses.replace(start, weights=weights)
    assert "the network changed: members.0.place_in.weight" in why_not(other, panel.until(CUTOFF), MODEL)


def test_a_warm_start_takes_a_quarter() -> None:
    short = shortened(TrainingConfig(minutes=8.0, steps=400))
    assert (short.minutes, short.steps) == (2.0, 100)
    assert shortened(TrainingConfig(steps=1)).steps == 1


def test_minutes_hold_the_forecasts_that_set_the_level(panel: Panel, start: Bundle) -> None:
    """What they take is tried on a sample first, for nothing was scored that would tell."""
    source = dataclasses.replace(panel, stocked_out_ST=None).until(ORIGIN + 7)
    hurried = dataclasses.replace(WARM, steps=10_000, minutes=0.02)
    bundle = fit(source, model=MODEL, training=hurried, start=start)
    assert 1 <= int(bundle.facts["steps"]) < 10_000
    assert not torch.equal(bundle.weights["level_H"], torch.ones(HORIZON))


def test_a_process_of_several_goes_on_from_the_same_bundle(
    panel: Panel, start: Bundle, warm: Bundle, tmp_path: Path
) -> None:
    """What is handed over is all that it takes: the bundle is that of a fit in this process."""
    job = Job(panel=panel.until(CUTOFF), model=MODEL, training=WARM, began=time.time(), start=start)
    write_job(tmp_path, job)
    assert main(tmp_path, 0, 1) == 0
    assert Bundle.load(tmp_path / "bundle").bundle_id == warm.bundle_id
