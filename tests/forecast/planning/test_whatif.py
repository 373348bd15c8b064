"""What-ifs: the baseline is what publishing gives, a change what publishing the changed plan would give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from forecast.demand.panel import Panel, Period
from forecast.planning.live import BLOCK, LiveModel
from forecast.planning.whatif import Change, EventChange, FeatureChange, kinds_ahead, what_if
from tests.support.lively import HALF, Lively, make

ROWS = [4, 0, 7]


def answered(lively: Lively, changes: list[Change], rows: list[int] = ROWS):
    (answer,) = lively.live.answer([what_if(lively.live, rows, changes)])
    n = len(rows)
    return answer.mean_RH[:n], answer.mean_RH[n:]


def published(lively: Lively, panel: Panel, rows: list[int] = ROWS):
    return lively.forecaster(panel, lively.live.horizon).mean_SH[rows]


def with_events(panel: Panel, kind: str, move: int, strength: float) -> Panel:
    """The panel with a calendar whose coming events of a kind stand elsewhere."""
    grid = panel.events.intensity_GLE.copy()
    for e, name in enumerate(panel.events.names):
        if name.startswith(f"{kind}/"):
            ahead = grid[:, panel.n_periods :, e]
            moved = np.roll(ahead, move, axis=1)
            if move > 0 and grid[0, panel.n_periods - 1, e] > 0:  # it is on and goes on
                moved[:, :move] = ahead[:, :1]
            grid[:, panel.n_periods :, e] = strength * moved
    return replace(panel, events=replace(panel.events, intensity_GLE=grid))


@pytest.mark.parametrize("period", ["hour", "day", "week"])
def test_the_baseline_is_the_published_forecast(period: Period) -> None:
    made = make(period)
    forecasts = made.forecaster(made.panel, made.live.horizon)
    (answer,) = made.live.answer([made.live.rows(range(12))])
    np.testing.assert_allclose(answer.mean_RH, forecasts.mean_SH, rtol=HALF)
    assert np.mean(answer.quantiles_RHQ != forecasts.quantiles_SHQ) < 0.01
    assert np.abs(answer.quantiles_RHQ - forecasts.quantiles_SHQ).max() <= 1


def test_what_changes_nothing_changes_nothing(lively: Lively) -> None:
    nothing: list[Change] = [
        FeatureChange(name="price", first=0, stop=14, value=1.0, multiply=True),
        EventChange(kind="double-11", strength=1.0),
        EventChange(kind="double-11", move=3),
        EventChange(kind="double-11", move=-3),
    ]
    before, after = answered(lively, nothing)
    np.testing.assert_allclose(before, after, rtol=HALF)


@pytest.mark.parametrize(("name", "value", "multiply"), [("discount", 0.4, False), ("price", 1.2, True)])
def test_another_plan_is_as_if_it_were_published(
    lively: Lively, name: str, value: float, multiply: bool
) -> None:
    panel, n = lively.panel, lively.panel.n_periods
    # The dearest of its category: however dear it gets, the median price stays.
    row = int(np.nanargmax(np.nanmean(panel.known["price"], axis=1)))
    values = panel.known[name].copy()
    values[row, n + 2 : n + 9] = values[row, n + 2 : n + 9] * value if multiply else value
    changed = FeatureChange(name=name, first=2, stop=9, value=value, multiply=multiply)
    before, after = answered(lively, [changed], [row])
    wanted = published(lively, replace(panel, known={**panel.known, name: values}), [row])
    np.testing.assert_allclose(after, wanted, rtol=HALF)
    assert (np.abs(after / before - 1) > 2 * HALF).any()


@pytest.mark.parametrize(("move", "strength"), [(2, 1.0), (-2, 1.0), (0, 0.5), (1, 2.0)])
def test_another_calendar_is_as_if_it_were_published(lively: Lively, move: int, strength: float) -> None:
    before, after = answered(lively, [EventChange(kind="double-11", move=move, strength=strength)])
    wanted = published(lively, with_events(lively.panel, "double-11", move, strength))
    np.testing.assert_allclose(after, wanted, rtol=HALF)
    assert (np.abs(after / before - 1) > 2 * HALF).any()


@pytest.mark.parametrize("move", [-6, -1, 3, 7])
def test_a_moved_event_takes_its_memory_with_it(lively: Lively, move: int) -> None:
    panel, n = lively.panel, lively.panel.n_periods
    on = panel.events.intensity_GLE[0, :, panel.events.names.index("double-11/day")]
    former, coming = np.flatnonzero(on)[-2:]
    asked = what_if(lively.live, [0], [EventChange(kind="double-11", move=move)])
    assert former < n <= coming
    assert asked.analog_RL[0, coming] == former
    assert asked.analog_RL[1, coming + move] == former
    assert not asked.forgotten_RH[1, coming + move - n]


@pytest.mark.parametrize(("move", "strength"), [(2, 1.0), (-1, 0.5), (0, 0.0)])
def test_what_the_calendar_expects_of_an_unknown_event_moves_with_it(
    lively: Lively, move: int, strength: float
) -> None:
    panel, n = lively.panel, lively.panel.n_periods

    def with_opening(day: int, lift: float) -> Panel:
        events = panel.events
        grid = np.concatenate([events.intensity_GLE, np.zeros_like(events.intensity_GLE[:, :, :1])], axis=2)
        lift_GLE = np.full_like(grid, np.nan)
        grid[:, n + day, -1], lift_GLE[:, n + day, -1] = 1.0, lift
        names = (*events.names, "opening/day")
        return replace(panel, events=replace(events, names=names, intensity_GLE=grid, lift_GLE=lift_GLE))

    live = LiveModel(lively.forecaster.bundle, with_opening(3, 4.0), torch.device("cpu"), ())
    asked = what_if(live, ROWS, [EventChange(kind="opening", move=move, strength=strength)])
    (answer,) = live.answer([asked])
    wanted = published(lively, with_opening(3 + move, 1 + 3 * strength))
    np.testing.assert_allclose(answer.mean_RH[3:], wanted, rtol=HALF)
    assert "opening" in kinds_ahead(live, ROWS)


def test_an_event_that_is_taken_away_is_not_remembered(lively: Lively) -> None:
    panel, n = lively.panel, lively.panel.n_periods
    asked = what_if(lively.live, [0], [EventChange(kind="double-11", strength=0.0)])
    on_E = [e for e, name in enumerate(panel.events.names) if name.startswith("double-11/")]
    then = (panel.events.intensity_GLE[0][:, on_E] > 0).any(axis=1)
    analog_H = asked.analog_RL[1, n : n + 14].numpy()
    # Three days after the origin the pre-sale, which has been, is no longer near.
    assert then[analog_H][3:].any()
    assert asked.forgotten_RH[1].numpy()[3:][then[analog_H][3:]].all()
    assert not asked.forgotten_RH[0].any()
    remembering = replace(asked, forgotten_RH=torch.zeros_like(asked.forgotten_RH))
    forgot, not_forgot = lively.live.answer([asked, remembering])
    assert not np.array_equal(forgot.mean_RH[1], not_forgot.mean_RH[1])
    assert np.array_equal(forgot.mean_RH[0], not_forgot.mean_RH[0])


def test_changes_act_on_what_earlier_ones_left(lively: Lively) -> None:
    halves: list[Change] = [
        FeatureChange(name="discount", first=0, stop=14, value=0.4),
        FeatureChange(name="discount", first=0, stop=14, value=0.5, multiply=True),
    ]
    _, in_two = answered(lively, halves)
    _, at_once = answered(lively, [FeatureChange(name="discount", first=0, stop=14, value=0.2)])
    assert np.array_equal(in_two, at_once)


def test_an_answer_does_not_depend_on_its_company(lively: Lively) -> None:
    live = lively.live
    questions = [
        what_if(live, [3], [EventChange(kind="double-11", move=2)]),
        what_if(live, list(range(12)), [EventChange(kind="double-11", strength=0.0)]),
        live.rows([7, 7, 1]),
        what_if(live, [3], [FeatureChange(name="discount", first=0, stop=3, value=0.5)]),
    ]
    assert sum(question.n_rows for question in questions) > BLOCK
    for order in ([0, 1, 2, 3], [3, 1, 0, 2]):
        together = live.answer([questions[n] for n in order])
        for n, answer in zip(order, together, strict=True):
            (alone,) = live.answer([questions[n]])
            assert np.array_equal(answer.mean_RH, alone.mean_RH)
            assert np.array_equal(answer.quantiles_RHQ, alone.quantiles_RHQ)


def test_only_events_ahead_can_be_changed(lively: Lively) -> None:
    assert "double-11" in kinds_ahead(lively.live, [0])
    assert "520" not in kinds_ahead(lively.live, [0])


def test_the_calendar_of_a_question_is_read_as_that_of_the_panel(lively: Lively) -> None:
    live: LiveModel = lively.live
    found = live.calendar(lively.panel.events)
    for name in ("events_GDE", "analog_GL", "lift_GH"):
        assert torch.equal(getattr(found, name), getattr(live.base, name))
